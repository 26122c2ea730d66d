"""Imports that must be refused. They leave nothing behind, but take a while: for scenarios."""

import shlex

import pytest
from conftest import run_with_input
from faults import wait_until

testinfra_hosts = ["ansible://omero_readwrite"]
pytestmark = pytest.mark.unit("omero-server")


@pytest.fixture
def rows(host):
    """Return a function that counts images and files in the database."""
    query = "select (select count(*) from image) || ' ' || (select count(*) from originalfile)"
    command = "psql --no-psqlrc --tuples-only --no-align service=omero --command=%s"
    return lambda: host.check_output(command, query)


@pytest.mark.parametrize(
    ("target", "name", "content", "words"),
    [
        ("Dataset:name:Refused", "picture.jpg", "x", "images of the format of picture.jpg"),
        ("Dataset:name:Refused", "broken.png", "no picture", "cannot identify image file"),
        ("Dataset:id:999999", "one&sizeX=8&sizeY=8.fake", "", "there is no dataset for Dataset:id:999999"),
        ("Screen:id:1", "one&sizeX=8&sizeY=8.fake", "", "the stand-in knows Dataset:id:1 and Dataset:name:X"),
    ],
)
def test_refused(host, login, variables, omero_import, rows, target, name, content, words):
    """A file {name} for {target} is refused in words, and no image is made of it."""
    if not variables["demo_omero_server"]:
        pytest.skip("these are the stand-in's words")
    user, password = variables["omero_public_user"], variables["omero_public_password"]
    wait_until(lambda: login(user, password).returncode == 0, "the server did not start with its host", 180)
    before = rows()
    path = f"/run/vitrine-import/{name}"
    done = run_with_input(host, f"mkdir -p /run/vitrine-import && cat > {shlex.quote(path)}", content)
    assert done.returncode == 0, done.stderr
    try:
        seen = omero_import(target, path)
    finally:
        host.check_output("rm --recursive /run/vitrine-import")
    assert seen.returncode != 0, seen.stdout
    assert words in seen.stdout + seen.stderr, seen.stdout + seen.stderr
    assert rows() == before
