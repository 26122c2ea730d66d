"""Ways to break a host and to wait until it has mended itself: for scenarios, whose hosts are containers."""

import subprocess
import time
from pathlib import Path

import pytest

PODMAN = Path(__file__).resolve().parents[1] / "scripts" / "podman"
# Two of mount_guard's attempts, and the time that a recovery takes on a busy machine.
SECONDS = 60


@pytest.fixture
def container(host, variables):
    """Return the name of the container that the host under test is."""
    return f"{variables['scenario_containers']}-{host.backend.hostname}"


@pytest.fixture
def machine(container):
    """Return a function that runs a command with the machine's rights: a container's own root may not mount."""
    return lambda command: podman("exec", "--privileged", container, "bash", "-euc", command)


@pytest.fixture
def reboot(container):
    """Return a function that starts the host anew."""
    return lambda: podman("restart", "--time", "30", container)


def podman(*arguments):
    """Run Podman and return what it says; an error is its own words."""
    done = subprocess.run([PODMAN, *arguments], capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wrong_volumes(path):
    """Describe what can be wrong with a data volume.

    Args:
        path: str, its mount point.

    Returns:
        A dict from a name to (commands that bring it about, commands that mend it, words of mount_guard).
    """
    return {
        # The volume is mounted at another place for the time, so that it can be given back.
        "gone": (
            f"mkdir -p /mnt/kept; mount --bind {path} /mnt/kept; umount {path}",
            f"mount --bind /mnt/kept {path}; umount /mnt/kept; rmdir /mnt/kept",
            "is not mounted, and data would land on the root disk",
        ),
        "that of another host": (
            f"mount -t tmpfs -o size=1m tmpfs {path}; echo demo/other01{path} > {path}/.vitrine-volume",
            f"umount {path}",
            "is another volume",
        ),
        "an empty one": (f"mount -t tmpfs -o size=1m tmpfs {path}", f"umount {path}", "has no mark"),
        "read-only": (
            f"mount -o remount,bind,ro {path}",
            f"mount -o remount,bind,rw {path}",
            "is mounted read-only, expected writable",
        ),
        "full": (
            f"mkdir -p /mnt/full; mount -t tmpfs -o size=9m tmpfs /mnt/full; cp {path}/.vitrine-volume /mnt/full;"
            f" fallocate -l 9200000 /mnt/full/ballast; mount --bind /mnt/full {path}",
            f"umount {path}; umount /mnt/full; rmdir /mnt/full",
            "full, the limit is 95 %",
        ),
    }


def check_refuses(host, machine, unit, path, what):
    """Check that a service does not start with a wrong volume, says why, and leaves the place alone; then mend it.

    Args:
        host: Testinfra host.
        machine: function, the fixture.
        unit: str, the service, running.
        path: str, mount point of its volume.
        what: str, one of wrong_volumes.

    Raises:
        AssertionError: with what was seen instead.
    """
    break_it, mend_it, words = wrong_volumes(path)[what]
    begun = time.time()
    host.check_output("systemctl stop %s", unit)
    machine(break_it)
    try:
        before = host.check_output("ls -A %s", path)
        assert host.run("systemctl start %s", unit).rc != 0, "it started"
        said = journal(host, unit, begun)
        assert words in said, said
        assert host.check_output("ls -A %s", path) == before, "something was made in the volume's place"
    finally:
        machine(mend_it)


def journal(host, unit, since):
    """Return what a unit wrote on a host since a time (float, seconds since 1970)."""
    return host.check_output("journalctl --unit=%s --since=@%s --output=cat --no-pager", unit, str(int(since)))


def wait_until(condition, otherwise, seconds=SECONDS):
    """Wait until something holds.

    Args:
        condition: function without arguments, true when it holds.
        otherwise: str, the sentence for when it does not.
        seconds: int, how long to wait at most.

    Returns:
        What the condition gave.

    Raises:
        AssertionError: with that sentence.
    """
    end = time.monotonic() + seconds
    while not (seen := condition()):
        assert time.monotonic() < end, f"{otherwise} within {seconds} s"
        time.sleep(0.5)
    return seen
