"""State of a node of IBM Storage Scale (GPFS) and of its mounts, according to the product and to the kernel.

The commands' -Y output is meant for programs: fields separated by colons, a HEADER line for each kind of row, and
special characters percent-encoded (IBM's mmclidecode).
"""

import json
from itertools import zip_longest
from urllib.parse import unquote

# A row begins with command, kind of row, HEADER or 0, version and two reserved fields.
FIRST_FIELD = 6


class GpfsError(Exception):
    """A command failed or its output cannot be parsed; the text names the command and quotes its output."""


def parse(text):
    """Read the -Y output of a command.

    Args:
        text: str, as the command printed it.

    Returns:
        A dict from each kind of row (str, empty if a command has only one kind) to its rows: a list of dict from field
        names to str, decoded. A kind without rows has an empty list.

    Raises:
        GpfsError: There is no HEADER line, or a row without one.
    """
    headers, rows = {}, {}
    for line in text.splitlines():
        parts = [unquote(part) for part in line.strip().split(":")]
        # There may be warnings between the lines.
        if len(parts) <= FIRST_FIELD:
            continue
        kind = parts[1]
        if parts[2] == "HEADER":
            headers[kind] = parts[FIRST_FIELD:]
            rows.setdefault(kind, [])
        elif kind in headers:
            # The trailing colon adds an empty name and an empty value.
            fields = zip_longest(headers[kind], parts[FIRST_FIELD:], fillvalue="")
            rows[kind].append({name: value for name, value in fields if name})
        else:
            raise GpfsError(f"a row without a HEADER line: {line}")
    if not headers:
        raise GpfsError(f"no HEADER line in: {text.strip() or 'an empty answer'}")
    return rows


def read_node(mmlscluster, mmgetstate):
    """Return the identity and state of this node.

    Args:
        mmlscluster: str, output of mmlscluster -Y.
        mmgetstate: str, output of mmgetstate -Y on the node.

    Returns:
        A dict of str: cluster, node, address (of its daemon), state (active, arbitrating, down, unknown ...).

    Raises:
        GpfsError: The answers contradict each other.
    """
    cluster, states = parse(mmlscluster), parse(mmgetstate).get("", [])
    if len(states) != 1 or not cluster.get("clusterSummary"):
        raise GpfsError(f"mmgetstate -Y names {len(states)} nodes, expected this one: {mmgetstate.strip()}")
    state = states[0]
    # The two commands name the node differently (with and without its domain); its number is the same.
    found = [node for node in cluster.get("clusterNode", []) if node["nodeNumber"] == state["nodeNumber"]]
    if len(found) != 1:
        raise GpfsError(f"mmlscluster -Y has no node number {state['nodeNumber']} ({state['nodeName']})")
    return {
        "cluster": cluster["clusterSummary"][0]["clusterName"],
        "node": state["nodeName"],
        "address": found[0]["ipAddress"],
        "state": state["state"],
    }


def read_file_system(mmlsfs, name):
    """Return the attributes of a file system (dict of str) from the output of mmlsfs -Y (str)."""
    return {row["fieldName"]: row["data"] for row in parse(mmlsfs).get("", []) if row["deviceName"] == name}


def read_kernel(findmnt):
    """Return the kernel's mounts from findmnt --json --list: a list of dict with target, source, fstype, options."""
    return json.loads(findmnt)["filesystems"]


def judge_mount(wanted, node, mmlsmount, kernel, fstype="gpfs"):
    """Compare the configured mount with the state in Storage Scale and in the kernel; both must agree.

    Args:
        wanted: dict with file_system, path, read_only (bool), and perhaps owning_cluster.
        node: dict, as from read_node.
        mmlsmount: str, output of mmlsmount <file system> -L -Y.
        kernel: list of dict, as from read_kernel.
        fstype: str, type of the mounts in the kernel.

    Returns:
        A tuple (state, seen): mounted, absent, stale, elsewhere, occupied, foreign, writable or read_only; and in a
        sentence, what was seen.
    """
    name, path = wanted["file_system"], wanted["path"]
    rows = [row for row in parse(mmlsmount).get("", []) if row["localDevName"] == name]
    owners = {row["owningCluster"] for row in rows if row["owningCluster"]}
    # A row with another mode is an internal mount: used by a command of Storage Scale, and invisible otherwise.
    modes = [row["mountMode"] for row in rows if row["nodeIP"] == node["address"] and row["mountMode"] in ("RW", "RO")]
    told = f"mmlsmount says that {name} is " + (f"mounted on {node['node']} ({modes[0]})" if modes else "not mounted")
    ours = [mount for mount in kernel if mount["source"].removeprefix("/dev/") == name and mount["fstype"] == fstype]
    # Of several mounts on top of each other, only the last is visible.
    there = ([mount for mount in kernel if mount["target"] == path] or [None])[-1]

    owner = wanted.get("owning_cluster") or node["cluster"]
    if owners and owners != {owner}:
        return "foreign", f"mmlsmount says that {name} belongs to the cluster {', '.join(sorted(owners))}"
    other = [mount["target"] for mount in ours if mount["target"] != path]
    if other:
        return "elsewhere", f"the kernel has {name} at {', '.join(other)}"
    if there is None:
        return ("stale", f"{told}, and the kernel has nothing at {path}") if modes else ("absent", told)
    if there not in ours:
        return "occupied", f"the kernel has {there['source']} of type {there['fstype']} at {path}"
    if not modes:
        return "stale", f"the kernel has {name} at {path}, and {told}"
    kernel_read_only = "ro" in there["options"].split(",")
    if wanted["read_only"] and not (kernel_read_only and modes[0] == "RO"):
        return "writable", f"{told}, and the kernel's options are {there['options']}"
    if not wanted["read_only"] and (kernel_read_only or modes[0] == "RO"):
        return "read_only", f"{told}, and the kernel's options are {there['options']}"
    return "mounted", f"{told}, and the kernel has it at {path}"


class Node:
    """Queries a node without changing anything."""

    def __init__(self, run, folder="/usr/lpp/mmfs/bin", timeout=60, fstype="gpfs"):
        """Store how to run commands.

        Args:
            run: function from a list of str to (exit status, output, errors).
            folder: str, directory of the commands.
            timeout: int, seconds that each may take.
            fstype: str, type of the mounts in the kernel.
        """
        self._run, self._folder, self._timeout, self._fstype = run, folder, timeout, fstype

    def _ask(self, command, *arguments):
        """Run a command; returns its output. Raises GpfsError with the command's message."""
        status, output, errors = self._run(["timeout", "--kill-after=5", str(self._timeout), command, *arguments])
        if status:
            words = " ".join((errors.strip() or output.strip()).split())
            if status in (124, 137):
                words = f"no answer within {self._timeout} s. {words}"
            raise GpfsError(
                f"{' '.join([command.rpartition('/')[2], *arguments])}: {words or 'no message'} (exit status {status})"
            )
        return output

    def _mm(self, command, *arguments):
        """Run a command of Storage Scale."""
        return self._ask(f"{self._folder}/{command}", *arguments)

    def read(self):
        """Return the identity and state of this node, as read_node does."""
        return read_node(self._mm("mmlscluster", "-Y"), self._mm("mmgetstate", "-Y"))

    def read_mount(self, wanted, node):
        """Read the state of a mount.

        Args:
            wanted: dict, as judge_mount takes it; may have a fileset.
            node: dict, as from read_node; its state is active.

        Returns:
            A dict of str: state as from judge_mount, or unknown (no such file system), not_at_boot, fileset; and seen.
        """
        name, path = wanted["file_system"], wanted["path"]
        try:
            attributes = read_file_system(self._mm("mmlsfs", name, "-A", "-T", "-Y"), name)
        except GpfsError as problem:
            return {"state": "unknown", "seen": str(problem)}
        automatic, usual = attributes.get("automaticMountOption", ""), attributes.get("defaultMountPoint", "")
        if automatic.lower() != "yes" or usual != path:
            seen = f"mmlsfs says that {name} has automatic mount '{automatic}' and default mount point '{usual}'"
            return {"state": "not_at_boot", "seen": seen}
        kernel = read_kernel(self._ask("findmnt", "--json", "--list", "--output=TARGET,SOURCE,FSTYPE,OPTIONS"))
        state, seen = judge_mount(wanted, node, self._mm("mmlsmount", name, "-L", "-Y"), kernel, self._fstype)
        if state in ("mounted", "writable", "read_only"):
            try:
                self._ask("stat", "--file-system", path)
            except GpfsError as problem:
                return {"state": "stale", "seen": f"{seen}, but {problem}"}
        if wanted.get("fileset"):
            try:
                filesets = parse(self._mm("mmlsfileset", name, wanted["fileset"], "-Y")).get("", [])
            except GpfsError as problem:
                return {"state": "fileset", "seen": str(problem)}
            linked = [each["path"] for each in filesets if each["status"] == "Linked"]
            if not any(f"{each}/".startswith(f"{path}/") for each in linked):
                return {
                    "state": "fileset",
                    "seen": f"the fileset {wanted['fileset']} of {name} is not linked below {path}",
                }
        return {"state": state, "seen": seen}
