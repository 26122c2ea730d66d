"""The stand-in OMERO.server's repositories, scripts and processes, as far as they go without Ice."""

import contextlib
import hashlib
import importlib.util
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "testbed" / "omero_server"
GRID = ROOT / "release" / "etc" / "templates" / "grid"
sys.path.insert(0, str(ROOT / "blitz"))

from omero_standin import pyramids, schema, scripts, takeover  # noqa: E402

DATABASE = "0b5a9d2f-6a01-4b5a-8a9e-5a1f0e5b7c11"


class Connection:
    """In the place of psycopg's: gives rows that were prepared, by what a statement begins with, and notes the rest."""

    def __init__(self, **rows):
        """Take lists of rows by the first word of a statement and its table."""
        self.rows = rows
        self.written = []

    def execute(self, statement, values=()):
        """Note what is written; give what was prepared."""
        words = statement.split()
        if words[0] != "select":
            self.written.append((words[0], values))
        table = next(words[index + 1] for index, word in enumerate(words) if word in ("from", "into", "update"))
        return Rows(self.rows.get(table, []))


class Rows(list):
    """Rows as psycopg's cursor gives them."""

    fetchall = list.copy

    def fetchone(self):
        """Give the first, None where there is none."""
        return self[0] if self else None


# Repositories


def test_uuid_is_written_as_java_writes_it():
    """Two bytes of length, then the text: omero.tables reads 38 characters and leaves two out."""
    assert takeover.encode(DATABASE) == b"\x00\x24" + DATABASE.encode()
    assert takeover.decode(takeover.encode(DATABASE)) == DATABASE
    assert takeover.decode(b"") is None
    assert takeover.decode(takeover.encode(DATABASE)[:-1]) is None, "it was cut off"


@pytest.fixture
def take(tmp_path):
    """Return a function that takes over a repository in a temporary folder; it returns that and what was noted."""

    def run(name="legacy", read_only=False, found=()):
        repository = takeover.Repository(name, tmp_path / "repository", read_only)
        connection = Connection(configuration=[(DATABASE,)], originalfile=list(found))
        noted = []
        try:
            repository.take_over(connection, lambda *place: noted.append(place) or 7)
        finally:
            repository.close()
        return repository, noted, connection

    return run


def test_new_repository(take, tmp_path):
    """A new repository gets a uuid, in its file and in the database, and keeps it."""
    repository, noted, _ = take()
    assert repository.active
    assert repository.file_id == 7
    assert noted == [(repository.uuid, "repository", f"{tmp_path}/")]
    file = tmp_path / "repository" / ".omero" / "repository" / DATABASE / "repo_uuid"
    assert file.read_bytes() == takeover.encode(repository.uuid)
    assert not file.with_name(".lock").exists(), "nobody else could have it"
    again, noted, _ = take(found=[(7, f"{tmp_path}/", "repository")])
    assert (again.uuid, noted) == (repository.uuid, [])


def test_moved_repository(take):
    """Where it lies now is noted."""
    take()
    _, noted, connection = take(found=[(7, "/before/", "repository")])
    assert noted == []
    assert [word for word, _ in connection.written] == ["update"]


def test_scripts_have_one_uuid(take):
    """The repository of scripts is called the same everywhere."""
    assert take("scripts")[0].uuid == "ScriptRepo"


def test_unwritable_repository(tmp_path, take):
    """Where the folder cannot be written to there is no repository."""
    (tmp_path / "repository").write_text("a file")
    with pytest.raises(OSError, match="repository"):
        take()


@pytest.mark.parametrize("name", ["legacy", "scripts"])
def test_reading_server_makes_no_repository(tmp_path, take, name):
    """A server that only reads takes what is there, and writes nothing."""
    with pytest.raises(takeover.NoRepository):
        take(name, read_only=True, found=[(7, "/", "there")])
    assert not (tmp_path / "repository").exists()
    take(name)
    repository, noted, connection = take(name, read_only=True, found=[(7, "/elsewhere/", "repository")])
    assert (repository.file_id, noted, connection.written) == (7, [], [])


# Scripts


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/omero/export_scripts/Batch_Image_Export.py", ("/omero/export_scripts/", "Batch_Image_Export.py")),
        ("omero/export_scripts/Batch_Image_Export.py", ("/omero/export_scripts/", "Batch_Image_Export.py")),
        ("top.py", ("/", "top.py")),
        ("/a/../b//c.py", ("/b/", "c.py")),
        ("../../etc/c.py", ("/", "c.py")),
        ("/a/../../c.py", ("/", "c.py")),
    ],
)
def test_place_of_a_script(path, wanted):
    """A script is found by its path, and none leads out of the repository."""
    assert scripts.place(path) == wanted
    assert scripts.path_in(Path("/lib/scripts"), path) == Path("/lib/scripts" + "".join(wanted))


@pytest.fixture
def folder(tmp_path):
    """A folder with scripts and other files."""
    for name, text in {
        "omero/a.py": "a",
        "omero/b.m": "b",
        "omero/colours.lut": "c",
        "omero/__init__.py": "",
        "omero/.hidden.py": "h",
        "omero/notes.txt": "t",
        "top.py": "top",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_files_that_are_scripts(folder):
    """Files of known kinds count that are neither empty nor hidden."""
    found = {inside + name for inside, name, _ in scripts.files(folder)}
    assert found == {"/omero/a.py", "/omero/b.m", "/omero/colours.lut", "/top.py"}


def digest(text):
    """Return a text's SHA-1."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def test_scripts_are_noted(folder, monkeypatch):
    """What is new or changed on the disk gets a row, what is gone or was before is none of the repository's."""
    (folder / "omero/b.m").unlink()
    python = "text/x-python"
    connection = Connection(
        originalfile=[
            ("/omero/", "a.py", 1, digest("a"), python),
            ("/", "top.py", 2, digest("before"), python),
            ("/omero/", "gone.py", 3, digest("gone"), python),
        ]
    )
    made = iter([10, 11])
    registered = []
    monkeypatch.setattr(scripts, "register", lambda _, *what: registered.append(what) or next(made))
    found = scripts.synchronise(connection, folder, lambda: 5)
    assert sorted(found) == [1, 10] or sorted(found) == [1, 11], "the lookup table is nothing to run"
    assert {each[:3] for each in registered} == {("/", "top.py", 3), ("/omero/", "colours.lut", 1)}
    assert [values for word, values in connection.written if word == "update"] == [([2],), ([2, 3],)]


def test_reading_server_notes_no_scripts(folder):
    """A server that only reads knows what is noted, and writes nothing."""
    connection = Connection(originalfile=[("/omero/", "a.py", 1, "another", "text/x-python")])
    assert scripts.synchronise(connection, folder, lambda: 5, read_only=True) == [1]
    assert connection.written == []


@pytest.mark.parametrize(
    ("mimetype", "settings", "wanted"),
    [
        ("text/x-python", {}, ("", "omero.processor.ProcessI")),
        ("text/x-python", {"omero.launcher.python": "/py"}, ("/py", "omero.processor.ProcessI")),
        ("text/x-matlab", {}, ("matlab", "omero.processor.MATLABProcessI")),
        ("text/x-lut", {}, ("", "")),
    ],
)
def test_launcher(mimetype, settings, wanted):
    """A processor is told what runs a script of its kind."""
    assert tuple(scripts.launcher(settings, mimetype).values()) == wanted


def test_jobs_are_of_their_kind():
    """A query for jobs reads what the subclasses add."""
    assert "description" in schema.columns(schema.entity("Job"))
    assert "description" not in schema.columns(schema.entity("UploadJob"))
    assert schema.entity("ome.model.jobs.ScriptJob").discriminator == "ScriptJob"


# Pyramids


@pytest.mark.parametrize(
    ("identifier", "wanted"),
    [
        (1, "1_pyramid"),
        (999, "999_pyramid"),
        (1000, "Dir-001/1000_pyramid"),
        (1234567, "Dir-001/Dir-234/1234567_pyramid"),
    ],
)
def test_place_of_a_pyramid(identifier, wanted):
    """A pyramid lies where the real server has it."""
    assert pyramids.path_of({"omero.data.dir": "/data/"}, identifier) == Path("/data/Pixels") / wanted


def test_pyramids_are_made_once(tmp_path):
    """What waits for a pyramid gets one, which says what it is, and is left alone afterwards."""

    class Database:
        @contextlib.contextmanager
        def transaction(self):
            yield Connection(pixels=[(3,), (1000,)])

    settings = {"omero.data.dir": str(tmp_path)} | {
        f"omero.pixeldata.max_plane_{side}": "3192" for side in ("width", "height")
    }
    pyramids.make(Database(), settings)
    made = sorted(path for path in (tmp_path / "Pixels").rglob("*") if path.is_file())
    assert [path.name for path in made] == ["3_pyramid", "1000_pyramid"]
    assert all("stands in" in path.read_text() for path in made)
    made[0].write_text("as it was")
    pyramids.make(Database(), settings)
    assert made[0].read_text() == "as it was"


# Processes

PROCESSES = [
    "OMERO.Glacier2",
    "Blitz-0",
    "Indexer-0",
    "DropBox",
    "MonitorServer",
    "FileServer",
    "OMERO.IceStorm",
    "PixelData-0",
    "Processor-0",
    "Tables-0",
    "TestDropBox",
]


def test_processes_are_those_of_a_release():
    """The application starts what a release of OMERO.server starts, by the same names."""
    templates, application = (
        ElementTree.fromstring((GRID / name).read_text())  # noqa: S314 (the release's own)
        for name in ("templates.xml", "default.xml")
    )
    named = {
        each.get("id"): next(server.get("id") for server in each if server.tag in ("server", "icebox"))
        for each in templates.findall("server-template")
    }
    node = application.find("application/node")
    assert node.get("name") == "master"
    # `omero admin` puts the processes of omero.server.nodedescriptors in the place of all but the first.
    names = []
    for instance in node.findall("server-instance"):
        name = named[instance.get("template")].replace("${index}", instance.get("index", ""))
        names.append(name.replace("${instance-name}", f"OMERO.{instance.get('template').removesuffix('Template')}"))
    assert [name.replace("OMERO.Storm", "OMERO.IceStorm") for name in names] == PROCESSES


def test_ice_can_be_replaced():
    """What Ice 3.7 wants otherwise is where the role looks for it."""
    text = (GRID / "templates.xml").read_text()
    assert text.count('entry="IceStormService,36:createIceStorm"') == 1
    assert text.count('<property name="${service}.InstanceName" value="${instance-name}"/>\n') == 1


@pytest.fixture
def java(monkeypatch):
    """The program in the place of java, as a module."""
    # Else its bytecode would lie in the release.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = str(ROOT / "release" / "tools" / "bin" / "java")
    loader = SourceFileLoader("standin_java", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("standin_java", loader))
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (
            "-Xmx1g --add-opens java.base/java.lang=ALL-UNNAMED -Domero.name=Blitz-0 ome.services.blitz.Entry --Ice=c",
            "ome.services.blitz.Entry --Ice=c",
        ),
        (
            "-Xmx1g -Domero.name=Blitz-0 -jar lib/server/blitz.jar ome.pixeldata --Ice.Config=c",
            "lib/server/blitz.jar ome.pixeldata --Ice.Config=c",
        ),
    ],
)
def test_java_knows_what_it_runs(java, line, wanted):
    """Java's own options are told from what it runs."""
    found, properties = java.classes(line.split())
    assert found == wanted.split()
    assert properties == {"omero.name": "Blitz-0"}


def test_java_refuses_other_jars():
    """Nothing but the release's own jar seems to run."""
    program = ROOT / "release" / "tools" / "bin" / "java"
    done = subprocess.run(
        [sys.executable, program, "-jar", "other.jar", "ome.pixeldata"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "other.jar" in done.stderr
