"""Imports that must be refused. They leave nothing behind, but take a while: for scenarios."""

import shlex

import pytest
from conftest import run_with_input
from faults import wait_until

testinfra_hosts = ["ansible://omero_readwrite"]
pytestmark = pytest.mark.unit("omero-server")

SERVER = "/opt/omero/server"


@pytest.fixture
def omero_import(host, variables):
    """Return a function that runs omero import on the server, with a target (str) and a path (str), as the curator."""
    user = variables["omero_system_user"]
    environment = f"OMERODIR={SERVER}/OMERO.server OMERO_USERDIR=$DIR"
    path = f"{SERVER}/venv/bin:{SERVER}/OMERO.server/tools/bin:/usr/bin:/bin"

    def run(target, path_of_file):
        login = f"--server=localhost --user={variables['omero_curator_user']}"
        command = f"omero import {login} --transfer=ln_s --target={shlex.quote(target)} {shlex.quote(path_of_file)}"
        script = (
            "DIR=$(mktemp --directory); trap 'rm -r $DIR' EXIT; cd $DIR; OMERO_PASSWORD=$(cat); export OMERO_PASSWORD;"
            f" env {environment} PATH={path} {command}"
        )
        shell = f"runuser --user={user} -- bash -c {shlex.quote(script)}"
        return run_with_input(host, shell, variables["omero_curator_password"])

    return run


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
