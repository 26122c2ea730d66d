"""Reading the -Y output of Storage Scale's commands, and judging what it means together with what the kernel says.

The lines are in the shape that IBM's own tools and public programs quote; names are made up.
"""

import json

import pytest

from plugins.module_utils.gpfs import GpfsError, Node, judge_mount, parse, read_file_system, read_node

CLUSTER = """\
mmlscluster:clusterSummary:HEADER:version:reserved:reserved:clusterName:clusterId:uidDomain:rshPath:rshSudoWrapper:rcpPath:\
rcpSudoWrapper:repositoryType:primaryServer:secondaryServer:
mmlscluster:clusterNode:HEADER:version:reserved:reserved:nodeNumber:daemonNodeName:ipAddress:adminNodeName:designation:\
otherNodeRoles:adminLoginName:otherNodeRolesAlias:
mmlscluster:cnfsSummary:HEADER:version:reserved:reserved:cnfsSharedRoot:cnfsMoundPort:cnfsNFSDprocs:cnfsReboot:\
cnfsMonitorEnabled:cnfsGanesha:
mmlscluster:commentNode:HEADER:version:reserved:reserved:nodeNumber:daemonNodeName:comment_enc:
mmlscluster:clusterSummary:0:1:::gpfs.example.org:12345678901234567890:gpfs.example.org:%2Fusr%2Fbin%2Fssh:no:%2Fusr%2Fbin%2Fscp:\
no:CCR:server1:server2:
mmlscluster:clusterNode:0:1:::1:server1.example.org:10.0.0.1:server1.example.org:quorumManager::::
mmlscluster:clusterNode:0:1:::4:image01.example.org:10.0.0.4:image01.example.org:::::
"""
STATE = """\
mmgetstate::HEADER:version:reserved:reserved:nodeName:nodeNumber:state:quorum:nodesUp:totalNodes:remarks:\
cnfsState:
mmgetstate::0:1:::image01:4:{}:1:2:2:quorum node:(undefined):
"""
# The first word of the header is not always the command's.
FILE_SYSTEM = """\
fs::HEADER:version:reserved:reserved:deviceName:fieldName:data:remarks:
mmlsfs::0:1:::idr:UID:090B5475%3A5E4F9685::
mmlsfs::0:1:::idr:automaticMountOption:yes::
mmlsfs::0:1:::idr:defaultMountPoint:%2Fgpfs%2Fidr::
mmlsfs::0:1:::other:defaultMountPoint:%2Fother::
"""
MOUNT_HEADER = (
    "mmlsmount::HEADER:version:reserved:reserved:localDevName:realDevName:owningCluster:totalNodes:nodeIP:nodeName:"
    "clusterName:mountMode:\n"
)
MOUNT = MOUNT_HEADER + "mmlsmount::0:1:::idr:idr:gpfs.example.org:2:10.0.0.4:image01:gpfs.example.org:{}:\n"
ELSEWHERE = MOUNT_HEADER + "mmlsmount::0:1:::idr:idr:gpfs.example.org:1:10.0.0.1:server1:gpfs.example.org:RW:\n"

NODE = {"cluster": "gpfs.example.org", "node": "image01", "address": "10.0.0.4", "state": "active"}
WANTED = {"file_system": "idr", "path": "/gpfs/idr", "read_only": True}


def kernel(target="/gpfs/idr", source="idr", fstype="gpfs", options="ro,relatime"):
    """Return the kernel's mounts: the root disk, and one more."""
    root = {"target": "/", "source": "/dev/vda1", "fstype": "ext4", "options": "rw"}
    return [root, {"target": target, "source": source, "fstype": fstype, "options": options}]


def test_kinds_of_rows_are_kept_apart():
    """Each kind has its own HEADER; a kind without rows is present but empty; values are decoded."""
    rows = parse(CLUSTER)
    assert [node["ipAddress"] for node in rows["clusterNode"]] == ["10.0.0.1", "10.0.0.4"]
    assert rows["clusterSummary"][0]["rshPath"] == "/usr/bin/ssh"
    assert rows["cnfsSummary"] == []


def test_a_decoded_colon_is_no_separator():
    """The command encodes the colons of its values."""
    assert read_file_system(FILE_SYSTEM, "idr")["UID"] == "090B5475:5E4F9685"


def test_a_value_with_blanks_and_brackets():
    """As mmlsfs gives versions."""
    line = "mmlsfs::0:1:::idr:filesystemVersion:14.03 (4.1.0.0)::\n"
    assert read_file_system(FILE_SYSTEM + line, "idr")["filesystemVersion"] == "14.03 (4.1.0.0)"


def test_warnings_between_the_lines():
    """Warnings are ignored."""
    assert parse("mmgetstate: a warning\n\n" + STATE.format("down"))[""][0]["state"] == "down"


@pytest.mark.parametrize("text", ["", "mmgetstate: [E] something\n", "mmgetstate::0:1:::image01:4:active:1:\n"])
def test_what_cannot_be_read_is_an_error(text):
    """Unreadable output is never taken for an answer."""
    with pytest.raises(GpfsError, match="HEADER"):
        parse(text)


def test_a_file_system_alone():
    """Rows about other file systems are left out."""
    assert read_file_system(FILE_SYSTEM, "idr")["defaultMountPoint"] == "/gpfs/idr"


@pytest.mark.parametrize("state", ["active", "arbitrating", "down", "unknown"])
def test_node(state):
    """The node is found by its number, whatever form its name has."""
    assert read_node(CLUSTER, STATE.format(state)) == NODE | {"state": state}


def test_a_node_of_another_cluster():
    """A number that the cluster does not have."""
    with pytest.raises(GpfsError, match="no node number 4"):
        read_node(CLUSTER.replace(":4:image01", ":5:image05"), STATE.format("active"))


@pytest.mark.parametrize(
    ("said", "seen", "state"),
    [
        (MOUNT.format("RO"), kernel(), "mounted"),
        (MOUNT.format("RO"), kernel(source="/dev/idr"), "mounted"),
        (MOUNT_HEADER, kernel()[:1], "absent"),
        (ELSEWHERE, kernel()[:1], "absent"),
        # Used internally by a command of Storage Scale, and not a mount.
        (MOUNT.format("internal"), kernel()[:1], "absent"),
        (MOUNT.format("RO"), kernel()[:1], "stale"),
        (MOUNT_HEADER, kernel(), "stale"),
        (ELSEWHERE, kernel(), "stale"),
        (MOUNT.format("RO"), kernel(target="/other"), "elsewhere"),
        (MOUNT.format("RO"), kernel(fstype="tmpfs"), "occupied"),
        (MOUNT.format("RO"), kernel(source="other"), "occupied"),
        (MOUNT.format("RO"), kernel() + kernel(source="tmpfs", fstype="tmpfs")[1:], "occupied"),
        (MOUNT.format("RW"), kernel(options="rw,relatime"), "writable"),
        (MOUNT.format("RW"), kernel(), "writable"),
        (MOUNT.format("RO"), kernel(options="rw,relatime"), "writable"),
        (MOUNT.format("RO").replace(":idr:gpfs.", ":idr:other."), kernel(), "foreign"),
    ],
)
def test_judgement(said, seen, state):
    """Neither the product's report nor the kernel's is trusted alone."""
    assert judge_mount(WANTED, NODE, said, seen)[0] == state


@pytest.mark.parametrize(("mode", "options"), [("RO", "rw"), ("RW", "ro"), ("RO", "ro")])
def test_a_mount_that_should_be_writable(mode, options):
    """A mount that is read-only by mistake is as wrong as one that is writable by mistake."""
    state, _ = judge_mount(WANTED | {"read_only": False}, NODE, MOUNT.format(mode), kernel(options=options))
    assert state == "read_only"


def test_a_file_system_of_another_cluster():
    """The file system is accepted if the configuration names that cluster."""
    said = MOUNT.format("RO").replace(":idr:gpfs.", ":idr:other.")
    assert judge_mount(WANTED | {"owning_cluster": "other.example.org"}, NODE, said, kernel())[0] == "mounted"


FILESET = "x::HEADER:version:reserved:reserved:filesetName:status:path:\nx::0:1:::a:{}:\n"


def answers(**changed):
    """Return a function that answers as a healthy node does, but for the commands (by their names) in `changed`."""
    usual = {
        "mmlsfs": (0, FILE_SYSTEM, ""),
        "mmlsmount": (0, MOUNT.format("RO"), ""),
        "findmnt": (0, json.dumps({"filesystems": kernel()}), ""),
        "stat": (0, "", ""),
        "mmlsfileset": (0, FILESET.format("Linked:%2Fgpfs%2Fidr%2Fa"), ""),
    }
    # timeout --kill-after=5 <seconds> <command> ...
    return lambda words: (usual | changed)[words[3].rpartition("/")[2]]


@pytest.mark.parametrize(
    ("changed", "state", "words"),
    [
        ({}, "mounted", "mounted on image01"),
        ({"stat": (1, "", "stat: '/gpfs/idr': Stale file handle")}, "stale", "Stale file handle"),
        ({"stat": (124, "", "")}, "stale", "no answer within 60 s"),
        ({"mmlsfs": (1, "", "mmlsfs: File system idr is not known to the GPFS cluster.\n")}, "unknown", "is not known"),
        ({"mmlsfs": (0, FILE_SYSTEM.replace(":yes:", ":no:"), "")}, "not_at_boot", "automatic mount 'no'"),
        ({"mmlsfs": (0, FILE_SYSTEM.replace("gpfs%2Fidr", "ibm%2Fidr"), "")}, "not_at_boot", "'/ibm/idr'"),
    ],
)
def test_a_node_that_is_asked(changed, state, words):
    """The refusals and timeouts of commands are part of the result."""
    seen = Node(answers(**changed)).read_mount(WANTED, NODE)
    assert seen["state"] == state
    assert words in seen["seen"]


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (None, "mounted"),
        ((22, "", "Fileset named a does not exist.\n"), "fileset"),
        ((0, FILESET.format("Unlinked:--"), ""), "fileset"),
        ((0, FILESET.format("Linked:%2Fgpfs%2Fidr2"), ""), "fileset"),
    ],
)
def test_a_fileset(answer, state):
    """It must exist, and be linked below the mount point."""
    changed = {"mmlsfileset": answer} if answer else {}
    assert Node(answers(**changed)).read_mount(WANTED | {"fileset": "a"}, NODE)["state"] == state


def test_a_command_that_fails_about_the_node():
    """The message quotes the command."""
    asked = Node(lambda words: (1, "", "mmlscluster: This node does not belong to a GPFS cluster.\n"))
    with pytest.raises(GpfsError, match="does not belong to a GPFS cluster"):
        asked.read()
