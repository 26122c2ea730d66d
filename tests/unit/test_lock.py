"""scripts/lock --check and --audit, with answers of the registries as they were recorded."""

import io
import json
import subprocess
import types
import zipfile

import pytest
from rich.console import Console

from vitrine_cli import lock
from vitrine_cli.site import PROJECT

LIST = """\
# A comment
Django==4.2.11 \\
    --hash=sha256:00
zeroc_ice==3.6.5 ; python_version < '3.12'
tables[x]==3.10.1
"""
NPM = json.dumps(
    {
        "packages": {
            "": {"name": "x", "version": "1.0.0"},
            "node_modules/ws": {"version": "8.17.0"},
            "node_modules/a/node_modules/@b/c": {"version": "1.0.0-rc.1"},
        }
    }
)
# As in pypa/advisory-database and in OSV's all.zip, shortened.
DJANGO = {
    "id": "PYSEC-2024-28",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "django"},
            "ranges": [
                {"type": "GIT", "repo": "https://github.com/django/django", "events": [{"introduced": "0"}]},
                {"type": "ECOSYSTEM", "events": [{"introduced": "4.2"}, {"fixed": "4.2.15"}, {"introduced": "5.0"}]},
            ],
            "versions": [],
        }
    ],
}
WS = {
    "id": "GHSA-3h5v-q93c-6h6q",
    "affected": [
        {
            "package": {"ecosystem": "npm", "name": "ws"},
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "8.0.0"}, {"fixed": "8.17.1"}]}],
        }
    ],
}
FOUND = [
    ("PyPI", "roles/a/files/requirements.txt", {"django": "4.2.11", "tables": "3.10.1"}),
    ("npm", "roles/a/files/package-lock.json", {"ws": "8.17.0"}),
]


@pytest.fixture
def console():
    """Return a console whose text can be read (its attribute `file`)."""
    return Console(file=io.StringIO(), width=140)


def test_lists_of_the_project():
    """The lock of the controller, the roles' lists and the lock of the hub's proxy are read."""
    found = {path: (ecosystem, pinned) for ecosystem, path, pinned in lock.lists()}
    assert "ansible-core" in found["requirements.lock"][1]
    assert "jupyterhub" in found["roles/jupyterhub/files/requirements-hub.txt"][1]
    assert "django" in found["roles/omero_python/files/requirements-web.txt"][1]
    ecosystem, pinned = found["roles/jupyterhub/files/proxy/package-lock.json"]
    assert (ecosystem, "configurable-http-proxy" in pinned) == ("npm", True)


def test_pins():
    """Names are written as PyPI does, and markers, extras and hashes are left out."""
    assert lock.pins(LIST) == {"django": "4.2.11", "zeroc-ice": "3.6.5", "tables": "3.10.1"}
    assert lock.npm_pins(NPM) == {"ws": "8.17.0", "@b/c": "1.0.0-rc.1"}


def test_newest_versions_are_asked_for():
    """uv gets the names alone, and its answer is read."""
    seen = []

    def run(command, **options):
        with open(command[-1]) as file:  # noqa: PTH123 (the name is in a command)
            seen.extend([command[:3], file.read()])
        return subprocess.CompletedProcess(command, 0, "django==5.2.1\ntables==3.10.1\n", "")

    assert lock.newest({"tables", "django"}, run) == {"django": "5.2.1", "tables": "3.10.1"}
    assert seen == [["uv", "pip", "compile"], "django\ntables\n"]


def test_an_index_that_does_not_answer():
    """The message says so."""
    with pytest.raises(lock.FailedError, match="could not ask PyPI: no route"):
        lock.newest({"x"}, lambda *_, **__: types.SimpleNamespace(returncode=2, stderr="no route\n", stdout=""))


def test_what_is_behind(console):
    """What is behind is listed, and is exit code 1; without anything it is 0, without npm's answer 2."""
    current = {"django": "4.2.11", "tables": "3.10.1"}
    code = lock.check(FOUND, console, lambda names: current | {"django": "5.2.1"}, lambda names: {"ws": "8.17.0"})
    assert code == 1
    text = console.file.getvalue()
    assert "4.2.11" in text
    assert "5.2.1" in text
    assert "3.10.1" not in text
    assert "1 of 3 pinned versions are behind" in text
    assert lock.check(FOUND, console, lambda names: current, lambda names: {"ws": "8.17.0"}) == 0

    def missing(names):
        raise lock.FailedError("npm is not installed")

    assert lock.check(FOUND, console, lambda names: current, missing) == 2
    assert "npm is not installed" in console.file.getvalue()


def test_older_answers_are_no_news():
    """A version that is newer than the index's, and a pre-release, are not behind."""
    assert lock.behind({"a": "2.0", "b": "1.0.0", "c": "1.9"}, {"a": "1.9", "b": "1.0.0-rc.1", "c": "1.10"}) == [
        ("c", "1.9", "1.10")
    ]


def test_advisories():
    """Advisories are matched by range and by version; those about others, and withdrawn ones, are not."""
    assert lock.audit(FOUND, [DJANGO, WS]) == [
        ("roles/a/files/package-lock.json", "ws", "8.17.0", "GHSA-3h5v-q93c-6h6q", "8.17.1"),
        ("roles/a/files/requirements.txt", "django", "4.2.11", "PYSEC-2024-28", "4.2.15"),
    ]
    assert lock.audit(FOUND, [DJANGO | {"withdrawn": "2024-01-01T00:00:00Z"}]) == []
    mended = [("PyPI", "x", {"django": "4.2.15"}), ("npm", "y", {"ws": "8.17.1", "django": "4.2.11"})]
    assert lock.audit(mended, [DJANGO, WS]) == []
    listed = {"id": "A", "affected": [{"package": {"ecosystem": "PyPI", "name": "Tables"}, "versions": ["3.10.1"]}]}
    assert [row[3] for row in lock.audit(FOUND, [listed])] == ["A"]


def test_a_folder_of_advisories(tmp_path):
    """OSV's archive and pypa's checkout are read; a folder without advisories is an error."""
    with pytest.raises(lock.FailedError, match=r"expected a folder with all\.zip"):
        list(lock.advisories(tmp_path))
    (tmp_path / "npm").mkdir()
    with zipfile.ZipFile(tmp_path / "npm" / "all.zip", "w") as archive:
        archive.writestr("GHSA.json", json.dumps(WS))
    (tmp_path / "vulns" / "django").mkdir(parents=True)
    (tmp_path / "vulns" / "django" / "PYSEC-2024-28.yaml").write_text(json.dumps(DJANGO))
    assert {each["id"] for each in lock.advisories(tmp_path)} == {WS["id"], DJANGO["id"]}


def test_exit_codes_of_the_audit(tmp_path, monkeypatch, console, capsys):
    """0 without a match, 1 with one, 2 without a database; the message names the variable."""
    monkeypatch.delenv(lock.ADVISORIES, raising=False)
    assert lock.main(["--audit"], console) == 2
    assert "VITRINE_ADVISORIES is not set" in capsys.readouterr().err
    monkeypatch.setenv(lock.ADVISORIES, str(tmp_path))
    (tmp_path / "ws.json").write_text(json.dumps(WS | {"affected": []}))
    assert lock.main(["--audit"], console) == 0
    pinned = lock.lists()[0][2]
    name = next(iter(pinned))
    affected = {"package": {"ecosystem": "PyPI", "name": name}, "versions": [pinned[name]]}
    (tmp_path / "ws.json").write_text(json.dumps({"id": "X-1", "affected": [affected]}))
    assert lock.main(["--audit"], console) == 1
    assert lock.main(["--check", "--more"], console) == 2


def test_help():
    """--help explains both, and what the exit codes mean."""
    done = subprocess.run([PROJECT / "scripts/lock", "--help"], capture_output=True, text=True, check=True)
    assert "--check" in done.stdout
    assert "VITRINE_ADVISORIES" in done.stdout
    assert "Exit code" in done.stdout
