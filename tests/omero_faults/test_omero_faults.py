"""What happens to OMERO.server when something breaks. Breaks it: for scenarios, never for a site in use."""

import subprocess
import uuid

import pytest
from faults import check_refuses, wait_until

testinfra_hosts = ["ansible://omero"]
pytestmark = pytest.mark.unit("omero-server")

UNIT = "omero-server"
# It takes a while to start, and is tried again every ten seconds.
SECONDS = 360


@pytest.fixture
def answers(login, variables):
    """Return a function that tells whether a user can log in."""
    user, password = variables["omero_public_user"], variables["omero_public_password"]

    def answers():
        try:
            return login(user, password).returncode == 0
        except subprocess.TimeoutExpired:
            # A login that begins while the server starts may never be answered; the next one is.
            return False

    return answers


@pytest.fixture
def volume(host, variables):
    """Put a file into the repository; return the repository's path and a function that tells whether it is whole."""
    path = variables["omero_server_data_dir"]
    name = f"{path}/.vitrine-fault-{uuid.uuid4().hex}"
    host.check_output("head --bytes=100000 /dev/urandom > %s; sync %s", name, name)
    wanted = host.file(name).sha256sum
    yield path, lambda: host.file(name).sha256sum == wanted
    host.run("rm --force %s", name)


def test_killed(host, answers):
    """A server of which every process was killed starts again by itself."""
    wait_until(answers, "the server did not start with its host", SECONDS)
    before = int(host.check_output("systemctl show --property=NRestarts --value %s", UNIT))
    host.check_output("systemctl kill --signal=KILL %s", UNIT)
    assert not answers(), "it was not killed"
    wait_until(answers, "the server did not start again by itself", SECONDS)
    assert int(host.check_output("systemctl show --property=NRestarts --value %s", UNIT)) > before


def test_wrong_volume(host, machine, volume, answers):
    """With its repository's volume gone or another the server does not start and says why; mended, it starts itself."""
    path, whole = volume
    for what in ("gone", "that of another host", "an empty one"):
        check_refuses(host, machine, UNIT, path, what)
    wait_until(answers, "the server did not start by itself", SECONDS)
    assert whole(), "a file of the repository is not as it was"
