"""Lanes, in which scenarios run side by side: each has a network of its own, where the test site's addresses are free.

The hosts of all scenarios have the same names and addresses, so that the snapshot that a layer's scenario made serves
the scenarios above it in any lane. The first lane is this machine's own network. What a lane changes for Ansible and
podman follows from the variable VITRINE_LANE: molecule/inventory/hosts.yml, scripts/podman.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess

from vitrine_cli.site import RefusedError

# Here scripts/podman finds the network namespace and keeps the networks of a lane.
FOLDER = pathlib.Path("/run/vitrine-lanes")
# The first three numbers of the addresses between this machine and the lanes, of which each lane takes four.
UPLINK = "10.213.255"


@dataclasses.dataclass(frozen=True)
class Lane:
    """A lane.

    Attributes:
        number: int, 0 for this machine's own network.
    """

    number: int

    @property
    def name(self):
        """Return what distinguishes its hosts from those of other lanes (str): empty for the first."""
        return str(self.number) if self.number else ""

    @property
    def namespace(self):
        """Return its network namespace's name (str)."""
        return f"vitrine-{self.number}"

    @property
    def folder(self):
        """Return the folder (pathlib.Path) of its SSH connections' sockets and its networks' definitions."""
        return FOLDER / self.name

    @property
    def environment(self):
        """Return the environment of programs in it (dict of str)."""
        if not self.number:
            return {}
        # Connections are kept by address, and the hosts of another lane have the same.
        return {"VITRINE_LANE": self.name, "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "ssh")}

    def command(self, command):
        """Return how a command (list of str) is started in it (list of str)."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command] if self.number else command

    @property
    def uplink(self):
        """Return the addresses of this machine and of the lane on the link between them (two str, without the /30)."""
        return f"{UPLINK}.{4 * self.number + 1}", f"{UPLINK}.{4 * self.number + 2}"


def ip(*arguments, check=True):
    """Run the command ip.

    Args:
        arguments: str.
        check: bool, whether to raise when it fails.

    Returns:
        Its output (str).

    Raises:
        RefusedError: It failed.
    """
    run = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if check and run.returncode:
        raise RefusedError(
            f"Scenarios cannot be run side by side here: ip {' '.join(arguments)}: {run.stderr.strip()}. "
            "Run them one after the other (--lanes 1)."
        )
    return run.stdout


def translate(lane, action):
    """Add (--append) or remove (--delete) the rules by which a lane's hosts reach what this machine reaches.

    Args:
        lane: Lane.
        action: str.
    """
    network = f"{lane.uplink[0]}/30"
    for rule in (
        ["--table", "nat", action, "POSTROUTING", "--source", network, "--jump", "MASQUERADE"],
        [action, "FORWARD", "--source", network, "--jump", "ACCEPT"],
        [action, "FORWARD", "--destination", network, "--jump", "ACCEPT"],
    ):
        subprocess.run(["iptables", "--wait", *rule], capture_output=True, check=False)


def remove(lane):
    """Remove a lane's network, if there is any (lane: Lane)."""
    # Connections that ssh keeps for a while; their hosts are gone.
    for process in ip("netns", "pids", lane.namespace, check=False).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGTERM)
    ip("netns", "delete", lane.namespace, check=False)
    # Else as soon as the last process there has ended, which may be when the next run has one of this name.
    ip("link", "delete", lane.namespace, check=False)
    translate(lane, "--delete")
    shutil.rmtree(lane.folder, ignore_errors=True)


def create(lane):
    """Create a lane's network anew (lane: Lane).

    Raises:
        RefusedError: This machine does not let us.
    """
    remove(lane)
    here, there = lane.uplink
    (lane.folder / "ssh").mkdir(parents=True, mode=0o700)
    (lane.folder / "networks").mkdir()
    ip("netns", "add", lane.namespace)
    ip("link", "add", lane.namespace, "type", "veth", "peer", "name", "uplink", "netns", lane.namespace)
    ip("address", "add", f"{here}/30", "dev", lane.namespace)
    ip("link", "set", lane.namespace, "up")
    ip("-netns", lane.namespace, "link", "set", "lo", "up")
    ip("-netns", lane.namespace, "address", "add", f"{there}/30", "dev", "uplink")
    ip("-netns", lane.namespace, "link", "set", "uplink", "up")
    ip("-netns", lane.namespace, "route", "add", "default", "via", here)
    translate(lane, "--append")


@contextlib.contextmanager
def lanes(number):
    """Create lanes, and remove them at the end.

    Args:
        number: int, how many.

    Yields:
        A list of Lane.

    Raises:
        RefusedError: This machine does not let us.
    """
    found = [Lane(each) for each in range(number)]
    try:
        for lane in found[1:]:
            create(lane)
        yield found
    finally:
        for lane in found[1:]:
            remove(lane)
        with contextlib.suppress(OSError):
            FOLDER.rmdir()


@contextlib.contextmanager
def entered(lane):
    """Have this program's environment be a lane's, for what reads it (lane: Lane)."""
    before = dict(os.environ)
    os.environ.update(lane.environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
