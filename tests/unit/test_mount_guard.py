"""The mount guard: what it reads in the kernel's list of mounts, and what it says of a wrong one."""

import importlib.machinery
import importlib.util
from pathlib import Path

import pytest
import yaml
from jinja2 import Environment

ROLE = Path(__file__).resolve().parents[2] / "roles/mount_guard"
SCRIPT = ROLE / "files/vitrine-mount-guard"
LINE = "36 35 98:0 /mnt1 {path} {options} shared:1 master:2 - {fstype} {source} {more}"


@pytest.fixture
def guard(monkeypatch):
    """Return the guard as a module."""
    loader = importlib.machinery.SourceFileLoader("vitrine_mount_guard", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("vitrine_mount_guard", loader))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("options", "more", "read_only"),
    [
        ("rw,noatime", "rw,errors=remount-ro", False),
        ("ro,noatime", "rw", True),
        ("rw,noatime", "ro", True),
    ],
)
def test_read_only(guard, options, more, read_only):
    """A mount is read-only by itself or by its file system."""
    line = LINE.format(path="/srv/a", options=options, fstype="xfs", source="/dev/vdb", more=more)
    assert guard.parse(line) == ("/srv/a", ("xfs", "/dev/vdb", read_only))


def test_blanks(guard):
    """Blanks in names are octal numbers there."""
    line = LINE.format(path=r"/srv/a\040b", options="rw", fstype="nfs4", source=r"store:/a\040b", more="rw")
    assert guard.parse(line) == ("/srv/a b", ("nfs4", "store:/a b", False))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"path": "/srv/other"}, ["/srv/other is not mounted, and data would land on the root disk"]),
        ({"fstype": "nfs4"}, ["its fstype is xfs, expected nfs4"]),
        ({"source": "/dev/vdc"}, ["its source is /dev/vdb, expected /dev/vdc"]),
        ({"volume": "site/other01/srv"}, ["it is marked 'site/host01/srv', expected 'site/other01/srv'"]),
        ({"writable": False}, ["is mounted writable, expected read-only"]),
        ({"limit_percent": 0}, ["full, the limit is 0 %"]),
        ({"fstype": "nfs4", "writable": False}, ["its fstype is", "is mounted writable"]),
    ],
)
def test_problems(guard, tmp_path, changes, words):
    """Each problem is reported with the actual and the expected state."""
    path = str(tmp_path)
    (tmp_path / ".vitrine-volume").write_text("site/host01/srv\n")
    usual = {
        "path": path,
        "writable": True,
        "limit_percent": 100,
        "volume": "site/host01/srv",
        "source": "",
        "fstype": "",
    }
    said = list(guard.problems(usual | changes, {path: ("xfs", "/dev/vdb", False)}))
    assert len(said) == len(words), said
    for sentence, word in zip(said, words, strict=True):
        assert word in sentence
        assert sentence.endswith(".")


@pytest.mark.parametrize(("status", "fails"), [(0, False), ("refused", False), (1, True), (2, True)])
def test_the_role_takes_the_status_of_a_refusal(guard, status, fails):
    """The task goes on to the message with what the guard says, and fails only if the guard did not run."""
    tasks = yaml.safe_load((ROLE / "tasks/check.yml").read_text())
    condition = Environment(autoescape=True).compile_expression(tasks[0]["failed_when"])
    seen = {"rc": guard.REFUSED if status == "refused" else status}
    assert condition(__mount_guard_check=seen) is fails
    assert "stderr_lines" in tasks[1]["ansible.builtin.assert"]["fail_msg"]
