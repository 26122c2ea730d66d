"""The gates' search for secrets: it finds them in each place, and shows none."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))
import secrets_on_host  # noqa: E402
import secrets_search  # noqa: E402

VALUE, OTHER = "aSecretOfTheUnitTests0", "anotherSecretOfTheTests1"
NAMES = {VALUE.encode(): "the_password", OTHER.encode(): "the_token"}


@pytest.fixture
def proc(tmp_path):
    """Return a function that adds a process to a folder like /proc; it returns the folder."""

    def add(number, arguments, environment, unit):
        folder = tmp_path / "proc" / str(number)
        folder.mkdir(parents=True)
        (folder / "cmdline").write_text("\0".join(arguments))
        (folder / "environ").write_text("\0".join(environment))
        (folder / "cgroup").write_text(f"2:memory:/\n1:name=systemd:/system.slice/{unit}\n0::/\n")
        return str(tmp_path / "proc")

    return add


def test_arguments(proc):
    """A secret among a process's arguments is reported with its unit."""
    place = proc(7, ["java", "-k", VALUE], [], "omero-server.service")
    assert secrets_on_host.in_processes(NAMES, {}, place) == [
        "the_password in the arguments of a process of omero-server.service"
    ]


def test_environment(proc):
    """A secret in an environment is reported, except of the unit that is meant to have it there."""
    proc(7, ["python"], [f"A={OTHER}"], "jupyterhub.service")
    place = proc(8, ["python"], [f"A={OTHER}"], "other.service")
    assert secrets_on_host.in_processes(NAMES, {"the_token": ["jupyterhub.service"]}, place) == [
        "the_token in the environment of a process of other.service"
    ]


def test_files(tmp_path):
    """Readable files are searched, without software and without links; large ones only if they are logs."""
    (tmp_path / "etc/site-packages").mkdir(parents=True)
    for name in ("etc/a.conf", "etc/b.js", "etc/site-packages/c.txt"):
        (tmp_path / name).write_text(f"x {VALUE} y")
    (tmp_path / "etc/link").symlink_to("a.conf")
    (tmp_path / "etc/large.log").write_bytes(b"\n" * secrets_on_host.SIZE + OTHER.encode())
    end = time.monotonic() + 20
    small = [f"the_password in {tmp_path}/etc/a.conf"]
    assert secrets_on_host.in_files(NAMES, [str(tmp_path)], end) == small
    both = [*small, f"the_token in {tmp_path}/etc/large.log"]
    assert secrets_on_host.in_files(NAMES, [str(tmp_path)], end, logs=True) == both


def test_time(tmp_path):
    """A search that takes too long says so instead of passing."""
    (tmp_path / "a").write_text("nothing")
    assert "the search ended" in secrets_on_host.in_files(NAMES, [str(tmp_path)], 0)[0]


def test_journal(tmp_path, monkeypatch):
    """Messages and command lines in the journal are searched."""
    program = tmp_path / "journalctl"
    program.write_text(f"#!/bin/sh\necho 'root : COMMAND=/bin/sh OMERO_PASSWORD={VALUE} python'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert secrets_on_host.in_journal(NAMES) == ["the_password in the journal"]


def test_program_by_standard_input(tmp_path):
    """The whole is one program for Python's standard input, and prints names and places, but no secret."""
    (tmp_path / "open").write_text(VALUE)
    tmp_path.chmod(0o755)
    given = json.dumps({"secrets": {"the_password": VALUE}, "folders": [str(tmp_path)]})
    program = f"{Path(secrets_on_host.__file__).read_text()}\n\nmain({given!r})\n"
    done = subprocess.run([sys.executable, "-"], input=program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), list)
    assert VALUE not in done.stdout


@pytest.fixture
def variables(tmp_path):
    """Return a host's variables, with a folder of secrets and one of reports."""
    (tmp_path / "secrets/jupyterhub").mkdir(parents=True)
    (tmp_path / "reports").mkdir()
    for name, value in (
        ("omero_root_password", VALUE),
        ("jupyterhub_salt", "abcdefghijklmnop"),
        ("omero_root_password.former", "theFormerOneOfTheTests"),
        ("jupyterhub/anna", "herPasswordOfTheTests"),
    ):
        (tmp_path / "secrets" / name).write_text(value + "\n")
        (tmp_path / "secrets" / name).chmod(0o600)
    return {
        "secrets_dir": str(tmp_path / "secrets"),
        "reports_dir": str(tmp_path / "reports"),
        "omero_root_password": VALUE,
        "users": [{"name": "own", "password": OTHER}],
        "own_password_file": "/a/path/to/a/password",
        "short_password": "changeme",
    }


def test_secrets_of_site(variables):
    """Files of the secrets' folder and values of variables count, each once; salts, paths and short words do not."""
    assert secrets_search.secrets_of_site(variables) == {
        "omero_root_password": VALUE,
        "jupyterhub/anna": "herPasswordOfTheTests",
        "users": OTHER,
    }


def test_reports(variables):
    """A secret in a report, and a secret's file for everybody, are reported without the secret."""
    assert secrets_search.search_reports(variables) == []
    Path(variables["reports_dir"], "omero.json").write_text(json.dumps({"seen": VALUE}))
    Path(variables["secrets_dir"], "jupyterhub/anna").chmod(0o644)
    found = secrets_search.search_reports(variables)
    assert len(found) == 2
    assert "omero_root_password in" in found[0]
    assert "readable by others" in found[1]
    assert VALUE not in str(found)
    Path(variables["secrets_dir"]).chmod(0o700)
    assert len(secrets_search.search_reports(variables)) == 1
