#!/usr/bin/python3
"""Prepare the host for a fault: set the stand-in's answers and the kernel's mounts, and remove what the role created.

Takes JSON on standard input: state (what the stand-in answers), kernel (mounts to make), files (contents by path, for
this fault alone: the next one finds what was there before), fresh (whether the role's own files are to go). Leaves a
mark, so that what is changed later can be found.
"""

import json
import pathlib
import shutil
import subprocess
import sys

BASE = pathlib.Path("/gpfs")
KEPT = pathlib.Path("/var/lib/gpfs-stand-in-kept")

asked = json.load(sys.stdin)
for kept in [path for path in KEPT.rglob("*") if path.is_file()]:
    shutil.move(kept, "/" / kept.relative_to(KEPT))
for path in BASE.iterdir():
    while path.is_mount():
        subprocess.run(["umount", path], check=True)
    if asked["fresh"]:
        path.rmdir()
if asked["fresh"]:
    pathlib.Path("/var/mmfs/etc/localMountOptions.idr").unlink(missing_ok=True)
pathlib.Path("/var/lib/gpfs-stand-in/state.json").write_text(json.dumps(asked["state"]))
for mount in asked["kernel"]:
    pathlib.Path(mount["path"]).mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", mount["options"], mount["source"], mount["path"]], check=True)
for path, content in asked["files"].items():
    kept = KEPT / path.lstrip("/")
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, kept)
    pathlib.Path(path).write_text(content)
subprocess.run(["systemctl", "daemon-reload"], check=True)
pathlib.Path("/var/lib/gpfs-stand-in-mark").touch()
