"""Imports that must be refused. They leave nothing behind, but take a while: for scenarios."""

import pytest
from faults import wait_until

testinfra_hosts = ["ansible://omero_readwrite"]
pytestmark = pytest.mark.unit("omero-server")


@pytest.fixture
def rows(host):
    """Return a function that counts images, files, plates and wells in the database."""
    tables = ("image", "originalfile", "plate", "well")
    query = " || ' ' || ".join(f"(select count(*) from {table})" for table in tables)
    query = f"select {query}"
    command = "psql --no-psqlrc --tuples-only --no-align service=omero --command=%s"
    return lambda: host.check_output(command, query)


@pytest.fixture
def ready(login, variables):
    """Wait for the server, which starts with its host; the words that are looked for are the stand-in's."""
    if not variables["demo_omero_server"]:
        pytest.skip("these are the stand-in's words")
    user, password = variables["omero_public_user"], variables["omero_public_password"]
    wait_until(lambda: login(user, password).returncode == 0, "the server did not start with its host", 180)


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(
    ("target", "name", "content", "words"),
    [
        ("Dataset:name:Refused", "picture.jpg", "x", "images of the format of picture.jpg"),
        ("Dataset:name:Refused", "broken.png", "no picture", "cannot identify image file"),
        ("Dataset:id:999999", "one&sizeX=8&sizeY=8.fake", "", "there is no dataset for Dataset:id:999999"),
        ("Screen:id:999999", "one&sizeX=8&sizeY=8.fake", "", "there is no screen for Screen:id:999999"),
        ("Project:id:1", "one&sizeX=8&sizeY=8.fake", "", "the stand-in knows id:1 and name:X of Dataset and Screen"),
    ],
)
def test_refused(put, omero_import, rows, target, name, content, words):
    """A file {name} for {target} is refused in words, and no image is made of it."""
    before = rows()
    seen = omero_import(target, put(name, content.encode()))
    assert seen.returncode != 0, seen.stdout
    assert words in seen.stdout + seen.stderr, seen.stdout + seen.stderr
    assert rows() == before


@pytest.mark.usefixtures("ready")
def test_plate_refused(plate, omero_import, rows):
    """A plate that contradicts itself is refused as a whole."""
    before = rows()
    seen = omero_import("Screen:name:Refused", plate(lambda root: root.find("{*}Plate/{*}Well").set("Column", "1")))
    assert seen.returncode != 0, seen.stdout
    assert "two wells in row 0, column 1" in seen.stderr, seen.stderr
    assert rows() == before
