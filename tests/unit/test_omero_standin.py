"""The stand-in OMERO.server, as far as it goes without Ice: zip, queries, permissions, passwords."""

import hashlib
import importlib.util
import io
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "testbed" / "omero_server"
sys.path.insert(0, str(ROOT / "blitz"))

from omero_standin import checksums, hql, passwords, permissions, read_only, schema, settings  # noqa: E402
from omero_standin.compiler import compile_query  # noqa: E402
from omero_standin.errors import ApiUsage, Forbidden, Unsupported  # noqa: E402

TOP = "OMERO.server-5.6.18-demo-ice36"
OWNER, OTHER, GROUP = 3, 4, 7


def load_builder(path):
    """Import a copy of build_zip.py from where it lies."""
    spec = importlib.util.spec_from_file_location("build_zip", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The built zip."""
    target, digest = load_builder(ROOT / "build_zip.py").write(tmp_path_factory.mktemp("zip"))
    assert hashlib.sha256(target.read_bytes()).hexdigest() == digest
    return target


def context(kind="rwr---", user=OTHER, group=permissions.ALL_GROUPS, **more):
    """A caller who is a member of one group of this kind."""
    stored = {GROUP: permissions.from_string(kind)}
    return permissions.Context(user, group, memberships=stored, group_permissions=stored, **more)


# The zip


def test_zip_is_the_same_from_any_checkout(release, tmp_path):
    """Another checkout, other times and modes, give the same bytes."""
    copy = tmp_path / "elsewhere"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for path in copy.rglob("*.properties"):
        path.chmod(0o600)
    (copy / "blitz" / "omero_standin" / "__pycache__").mkdir()
    (copy / "blitz" / "omero_standin" / "__pycache__" / "x.pyc").write_bytes(b"x")
    again, _ = load_builder(copy / "build_zip.py").write(tmp_path / "out")
    assert again.read_bytes() == release.read_bytes()


def test_zip_has_the_shape_of_a_release(release):
    """One top folder, what omero-py looks for in it, and only the tools are executable."""
    assert release.name == f"{TOP}.zip"
    with zipfile.ZipFile(release) as archive:
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
    assert {name.split("/")[0] for name in modes} == {TOP}
    wanted = """etc/omero.properties etc/templates/grid/default.xml etc/templates/grid/templates.xml
        etc/templates/master.cfg etc/templates/internal.cfg etc/templates/ice.config etc/profiles/psql etc/logback.xml
        lib/server/blitz.jar lib/server/omero-blitz.jar lib/server/omero-common.jar lib/server/omero-model.jar
        lib/server/omero-romio.jar lib/server/omero-renderer.jar lib/server/omero-server.jar lib/scripts/ share/README
        sql/psql/OMERO5.4__0/schema.sql sql/psql/OMERO5.4__0/views.sql sql/psql/OMERO5.4__0/psql-header.sql
        sql/psql/OMERO5.4__0/psql-footer.sql tools/bin/java
        lib/standin/omero_standin/server.py"""
    assert {f"{TOP}/{name}" for name in wanted.split()} <= modes.keys()
    executable = {name for name, mode in modes.items() if stat.S_ISREG(mode) and mode & stat.S_IXUSR}
    assert executable == {name for name in modes if name.startswith(f"{TOP}/tools/bin/")}


def test_every_version_says_demo(release):
    """The name of the zip, of its folder and the version that the server answers are one, and say -demo."""
    with zipfile.ZipFile(release) as archive:
        jar = zipfile.ZipFile(io.BytesIO(archive.read(f"{TOP}/lib/server/omero-server.jar")))
    text = jar.read("omero-server.properties").decode()
    assert re.findall(r"^omero\.version=(.*)$", text, re.MULTILINE) == ["5.6.18-demo-ice36"]
    sources = [path for folder in ("release", "jars") for path in (ROOT / folder).rglob("*") if path.is_file()]
    sources += (ROOT / "blitz").rglob("*.py")
    assert [path.name for path in sources if "5.6.18" in path.read_text()] == ["omero-server.properties"]


def test_settings_are_where_a_release_has_them(release, tmp_path):
    """The schema's version is in the model's jar and nowhere in etc, where `omero db script` finds it by itself."""
    with zipfile.ZipFile(release) as archive:
        archive.extractall(tmp_path)
    home = tmp_path / TOP
    assert "omero.db" not in (home / "etc" / "omero.properties").read_text()
    assert "omero.version" not in (home / "etc" / "omero.properties").read_text()
    with zipfile.ZipFile(home / "lib" / "server" / "omero-model.jar") as jar:
        assert "omero.db.version=OMERO5.4\nomero.db.patch=0\n" in jar.read("omero-model.properties").decode()
    found = settings.read_defaults(home)
    wanted = {"omero.db.port": "5432", "omero.sessions.timeout": "600000", "omero.client.viewer.roi_limit": "2000"}
    assert found | wanted == found
    known = (ROOT.parents[1] / "tests" / "unit" / "data" / "omero_properties.txt").read_text().splitlines()
    assert [name for name in found if name not in known] == []
    assert (home / "lib" / "scripts").is_dir()
    assert not list((home / "lib" / "scripts").iterdir())


def test_omero_web_accepts_the_version():
    """OMERO.web takes the numbers out of it with this regular expression."""
    found = re.match(r"^.*?[-]?(\d+[.]\d+([.]\d+)?)[-]?.*?$", load_builder(ROOT / "build_zip.py").version())
    assert found.group(1) == "5.6.18"


def test_builder_prints_path_and_digest(tmp_path):
    """The command's two lines are what a role needs."""
    done = subprocess.run([sys.executable, ROOT / "build_zip.py", tmp_path], capture_output=True, text=True, check=True)
    path, digest = done.stdout.split()
    assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == digest


def test_importer_needs_nothing_of_the_server(tmp_path):
    """What hosts of clients get is whole: the program, and every module that its modules import."""
    builder = load_builder(ROOT / "build_zip.py")
    (tmp_path / "old").touch()
    builder.write_importer(tmp_path)
    assert not (tmp_path / "old").exists()
    assert (tmp_path / "tools/bin/java").stat().st_mode & stat.S_IXOTH
    assert list((tmp_path / "lib/client").glob("*.jar")), "`omero import` looks for one"
    modules = {path.stem: path.read_text() for path in (tmp_path / "lib/standin/omero_standin").glob("*.py")}
    assert "importer" in modules
    for text in modules.values():
        for line in re.findall(r"^from \.(\w*) import (.*)$", text, re.MULTILINE):
            assert (line[0] or line[1]) in modules


# Checksums


@pytest.mark.parametrize(
    ("algorithm", "wanted"),
    [
        ("SHA1-160", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("MD5-128", "900150983cd24fb0d6963f7d28e17f72"),
        ("File-Size-64", "0000000000000003"),
    ],
)
def test_checksums(tmp_path, algorithm, wanted):
    """Those of bytes that come one after the other and of a file are the same, and as OMERO writes them."""
    checksum = checksums.Checksum(algorithm)
    for part in (b"a", b"bc"):
        checksum.add(part)
    (tmp_path / "x").write_bytes(b"abc")
    assert checksum.text() == checksums.checksum_of(tmp_path / "x", algorithm) == wanted
    assert algorithm in checksums.ALGORITHMS


# The tools


@pytest.fixture
def java(release, tmp_path):
    """Run the unpacked tools/bin/java."""
    with zipfile.ZipFile(release) as archive:
        archive.extractall(tmp_path)

    def run(*arguments):
        command = [sys.executable, tmp_path / TOP / "tools" / "bin" / "java", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def test_java_knows_password_util(java):
    """`omero db script` gets its hash, salted as the real class salts it."""
    done = java("-Dx=y", "-cp", "lib/server/*", "ome.security.auth.PasswordUtil", "omero", "0")
    assert done.stdout.strip() == passwords.password_hash("omero", 0)


def test_java_refuses_the_rest_by_name(java):
    """Nothing that needs Java seems to work."""
    done = java("-cp", "x", "ome.services.fulltext.Main", "full")
    assert done.returncode == 1
    assert "stand-in OMERO.server" in done.stderr
    assert "ome.services.fulltext.Main" in done.stderr


# Passwords


def test_password_hash_without_salt():
    """The value that OMERO's own documentation gives for the password `ome`."""
    assert passwords.password_hash("ome") == "vvFwuczAmpyoRC0Nsv8FCw=="


def test_password_hash_with_salt():
    """The user's id precedes the password as eight bytes, big-endian."""
    assert passwords.password_hash("rootpw", 0) == "WjZ9xPg1jsP+833bWgGcHQ=="
    assert passwords.password_hash("rootpw", 0) != passwords.password_hash("rootpw", 1)


@pytest.mark.parametrize("salt", [None, 5])
def test_salted_and_unsalted_hashes_match(salt):
    """Either is accepted, a wrong password never."""
    stored = passwords.password_hash("geheim", salt)
    assert passwords.password_matches("geheim", stored, 5)
    assert not passwords.password_matches("Geheim", stored, 5)


def test_locked_account_has_no_password():
    """A null hash lets nobody in."""
    assert not passwords.password_matches("", None, 5)


# Permissions


@pytest.mark.parametrize(
    ("text", "stored"), [("rw----", -120), ("rwr---", -56), ("rwra--", -40), ("rwrw--", -8), ("rwr-r-", -52)]
)
def test_permissions_are_stored_as_omero_stores_them(text, stored):
    """The numbers in the column `permissions`."""
    assert permissions.from_string(text) == stored
    assert permissions.to_string(stored) == text


@pytest.mark.parametrize(
    ("kind", "read", "annotate", "edit"),
    [
        ("rw----", False, False, False),
        ("rwr---", True, False, False),
        ("rwra--", True, True, False),
        ("rwrw--", True, True, True),
    ],
)
def test_member_and_others_data(kind, read, annotate, edit):
    """What each kind of group lets a member do with another's object."""
    caller = context(kind)
    assert permissions.may_read(caller, OWNER, GROUP) is read
    assert permissions.may_annotate(caller, OWNER, GROUP) is annotate
    assert permissions.may_edit(caller, OWNER, GROUP) is edit
    assert permissions.restrictions(caller, OWNER, GROUP)[:4] == [not edit, not edit, not edit, not annotate]


@pytest.mark.parametrize("kind", ["rw----", "rwr---"])
def test_owner_and_administrator_may_all(kind):
    """One's own data, and for administrators any."""
    assert permissions.may_edit(context(kind, user=OWNER), OWNER, GROUP)
    assert permissions.may_edit(permissions.Context(0, 0, is_admin=True), OWNER, GROUP)


def test_strangers_see_nothing():
    """Who is not in a group has no part in it."""
    stranger = permissions.Context(OTHER, permissions.ALL_GROUPS, memberships={1: -52})
    assert not permissions.may_read(stranger, OWNER, GROUP)
    with pytest.raises(Forbidden):
        permissions.check_group(permissions.Context(OTHER, GROUP, memberships={1: -52}))


def test_private_group_shows_own_rows_only():
    """A query in a private group sees the caller's rows, and all of them for the group's owner."""
    assert permissions.readable(context("rw----")) == ([], [GROUP])
    assert permissions.readable(context("rw----", leaderships=frozenset({GROUP}))) == ([GROUP], [])
    assert permissions.readable(permissions.Context(0, permissions.ALL_GROUPS, is_admin=True)) is None


# Queries


def compiled(text, **values):
    """A query for a plain member."""
    return compile_query(text, values, context())


@pytest.mark.parametrize(
    "text",
    [
        "select f from Folder f",
        "select p.colour from Project p",
        "select p from Project p where regexp(p.name, 'x')",
        "select p from Project p where p.name ~ 'x'",
        "select p from Project p having count(p) > 1",
        "delete from Project",
        "select p from Project p where p.datasetLinks = 1",
        "select size(p.name) from Project p",
        "select p from Project p where p is empty",
        "select q.id from Project p",
        "select p from Project p join p.name n",
        "select count(p) from Dataset d join fetch d.projectLinks p",
        "",
    ],
)
def test_unknown_query_is_refused_by_name(text):
    """Never an empty answer by accident."""
    with pytest.raises(ApiUsage, match=r"stand-in OMERO\.server does not answer"):
        compiled(text)


def test_refusal_holds_the_query():
    """On one line, for the log."""
    with pytest.raises(ApiUsage, match=r"in: select f from Folder f where f\.id = 1$"):
        compiled("select f\n   from Folder f\n where f.id = 1")


def test_missing_parameter_is_refused():
    """A query whose parameter has no value is no query without the condition."""
    with pytest.raises(ApiUsage, match="not bound: ids"):
        compiled("select p from Project p where p.id in (:ids)")


def test_normalise():
    """White space does not count."""
    assert hql.normalise(" select  p\n\tfrom Project p ") == "select p from Project p"


def test_every_entity_of_a_query_is_restricted_to_what_the_caller_sees():
    """The root, the join and the subquery."""
    query = compiled(
        "select p.id, (select count(l.id) from ProjectDatasetLink l where l.parent = p.id) from Project p"
        " join p.datasetLinks pl"
    )
    for alias in ("t0", "t1", "t2"):
        assert f"{alias}.group_id = any(" in query.sql


def test_session_uuids_of_others_are_not_read():
    """They are as good as passwords."""
    assert "t0.owner = " in compiled("select s.uuid from Session s").sql


def test_values_never_become_sql():
    """Literals and parameters travel apart from the text."""
    query = compiled("select p from Project p where p.name = :name or p.name = 'it''s; drop'", name="x' or 1=1")
    assert "drop" not in query.sql
    assert "1=1" not in query.sql
    assert {"x' or 1=1", "it's; drop"} <= {value for value in query.parameters.values() if isinstance(value, str)}


def test_fetch_loads_what_it_names():
    """A collection is noted, since it multiplies rows."""
    query = compiled("select p from Project p left outer join fetch p.datasetLinks l left join fetch l.child")
    assert [fetch.attribute.name for fetch in query.fetches] == ["datasetLinks", "child"]
    assert query.loads_collections


def test_size_counts_what_the_caller_sees():
    """The elements of a collection carry the same condition as rows that are asked for."""
    query = compiled("select size(f.images) from Fileset f where f.usedFiles is not empty")
    assert query.outputs[0].kind == "int"
    for alias in ("t0", "t1", "t2"):
        assert f"{alias}.group_id = any(" in query.sql


def test_a_subquery_may_be_sorted():
    """As OMERO.mapr sorts it; one of distinct values may not."""
    text = "select i.id from Image i where i.id in (select {}p.id from Image p order by lower(p.name))"
    assert compiled(text.format("")).sql.endswith('order by lower(t1."name")))')
    with pytest.raises(ApiUsage):
        compiled(text.format("distinct "))


def test_details_may_be_joined_and_not_used():
    """As OMERO.figure joins those of an attached file."""
    text = "select new map(obj.id as id{}) from FileAnnotation obj join obj.file.details as p"
    assert '"originalfile"' in compiled(text.format("")).sql
    with pytest.raises(ApiUsage):
        compiled(text.format(", p.owner as o"))


def test_page_is_sql_unless_rows_multiply():
    """Else a page would be too short."""
    page = {"values": {}, "context": context(), "limit": 5, "offset": 10}
    assert compile_query("select p from Project p", **page).sql.endswith(" limit 5 offset 10")
    assert "limit" not in compile_query("select p from Project p join fetch p.datasetLinks", **page).sql


def test_sorted_by_the_column_of_a_place():
    """As OMERO.iviewer asks for the images of a well; such a column of anything else is unknown."""
    query = compiled("select s.image from WellSample s where s.well.id = :id order by well_index", id=1)
    assert "order by (select count(*)" in query.sql
    with pytest.raises(ApiUsage, match="well_index"):
        compiled("select w from Well w order by well_index")


def test_class_comparison_uses_the_stored_mark():
    """`class` of an annotation is a column, and a subclass is a condition."""
    assert "/map/" in compiled("select a from Annotation a where a.class = MapAnnotation").parameters.values()
    assert "/basic/text/tag/" in compiled("select a from TagAnnotation a").parameters.values()


def test_shapes_have_a_class_each():
    """As annotations have."""
    compiled = compile_query("select type(s) from Shape s where s.class = Rectangle", {}, context())
    assert compiled.outputs[0].kind == "class"
    assert "rect" in compiled.parameters.values()


def test_shapes_come_in_the_order_of_their_list():
    """Which the database keeps: by the place, not by the id; index() tells the place."""
    compiled = compile_query("select r from Roi r left outer join fetch r.shapes", {}, context())
    assert re.search(r'order by t0\."id", t1\."roi_index"$', compiled.sql), compiled.sql
    compiled = compile_query("select index(s) from Shape s", {}, context())
    assert compiled.sql.startswith('select t0."roi_index" from "shape" t0'), compiled.sql


@pytest.mark.parametrize("attribute", ["bytes", "strokeWidth"])
def test_what_no_projection_carries_is_refused(attribute):
    """A mask's bytes and a length in a unit of its own come with their shape; a length's number alone can be asked."""
    with pytest.raises(ApiUsage, match=f"to select s.{attribute} itself"):
        compile_query(f"select s.{attribute} from Mask s", {}, context())
    compiled = compile_query("select s.strokeWidth.value from Mask s", {}, context())
    assert compiled.outputs[0].kind == "double"


# The model and its tables


def test_schema_has_every_column_of_the_model():
    """What the model reads, schema.sql makes."""
    text = (ROOT / "release" / "sql" / "psql" / "OMERO5.4__0" / "schema.sql").read_text()
    tables = {
        name: {line.split()[0].strip('"') for line in body.strip().splitlines()}
        for name, body in re.findall(r"create table (\w+) \((.*?)\n\);", text, re.DOTALL)
    }
    for entity in schema.ENTITIES.values():
        assert set(schema.columns(entity)) <= tables[entity.table], entity.name


def test_lists_with_places_are_the_only_owners():
    """A shape's region is written by the region alone, whatever the shape's class."""
    for name in ("Shape", "Rectangle", "Mask"):
        owner, shapes = schema.list_of(schema.ENTITIES[name])
        assert (owner.name, shapes.column, shapes.place) == ("Roi", "roi", "roi_index")
    assert schema.list_of(schema.ENTITIES["Channel"]) is None


@pytest.mark.parametrize(
    ("name", "java"),
    [
        ("Polygon", "ome.model.roi.Polygon"),
        ("ShapeAnnotationLink", "ome.model.annotations.ShapeAnnotationLink"),
        ("Image", "ome.model.core.Image"),
    ],
)
def test_java_names(name, java):
    """As the real server names what it deleted."""
    assert schema.java_class(name) == java


def test_sql_survives_omeros_templates():
    """`omero db script` formats the header and footer with %, and replaces @names@."""
    folder = ROOT / "release" / "sql" / "psql" / "OMERO5.4__0"
    for name in ("psql-header.sql", "psql-footer.sql"):
        text = (folder / name).read_text() % {"TIME": "", "DIR": "", "SCRIPT": ""}
        left = set(re.findall(r"@\w+@", text))
        assert left <= {"@ROOTPASS@", "@DBVERSION@", "@DBPATCH@"}


@pytest.mark.parametrize("name", ["Project", "ProjectI", "omero.model.Project", "ome.model.containers.Project"])
def test_entity_by_any_name(name):
    """As clients write it."""
    assert schema.entity(name).table == "project"


def test_unknown_entity_is_refused():
    """By name."""
    with pytest.raises(Unsupported, match="FolderI"):
        schema.entity("FolderI")


# Settings


@pytest.mark.parametrize(
    ("name", "user", "administrator"),
    [
        ("omero.pixeldata.max_plane_width", True, True),
        ("omero.db.uuid", True, True),
        ("omero.data.dir", False, True),
        ("omero.web.secret", False, True),
        ("omero.db.pass", False, False),
        ("omero.db.host", False, False),
        ("omero.glacier2.IceSSL.Password", False, False),
    ],
)
def test_settings_for_clients(name, user, administrator):
    """Nobody reads the database's; what the server does not announce is for administrators."""
    assert settings.may_read(name, False) is user
    assert settings.may_read(name, True) is administrator


def test_settings_by_pattern():
    """Only what the server announces, and what the caller may read; a name that holds the pattern is enough."""
    known = {"omero.data.dir": "/OMERO", "omero.db.pass": "x", "omero.sessions.timeout": "1", "omero.sessions.own": "2"}
    assert settings.matching(known, r"sessions\.[to]", False) == {"omero.sessions.timeout": "1"}
    assert settings.matching(known, r"\.(data|db)\.", False) == {"omero.db.authority": "", "omero.db.uuid": ""}
    assert settings.matching(known, r"data\.dir", True) == {"omero.data.dir": "/OMERO"}


def test_an_empty_setting_is_none():
    """Ice drops it on the way: the release's value stays."""
    defaults = {"omero.upgrades.url": "http://upgrade", "omero.db.port": "5432"}
    configured = {"omero.upgrades.url": "", "omero.db.port": "5433"}
    assert settings.merged(defaults, configured) == defaults | {"omero.db.port": "5433"}


@pytest.mark.parametrize(
    ("service", "operation"),
    [("IUpdate", "saveAndReturnObject"), ("IAdmin", "createGroup"), ("IScript", "getParams")],
)
def test_read_only_server_refuses_writes(service, operation):
    """By the name of the operation, in the real server's words, before anything else."""
    with pytest.raises(read_only.ReadOnly) as refusal:
        read_only.check(service, operation)
    assert str(refusal.value) == "This instance is read-only"
    assert refusal.value.ice_name == "ApiUsageException"


@pytest.mark.parametrize(
    ("service", "operation"),
    [("IAdmin", "lookupGroups"), ("IScript", "getScripts"), ("IQuery", "findAllByQuery"), ("RawFileStore", "close")],
)
def test_read_only_server_answers_the_rest(service, operation):
    """Whatever only reads."""
    assert read_only.check(service, operation) is None


@pytest.mark.parametrize(
    ("known", "database"),
    [
        ({}, False),
        ({"omero.cluster.read_only": "true"}, True),
        ({"omero.cluster.read_only.db": "true"}, True),
        ({"omero.cluster.read_only.repo": "true"}, False),
    ],
)
def test_read_only_settings(known, database):
    """The database alone, or the whole server."""
    assert settings.is_read_only(known, "db") is database


def database(name="omero", properties=""):
    """Settings of a database with this name and these properties of the driver (str)."""
    given = {"host": "db", "port": "5432", "name": name, "user": "omero", "pass": "secret", "properties": properties}
    return {f"omero.db.{key}": value for key, value in given.items()}


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ("", {}),
        ("sslmode=verify-full&sslkey=/k.pk8", {"sslmode": "verify-full", "sslkey": "/k.pk8"}),
    ],
)
def test_driver_settings(properties, expected):
    """What omero.db.properties has goes to the driver."""
    base = {"host": "db", "port": 5432, "dbname": "omero", "user": "omero", "password": "secret"}
    assert settings.connection_settings(database(properties=properties)) == base | expected


@pytest.mark.parametrize(("properties", "words"), [("sslfactory=x", "sslfactory"), ("sslmode", "sslmode")])
def test_unknown_driver_settings(properties, words):
    """A setting of the driver that the stand-in does not know, or cannot read, is an error."""
    with pytest.raises(ValueError, match=words):
        settings.connection_settings(database(properties=properties))


def test_no_settings_behind_the_name():
    """The real server puts its own settings behind the database's name: the site's would end in their middle."""
    with pytest.raises(ValueError, match=r"belong into omero\.db\.properties"):
        settings.connection_settings(database("omero?sslmode=require"))
