"""scripts/new-site: creates the inventory of a site in its own folder. Its arguments are described in that file."""

from __future__ import annotations

import argparse
import pathlib
import re
import shlex
import shutil
import string
import subprocess
import sys

from vitrine_cli import processes, screen
from vitrine_cli.site import PROJECT, RefusedError, known_inventories

README = PROJECT / "scripts" / "lib" / "new_site" / "README.md"
GROUPS = PROJECT / "inventories" / "static" / "groups.yml"
# A label of a host name, since names in clouds contain the name of the site. Volumes are marked with that name, too.
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
SITE_NAME = re.compile(r"^( +site_name:).*$", re.MULTILINE)
IGNORED = """\
# Passwords and keys are part of the site, but not of its repository: back them up.
/secrets/
/state/
/reports/
"""


def parse(arguments):
    """Parse the command line (list of str); returns an argparse.Namespace with name, template and path."""
    parser = argparse.ArgumentParser(
        "scripts/new-site",
        usage="scripts/new-site NAME --from TEMPLATE [--path FOLDER]   (see --help)",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("name")
    parser.add_argument("--from", dest="template", required=True)
    parser.add_argument("--path", type=pathlib.Path)
    return parser.parse_args(arguments)


def templates(project=PROJECT):
    """Return the names of the inventories that sites are created from (list of str)."""
    return [name for name in known_inventories(project) if name != "demo"]


def check(options, folder, project=PROJECT):
    """Check that a site can be created.

    Args:
        options: argparse.Namespace, as from parse.
        folder: pathlib.Path, where it will be.
        project: pathlib.Path of the checkout.

    Raises:
        RefusedError: The site cannot be created.
    """
    if not LABEL.fullmatch(options.name):
        raise RefusedError(
            f"NAME is '{options.name}'; expected 1 to 63 lower-case letters, digits and hyphens, without a hyphen at "
            "either end. Choose another name."
        )
    if options.template not in templates(project):
        raise RefusedError(f"--from is '{options.template}'; expected one of {', '.join(templates(project))}.")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RefusedError(f"{folder} exists; expected a new or an empty folder. Choose another folder with --path.")
    parent = folder.parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise RefusedError(f"{parent} is a file; expected a folder for {folder}. Choose another folder with --path.")


def write(options, folder, project=PROJECT):
    """Write the files of a site.

    Args:
        options: argparse.Namespace, as from parse.
        folder: pathlib.Path, where they will be.
        project: pathlib.Path of the checkout.
    """
    template = project / "inventories" / options.template
    shutil.copytree(template, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("groups.yml", "secrets"))
    # In place of the template's link or file, since a link into the checkout would be broken.
    shutil.copyfile(GROUPS, folder / "groups.yml")
    hosts = folder / "hosts.yml"
    hosts.write_text(SITE_NAME.sub(rf"\1 {options.name}", hosts.read_text(), count=1))
    place = f"../{folder.name}" if folder.parent == project.parent else str(folder)
    values = {"name": options.name, "template": options.template, "place": shlex.quote(place)}
    (folder / "README.md").write_text(string.Template(README.read_text()).substitute(values))
    (folder / ".gitignore").write_text(IGNORED)


def make_repository(folder):
    """Make a folder (pathlib.Path) a Git repository unless it is already inside one; returns whether it was (bool)."""
    command = ["git", "-C", folder, "rev-parse", "--is-inside-work-tree"]
    if subprocess.run(command, capture_output=True, check=False).returncode == 0:
        return False
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    return True


def request(arguments):
    """Create the requested inventory.

    Args:
        arguments: list of str, the command line.

    Returns:
        The exit code (int).

    Raises:
        RefusedError: The request is invalid; nothing was written.
    """
    options = parse(arguments)
    folder = (options.path or PROJECT.parent / options.name).resolve()
    check(options, folder)
    write(options, folder)
    screen.console.print(f"The site {options.name} is in {folder}. Put your servers into hosts.yml. README.md there")
    screen.console.print("lists the commands: scripts/run preflight checks the site, and scripts/deploy deploys it.")
    place = shlex.quote(str(folder))
    if make_repository(folder):
        screen.console.print(f"First commit: git -C {place} add . && git -C {place} commit -m 'Start the inventory'")
    else:
        screen.console.print("The folder is inside a Git repository, so no repository was created for the site.")
    return 0


def main(arguments):
    """Run scripts/new-site (arguments: list of str; returns the exit code)."""
    return processes.carry_out(request, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
