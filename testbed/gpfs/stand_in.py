#!/usr/bin/python3
"""Stand-in for the commands of IBM Storage Scale that Vitrine calls, only for tests.

One program under the names of all; what it answers is in STATE. It knows the arguments that the role and its gate use
and ends with an error on any other, so that nothing passes by accident. A mount is a tmpfs.
"""

import argparse
import json
import pathlib
import subprocess
import sys
from urllib.parse import quote

STATE = pathlib.Path("/var/lib/gpfs-stand-in/state.json")
VERSION = "stand-in for IBM Storage Scale, part of Vitrine's tests; not the product"
NUMBER, ADDRESS = "4", "10.99.0.4"


def table(command, kind, fields, *rows):
    """Print rows (sequences of str) of a kind like -Y: values encoded, with a trailing colon."""
    print(f"{command}:{kind}:HEADER:version:reserved:reserved:{':'.join(fields.split())}:")
    for row in rows:
        print(f"{command}:{kind}:0:1:::" + "".join(f"{quote(value, safe='() .;-')}:" for value in row))


def fail(command, words, status=1):
    """Exit like the product."""
    print(words, file=sys.stderr)
    print(f"{command}: Command failed. Examine previous error messages to determine cause.", file=sys.stderr)
    sys.exit(status)


def known(command, state, name):
    """Return the state of a file system (dict); exit if the cluster does not have it."""
    if state["file_systems"].get(name, {}).get("unknown", True):
        fail(command, f"{command}: File system {name} is not known to the GPFS cluster.")
    return state["file_systems"][name]


def mmlscluster(state, options):
    """List the cluster and its nodes."""
    name, node = state["cluster"], f"{state['node']}.example.org"
    if not name:
        fail("mmlscluster", "mmlscluster: This node does not belong to a GPFS cluster.")
    fields = (
        "clusterName clusterId uidDomain rshPath rshSudoWrapper rcpPath rcpSudoWrapper repositoryType primaryServer "
        "secondaryServer"
    )
    summary = (name, "1", name, "/usr/bin/ssh", "no", "/usr/bin/scp", "no", "CCR", "s1", "s2")
    table("mmlscluster", "clusterSummary", fields, summary)
    fields = (
        "nodeNumber daemonNodeName ipAddress adminNodeName designation otherNodeRoles adminLoginName "
        "otherNodeRolesAlias"
    )
    server = ("1", "s1.example.org", "10.99.0.1", "s1.example.org", "quorumManager", "", "", "")
    table("mmlscluster", "clusterNode", fields, server, (NUMBER, node, ADDRESS, node, "", "", "", ""))


def mmgetstate(state, options):
    """Print the node's own state."""
    fields = "nodeName nodeNumber state quorum nodesUp totalNodes remarks cnfsState"
    table("mmgetstate", "", fields, (state["node"], NUMBER, state["state"], "1", "2", "2", "", "(undefined)"))


def mmlsfs(state, options):
    """Print when and where a file system is mounted."""
    found = known("mmlsfs", state, options.device)
    rows = [("automaticMountOption", found["automatic"]), ("defaultMountPoint", found["path"])]
    table("mmlsfs", "", "deviceName fieldName data remarks", *[(options.device, *row, "") for row in rows])


def mmlsfileset(state, options):
    """Print where a fileset is linked."""
    found = known("mmlsfileset", state, options.device)["filesets"]
    if options.fileset not in found:
        fail("mmlsfileset", f"Fileset named {options.fileset} does not exist.", 22)
    path = found[options.fileset]
    row = (options.device, options.fileset, "Linked" if path else "Unlinked", path or "--")
    table("mmlsfileset", "", "filesystemName filesetName status path", row)


def mmlsmount(state, options):
    """Print which nodes have a file system mounted."""
    found = known("mmlsmount", state, options.device)
    nodes = [("10.99.0.1", "s1", found["owner"], "RW")]
    if found["mounted"]:
        nodes.append((ADDRESS, state["node"], state["cluster"], found["mounted"]))
    fields = "localDevName realDevName owningCluster totalNodes nodeIP nodeName clusterName mountMode"
    first = (options.device, options.device, found["owner"], str(len(nodes)))
    table("mmlsmount", "", fields, *[(*first, *node) for node in nodes])


def mmmount(state, options):
    """Mount a file system, as a tmpfs that contains only its filesets."""
    found = known("mmmount", state, options.device)
    print("Mounting file systems ...")
    if state["refusal"]:
        fail("mmmount", state["refusal"])
    subprocess.run(["mount", "-t", "tmpfs", "-o", options.o or "rw", options.device, options.path], check=True)
    found["mounted"] = (options.o or "rw").upper()


def mmumount(state, options):
    """Unmount a file system."""
    found = known("mmumount", state, options.device)
    subprocess.run(["umount", found["path"]], check=True)
    found["mounted"] = ""


COMMANDS = {
    "mmlscluster": (mmlscluster, []),
    "mmgetstate": (mmgetstate, []),
    "mmlsfs": (mmlsfs, ["device", "-A", "-T"]),
    "mmlsfileset": (mmlsfileset, ["device", "fileset"]),
    "mmlsmount": (mmlsmount, ["device", "-L"]),
    "mmmount": (mmmount, ["device", "path"]),
    "mmumount": (mmumount, ["device"]),
}
CHANGES = ("mmmount", "mmumount")


def main():
    """Run the command under whose name the program was called."""
    command = pathlib.Path(sys.argv[0]).name
    answer, arguments = COMMANDS[command]
    parser = argparse.ArgumentParser(command, description=VERSION, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=VERSION)
    for argument in arguments:
        parser.add_argument(
            argument, **({"action": "store_true", "required": True} if argument.startswith("-") else {})
        )
    if command == "mmmount":
        parser.add_argument("-o", choices=["ro"])
    if command not in CHANGES:
        parser.add_argument("-Y", action="store_true", required=True)
    options = parser.parse_args()
    state = json.loads(STATE.read_text())
    answer(state, options)
    if command in CHANGES:
        STATE.write_text(json.dumps(state))


if __name__ == "__main__":
    main()
