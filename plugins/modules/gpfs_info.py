#!/usr/bin/python
"""State of a node of IBM Storage Scale and of its mounts."""

DOCUMENTATION = r"""
module: gpfs_info
short_description: State of a node of IBM Storage Scale (GPFS) and of its mounts
description:
  - Queries the product's own commands (mmlscluster, mmgetstate, mmlsfs, mmlsmount, mmlsfileset) and the kernel.
  - Changes nothing. Fails if the product is not installed, or, with the command's message, if a command fails.
options:
  bin: {description: Directory of the product's commands., type: path, default: /usr/lpp/mmfs/bin}
  timeout: {description: Seconds that each command may take., type: int, default: 60}
  fstype: {description: Type of the mounts in the kernel., type: str, default: gpfs}
  mounts:
    description: The mounts to check. They are not checked if the node is not active.
    type: list
    elements: dict
    default: []
    suboptions:
      file_system: {description: Name of the file system on this cluster., type: str, required: true}
      path: {description: Mount point., type: path, required: true}
      read_only: {description: Whether the mount must be read-only., type: bool, default: false}
      fileset: {description: A fileset that must be linked below the mount point., type: str}
      owning_cluster: {description: Cluster that owns the file system; by default the node's own., type: str}
"""

RETURN = r"""
node:
  description: Names of C(cluster) and C(node), C(address) of its daemon, and its C(state).
  type: dict
  returned: success
  sample: {cluster: storage.example.org, node: image01, address: 192.168.1.13, state: active}
mounts:
  description:
    - The given mounts, each with C(state) and, as a sentence, what was C(seen).
    - >-
      The state is mounted, absent, stale, elsewhere, occupied, foreign, writable, read_only, unknown, not_at_boot or
      fileset.
  type: list
  elements: dict
  returned: success
"""

import os

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible.module_utils.gpfs import GpfsError, Node
except ImportError:  # in the collection (docs/adr/0028)
    from ..module_utils.gpfs import GpfsError, Node

MOUNT = {
    "file_system": {"type": "str", "required": True},
    "path": {"type": "path", "required": True},
    "read_only": {"type": "bool", "default": False},
    "fileset": {"type": "str"},
    "owning_cluster": {"type": "str"},
}


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "bin": {"type": "path", "default": "/usr/lpp/mmfs/bin"},
            "timeout": {"type": "int", "default": 60},
            "fstype": {"type": "str", "default": "gpfs"},
            "mounts": {"type": "list", "elements": "dict", "default": [], "options": MOUNT},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    command = f"{wanted['bin']}/mmlscluster"
    if not os.access(command, os.X_OK):
        module.fail_json(
            msg=f"IBM Storage Scale is not installed on this host: there is no {command}. It is in no package index: "
            "get it from IBM (Fix Central, with a licence) or from your own repository. Install gpfs.base and the "
            "packages that belong to it, join the host to the cluster (mmaddnode) and run again. If the commands are "
            "elsewhere, set gpfs_client_bin."
        )
    asked = Node(module.run_command, wanted["bin"], wanted["timeout"], wanted["fstype"])
    try:
        node = asked.read()
        mounts = []
        if node["state"] == "active":
            mounts = [mount | asked.read_mount(mount, node) for mount in wanted["mounts"]]
    except GpfsError as problem:
        module.fail_json(msg=f"IBM Storage Scale gives an unexpected answer: {problem}")
    except KeyError as missing:
        module.fail_json(msg=f"IBM Storage Scale gives an unexpected answer: it lacks the field {missing}")
    module.exit_json(changed=False, node=node, mounts=mounts)


if __name__ == "__main__":
    main()
