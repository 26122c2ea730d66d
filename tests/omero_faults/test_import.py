"""Imports that fail, as the real server's do: what they say, how they end, and what they leave. For scenarios."""

import pytest
from faults import wait_until

testinfra_hosts = ["ansible://omero_readwrite"]
pytestmark = pytest.mark.unit("omero-server")

IMAGE = "one&sizeX=8&sizeY=8.fake"
DATASET = "result = ezomero.post_dataset(connection, given)"
# Takes away the user's own sets without image, and datasets by name; returns how many sets of files there were.
REMOVE = """
query = "select f.id from Fileset f where f.images is empty and f.details.owner.id = :id"
left = connection.getQueryService().projection(query, omero.sys.ParametersI().addId(connection.getUserId()))
datasets = connection.getObjects("Dataset", attributes={"name": given})
for kind, found in (
    ("Fileset", [row[0].val for row in left]),
    ("Dataset", [each.getId() for each in datasets if each.isOwned()]),
):
    if found:
        connection.deleteObjects(kind, found, deleteAnns=True, deleteChildren=True, wait=True)
result = len(left)
"""


@pytest.fixture
def rows(host):
    """Return a function that counts rows of the database: a dict from the names of tables."""
    tables = ("image", "plate", "well", "fileset", "originalfile")
    query = "select " + ", ".join(f"(select count(*) from {table})" for table in tables)
    command = "psql --no-psqlrc --tuples-only --no-align --field-separator=' ' service=omero --command=%s"
    return lambda: dict(zip(tables, map(int, host.check_output(command, query).split()), strict=True))


@pytest.fixture
def ready(login, variables):
    """Wait for the server, which starts with its host."""
    user, password = variables["omero_public_user"], variables["omero_public_password"]
    wait_until(lambda: login(user, password).returncode == 0, "the server did not start with its host", 180)


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(
    ("target", "name", "content", "code", "words"),
    [
        ("Dataset:name:Refused", "broken.png", "no picture", 0, "No imports due to errors!"),
        ("Dataset:name:Refused", "picture.jpg", "x", 1, "No imports found"),
        ("Dataset:id:999999", IMAGE, "", 2, "Could not load target"),
        ("Screen:id:999999", IMAGE, "", 2, "Could not load target"),
        ("Project:id:1", IMAGE, "", 2, "Project name must include '/Dataset:'"),
    ],
)
def test_refused(put, omero_import, rows, target, name, content, code, words):
    """A file {name} for {target} ends with {code}, and no image is made of it."""
    before = rows()
    seen = omero_import(target, put(name, content.encode()))
    assert seen.returncode == code, f"{seen.returncode}: {seen.stderr}"
    assert words in seen.stderr, seen.stderr
    if code == 1:
        assert "Usage:" in seen.stderr, seen.stderr
    # The server has TLS alone, which the importer learns first.
    assert "Insecure connection requested, falling back" in seen.stderr, seen.stderr
    assert "Using secure connection" in seen.stderr, seen.stderr
    assert rows() == before


@pytest.mark.usefixtures("ready")
def test_another_ones_dataset(put, omero_import, script, rows, variables):
    """A visitor gets nothing into a curator's dataset; by its name they get one of their own."""
    name = "Another one's"
    dataset = script("curator", DATASET, name)
    path = put(IMAGE, b"")
    before = rows()
    seen = omero_import(f"Dataset:id:{dataset}", path, "public")
    assert seen.returncode == 2, seen.stderr
    assert "Cannot link to target" in seen.stderr, seen.stderr
    assert rows() == before
    seen = omero_import(f"Dataset:name:{name}", path, "public")
    assert seen.returncode == 0, seen.stderr
    of_curator = f"[each.getId() for each in connection.getObjects('Image', opts={{'dataset': {dataset}}})]"
    assert script("curator", f"result = {of_curator}") == []
    assert rows()["image"] == before["image"] + 1
    for who in ("public", "curator"):
        script(who, REMOVE, name)
    assert rows() == before


@pytest.mark.usefixtures("ready")
def test_unknown_format(put, omero_import, variables):
    """Of a file that the stand-in has no reader for it says so, and does not guess what the real server would do."""
    if not variables["stand_in_omero_server"]:
        pytest.skip("these are the stand-in's words")
    seen = omero_import("Dataset:name:Refused", put("picture.jpg", b"no picture"))
    assert seen.returncode == 2, seen.stderr
    assert "images of the format of picture.jpg" in seen.stderr, seen.stderr


@pytest.mark.usefixtures("ready")
def test_plate_refused(plate, omero_import, rows, script):
    """A plate that contradicts itself is refused; its set of files stays without image, with the file and its log."""
    before = rows()
    seen = omero_import("Screen:name:Refused", plate(lambda root: root.find("{*}Plate/{*}Well").set("Column", "1")))
    assert seen.returncode == 2, f"{seen.stdout}{seen.stderr}"
    after = rows()
    assert after == before | {"fileset": before["fileset"] + 1, "originalfile": before["originalfile"] + 2}
    assert script("curator", REMOVE, "Refused") == 1
    assert rows() == before
