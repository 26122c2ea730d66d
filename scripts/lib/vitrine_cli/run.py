"""scripts/run: runs a playbook on a site, or lists the playbooks. Its arguments are described in that file."""

from __future__ import annotations

import argparse
import difflib
import sys

from vitrine_cli import processes, screen
from vitrine_cli.site import PROJECT, RefusedError, check_own_files, find_inventory, load_site


def parse(arguments):
    """Parse the command line.

    Args:
        arguments: list of str, not empty.

    Returns:
        An argparse.Namespace with playbook, inventory and ansible (list of str, everything after them).
    """
    parser = argparse.ArgumentParser(
        "scripts/run",
        usage="scripts/run [PLAYBOOK INVENTORY [ARGUMENT...]]   (see --help)",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("playbook")
    parser.add_argument("inventory")
    options = parser.parse_args(arguments[:2])
    # Also after `--`, as in scripts/deploy.
    options.ansible = arguments[3:] if arguments[2:3] == ["--"] else arguments[2:]
    return options


def playbooks(project=PROJECT):
    """Find the playbooks.

    Args:
        project: pathlib.Path of the checkout.

    Returns:
        A dict from names (str) to the first line of the comment at the top of each (str).
    """
    found = {}
    for path in sorted((project / "playbooks").glob("*.yml")):
        comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
        found[path.stem] = comments[0].removeprefix("#").strip() if comments else ""
    return found


def find_playbook(wanted, project=PROJECT):
    """Find a playbook.

    Args:
        wanted: str, its name, with or without its folder and suffix.
        project: pathlib.Path of the checkout.

    Returns:
        A str: its path relative to the checkout.

    Raises:
        RefusedError: There is no playbook of that name.
    """
    known = playbooks(project)
    name = wanted.removeprefix("playbooks/").removesuffix(".yml")
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise RefusedError(
            f"There is no playbook '{wanted}'; expected {f'{near[0]}, or another of' if near else 'one of'} "
            f"{', '.join(known)}."
        )
    return f"playbooks/{name}.yml"


def request(arguments):
    """Run the requested playbook, or list the playbooks.

    Args:
        arguments: list of str, the command line.

    Returns:
        The exit code (int).

    Raises:
        RefusedError: The request cannot be carried out.
    """
    if not arguments:
        for name, line in playbooks().items():
            screen.console.print(f"{name:<14}{line}")
        return 0
    options = parse(arguments)
    playbook = find_playbook(options.playbook)
    site = load_site([find_inventory(options.inventory)])
    check_own_files(site)
    # Without the lock of scripts/deploy: health checks and maintenance are needed while an import runs for days.
    return processes.run(["ansible-playbook", *site.inventory_arguments, *options.ansible, playbook])


def main(arguments):
    """Run scripts/run (arguments: list of str; returns the exit code)."""
    return processes.carry_out(request, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
