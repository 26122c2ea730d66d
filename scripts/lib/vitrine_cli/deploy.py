"""scripts/deploy: deploys a site. Its arguments are described in that file."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time

from vitrine_cli import processes, screen
from vitrine_cli.site import PROJECT, RefusedError, check_own_files, find_inventory, layers_below, load_site

# A run needs little space on the controller itself; the role that creates containers checks what they need.
FREE_GIB = 2


def parse(arguments):
    """Parse the command line.

    Args:
        arguments: list of str.

    Returns:
        An argparse.Namespace with inventory, layer, check, v and ansible (list of str, further arguments).
    """
    ours, _, further = split_at_dashes(arguments)
    parser = argparse.ArgumentParser(
        "scripts/deploy",
        usage="scripts/deploy INVENTORY [--layer LAYER] [--check] [-v] [-- ARGUMENT...]   (see --help)",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("inventory")
    parser.add_argument("--layer")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("-v", action="count", default=0)
    options = parser.parse_args(ours)
    options.ansible = further
    return options


def split_at_dashes(arguments):
    """Split a list of str at the first `--`; returns (before, found, after), like str.partition."""
    if "--" not in arguments:
        return arguments, False, []
    place = arguments.index("--")
    return arguments[:place], True, arguments[place + 1 :]


def ansible_command(site, options):
    """Compose the command that carries out a request.

    Args:
        site: Site.
        options: argparse.Namespace, as from parse.

    Returns:
        A list of str.

    Raises:
        RefusedError: The site has no such layer.
    """
    command = ["ansible-playbook", *site.inventory_arguments]
    if options.v:
        command.append("-" + "v" * options.v)
    if options.check:
        command += ["--check", "--diff"]
    command += options.ansible
    if not options.layer:
        return [*command, "playbooks/site.yml"]
    below = layers_below(site, options.layer)
    if below:
        # One run of two playbooks: the second starts only if the first succeeded, and the recap covers both.
        command += ["--extra-vars", json.dumps({"layers": below}), "playbooks/verify.yml"]
    return [*command, f"playbooks/{options.layer}.yml"]


def check_machine(site):
    """Check that this machine can deploy the site.

    Args:
        site: Site.

    Raises:
        RefusedError: It cannot.
    """
    if site.provisioner == "local" and os.geteuid() != 0:
        raise RefusedError(
            f"The hosts of {site.name} are containers on this machine with their own network and systemd, which "
            "requires root. Run this as root, or with sudo."
        )
    folders = [PROJECT, site.cache] + ([site.volumes] if site.provisioner == "local" else [])
    for folder in folders:
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free / 2**30
        if free < FREE_GIB:
            raise RefusedError(
                f"{folder} has {free:.1f} GiB of free space; expected {FREE_GIB} or more. Free some space first."
            )


def show_addresses(site, started):
    """Print the addresses from site.json if this run has written it (started: float, time.time())."""
    path = site.reports / "site.json"
    if not path.exists() or path.stat().st_mtime < started:
        return
    report = json.loads(path.read_text())
    for name, key in (("site", "url"), ("JupyterHub", "jupyterhub_url")):
        if report.get(key):
            screen.console.print(f"    {name + ':':<12}{report[key]}")
    screen.console.print(f"    {'report:':<12}{path}")


def request(arguments):
    """Deploy what is asked for.

    Args:
        arguments: list of str, the command line.

    Returns:
        The exit code (int).

    Raises:
        RefusedError: It cannot be deployed.
    """
    options = parse(arguments)
    screen.show_setup()
    begun = time.time()
    with screen.phase("check of the request"):
        site = load_site([find_inventory(options.inventory)])
        command = ansible_command(site, options)
        check_own_files(site)
        if not site.addresses:
            raise RefusedError(
                f"The inventory {site.sources[0]} has no host with an internal_address. Put its servers into the "
                "groups of groups.yml."
            )
        check_machine(site)
    with processes.lock(site, f"scripts/deploy {options.inventory}") as descriptor:
        if site.provisioner == "local":
            with screen.phase("packages"):
                processes.need("containers")
        clock = time.monotonic()
        code = processes.run(command, [descriptor])
    screen.show_phase(f"deploy {site.name}", "failed" if code else "done", time.monotonic() - clock)
    if code == 0:
        show_addresses(site, begun)
    screen.show_phase("all", "failed" if code else "done", time.monotonic() - screen.STARTED)
    return code


def main(arguments):
    """Run scripts/deploy (arguments: list of str; returns the exit code)."""
    return processes.carry_out(request, arguments, f"Nothing is lost: scripts/deploy {' '.join(arguments)} continues.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
