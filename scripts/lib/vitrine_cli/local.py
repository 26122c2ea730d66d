"""Lists what a site of containers and virtual machines has on this machine, and removes what the role does not."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

from vitrine_cli.site import PROJECT, read_inventory

WRAPPER = str(PROJECT / "scripts" / "podman")
# The role that creates the containers.
ROLE = PROJECT / "testbed" / "roles" / "provision_local"


def podman(*arguments):
    """Run scripts/podman.

    Args:
        arguments: str.

    Returns:
        The lines of its output (list of str); none when it failed or there is no podman.
    """
    run = subprocess.run([WRAPPER, *arguments], capture_output=True, text=True, check=False)
    return run.stdout.splitlines() if run.returncode == 0 else []


def containers(site=None):
    """Return the names of a site's containers, or of every site's (site: Site or None; list of str)."""
    label = f"label=vitrine-site={site.name}" if site else "label=vitrine-site"
    return podman("ps", "--all", "--filter", label, "--format", "{{.Names}}")


def remains(site):
    """List what a site has on this machine.

    Args:
        site: Site.

    Returns:
        A list of str, empty when there is nothing.
    """
    found = [f"container {name}" for name in containers(site)]
    found += [f"network {name}" for name in podman("network", "ls", "--quiet", "--filter", f"name=^{site.name}$")]
    paths = (site.volumes / "volumes", site.volumes / "machines", site.state / "ssh_key")
    found += [str(path) for path in paths if path.exists()]
    return found


def end_connections(site):
    """End the SSH connections to hosts that are gone; ssh would keep them open for another two minutes.

    Hosts that still exist belong to another checkout, which may be using the connections.

    Args:
        site: Site.
    """
    if containers(site):
        return
    for address in site.addresses:
        listing = subprocess.run(
            ["ss", "--no-header", "--tcp", "--numeric", "--processes", "dst", address],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        for number in re.findall(r'"ssh",pid=(\d+)', listing):
            try:
                os.kill(int(number), signal.SIGTERM)
            except ProcessLookupError:
                continue


def remove_snapshots(site):
    """Remove the snapshots of a site's hosts (site: Site), unless it has hosts, which may be based on them."""
    if containers(site):
        return
    # The newest first, since it is based on the older ones.
    images = f"reference=localhost/vitrine-snapshot-{site.snapshots_of}/*"
    for image in dict.fromkeys(podman("images", "--quiet", "--filter", images)):
        podman("rmi", "--force", image)
    shutil.rmtree(site.volumes.parent / site.snapshots_of / "snapshots", ignore_errors=True)


def base_image(sources):
    """Compute the name of the image that a site's containers start from, as the role does.

    Args:
        sources: list of str, inventory paths, as for read_inventory.

    Returns:
        A str. It contains a hash of the image's recipe.
    """
    inventory, manager, loader = read_inventory(sources)
    from ansible.template import Templar

    defaults, own = (
        loader.load_from_file(str(ROLE / part / "main.yml"), trusted_as_template=True) for part in ("defaults", "vars")
    )
    values = defaults | manager.get_vars(host=inventory.get_host("localhost")) | own
    # The recipe is in files of the role.
    values["ansible_search_path"] = [str(ROLE)]
    return Templar(loader=loader, variables=values).template(own["__provision_local_image"])


def has_base_image(sources):
    """Return whether this machine has the image that a site's containers start from (sources: as for base_image)."""
    command = [WRAPPER, "image", "exists", base_image(sources)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def remove_base_images():
    """Remove the base images that no container uses (returns those that are kept, list of str)."""
    kept = []
    for image in json.loads("\n".join(podman("images", "--format", "json")) or "[]"):
        for name in image.get("Names") or []:
            if name.startswith("localhost/vitrine-base:") and not podman("rmi", name):
                kept.append(name)
    return kept


def tidy(site):
    """Remove a site's folders if they are empty, and undo the wrapper's workaround if nothing needs it any more.

    Args:
        site: Site.
    """
    for folder in (site.volumes, site.volumes.parent, site.state, site.state.parent):
        remove_if_empty(folder)
    if not containers():
        subprocess.run([WRAPPER, "--release"], check=True)


def remove_if_empty(folder):
    """Remove a folder (pathlib.Path) if it exists and is empty."""
    if folder.is_dir() and not any(pathlib.Path(folder).iterdir()):
        folder.rmdir()
