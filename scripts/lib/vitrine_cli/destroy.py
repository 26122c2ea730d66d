"""scripts/destroy: destroys a site. Its arguments are described in that file."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time

from vitrine_cli import local, processes, screen
from vitrine_cli.site import PROJECT, TEST_INVENTORIES, RefusedError, find_inventory, load_site


def parse(arguments):
    """Parse the command line (list of str); returns an argparse.Namespace with an attribute for each option."""
    parser = argparse.ArgumentParser(
        "scripts/destroy",
        usage="scripts/destroy INVENTORY [--volumes [--yes]] [--keep-secrets] [--caches]   (see --help)",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("inventory")
    parser.add_argument("--volumes", action="store_true")
    parser.add_argument("--yes", action="store_true")
    parser.add_argument("--keep-secrets", action="store_true")
    parser.add_argument("--caches", action="store_true")
    return parser.parse_args(arguments)


def check_volumes(site, options, ask=None):
    """Ask for confirmation before a cloud's data volumes are removed.

    Args:
        site: Site.
        options: argparse.Namespace, as from parse.
        ask: function from a question (str) to the answer (str), or None if nobody can be asked.

    Raises:
        RefusedError: The removal was not confirmed, or nobody can be asked.
    """
    if not options.volumes:
        return
    if site.provisioner != "openstack":
        raise RefusedError("--volumes is only for sites on an OpenStack: elsewhere no volumes are kept. Leave it out.")
    if options.yes:
        return
    if ask is None:
        raise RefusedError(
            f"--volumes permanently removes the data of {site.name}, and there is no terminal to confirm it. "
            "Add --yes to confirm."
        )
    if ask(f"This removes the volumes of {site.name} with all their data. Type the site's name: ").strip() != site.name:
        raise RefusedError("That is not the site's name; nothing was removed.")


def take_down(site, options, descriptor):
    """Run the provider's playbook that destroys the site, and end remaining SSH connections.

    Args:
        site: Site.
        options: argparse.Namespace, as from parse.
        descriptor: int, file descriptor of the lock that the run holds.

    Returns:
        ansible-playbook's exit status (int).
    """
    command = ["ansible-playbook", *site.inventory_arguments, "playbooks/destroy.yml"]
    if site.provisioner == "openstack":
        command += ["--extra-vars", json.dumps({"provision_openstack_destroy_volumes": options.volumes})]
    code = processes.run(command, [descriptor])
    if site.provisioner == "local":
        local.end_connections(site)
    return code


def describe_remains(site, inventory):
    """Describe what remains on servers that were not created by Vitrine.

    Args:
        site: Site.
        inventory: str, as it was given.

    Returns:
        A str.
    """
    return (
        f"Nothing was destroyed: the {len(site.addresses)} servers of {site.name} were not created by Vitrine.\n"
        "Unless scripts/run remove was run, they still run its services, and have its configuration, firewall rules,\n"
        "accounts and all data.\n"
        f"  scripts/run remove {inventory} -e remove={site.name} --check   shows what would be removed\n"
        f"  scripts/run remove {inventory} -e remove={site.name}           removes it, and never touches data\n"
        "docs/remove.md describes what remains, and the next steps."
    )


def remove_secrets(site):
    """Remove the generated passwords, if they are in this checkout; returns whether there were any."""
    if not site.secrets.is_dir() or not site.secrets.resolve().is_relative_to(PROJECT):
        return False
    shutil.rmtree(site.secrets)
    return True


def remove_caches(site):
    """Remove the caches that speed up the next deploy (site: Site)."""
    for each in (site, load_site(TEST_INVENTORIES)):
        local.remove_snapshots(each)
    for name in local.remove_base_images():
        screen.console.print(f"    kept, since containers of another site use it: {name}")
    shutil.rmtree(site.cache, ignore_errors=True)


def request(arguments):
    """Destroy what is asked for.

    Args:
        arguments: list of str, the command line.

    Returns:
        The exit code (int).

    Raises:
        RefusedError: It cannot be destroyed.
    """
    options = parse(arguments)
    screen.show_setup()
    with screen.phase("check of the request"):
        site = load_site([find_inventory(options.inventory)])
        if site.provisioner == "local" and os.geteuid() != 0:
            raise RefusedError(f"The hosts of {site.name} are containers of root. Run this as root, or with sudo.")
    check_volumes(site, options, screen.console.input if sys.stdin.isatty() else None)
    if site.provisioner == "none":
        screen.console.print(describe_remains(site, options.inventory))
        return 0
    with processes.lock(site, f"scripts/destroy {options.inventory}") as descriptor:
        return destroy(site, options, descriptor)


def destroy(site, options, descriptor):
    """Destroy a site, and remove what the options select.

    Args:
        site: Site.
        options: argparse.Namespace, as from parse.
        descriptor: int, file descriptor of the lock that programs hold.

    Returns:
        The exit code (int).
    """
    found = local.remains(site) if site.provisioner == "local" else ["servers"]
    clock = time.monotonic()
    if found:
        code = take_down(site, options, descriptor)
        screen.show_phase(f"destroy {site.name}", "failed" if code else "done", time.monotonic() - clock)
        if code:
            return code
    else:
        screen.console.print(f"    The site {site.name} has nothing on this machine.")
    if site.provisioner == "openstack" and not options.volumes:
        screen.console.print("    The data volumes and the passwords are kept; --volumes removes both.")
    if (site.provisioner == "local" or options.volumes) and not options.keep_secrets and remove_secrets(site):
        screen.console.print("    The generated passwords were removed too.")
    if site.provisioner == "local":
        if options.caches:
            with screen.phase("caches"):
                remove_caches(site)
        local.tidy(site)
    screen.show_phase("all", "done", time.monotonic() - screen.STARTED)
    return 0


def main(arguments):
    """Run scripts/destroy (arguments: list of str; returns the exit code)."""
    return processes.carry_out(request, arguments, f"Run scripts/destroy {' '.join(arguments)} again to continue.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
