"""scripts/lock --check and --audit: what the pinned versions are behind of, and which advisories are about them."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

import yaml
from packaging.version import InvalidVersion, Version
from rich.console import Console
from rich.table import Table

from vitrine_cli.site import PROJECT

PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)")
PATTERNS = ["requirements.lock", "roles/*/files/*requirements*.txt"]
NPM_LOCKS = "roles/*/files/**/package-lock.json"
ADVISORIES = "VITRINE_ADVISORIES"
# A question to an index that does not answer.
SECONDS = 300


class FailedError(Exception):
    """Something could not be asked; the text says what and what to do."""


def pins(text):
    """Read the pinned versions of a list of requirements.

    Args:
        text: str, the list.

    Returns:
        dict from names as PyPI writes them to versions (str).
    """
    found = (PIN.match(line) for line in text.splitlines())
    return {re.sub(r"[-_.]+", "-", each[1]).lower(): each[2] for each in found if each}


def npm_pins(text):
    """Read the pinned versions of a package-lock.json (str); returns a dict from names to versions (str)."""
    packages = json.loads(text)["packages"]
    return {
        each.get("name") or path.rpartition("node_modules/")[2]: each["version"]
        for path, each in packages.items()
        if path
    }


def lists(project=PROJECT):
    """Find all lists of pinned versions.

    Args:
        project: pathlib.Path of the checkout.

    Returns:
        list of (ecosystem, path relative to the checkout, dict from names to versions); the ecosystem is PyPI or npm.
    """
    found = []
    for pattern in PATTERNS:
        for path in sorted(project.glob(pattern)):
            found.append(("PyPI", str(path.relative_to(project)), pins(path.read_text())))
    for path in sorted(project.glob(NPM_LOCKS)):
        found.append(("npm", str(path.relative_to(project)), npm_pins(path.read_text())))
    return [each for each in found if each[2]]


def newest(names, run=subprocess.run):
    """Ask PyPI, or the mirror that pip uses, for the newest versions.

    Args:
        names: iterable of str.
        run: what starts uv, as subprocess.run does.

    Returns:
        dict from names to versions (str).

    Raises:
        FailedError: The index did not answer.
    """
    with tempfile.TemporaryDirectory(prefix="vitrine-lock.") as folder:
        wanted = pathlib.Path(folder, "names.in")
        wanted.write_text("".join(f"{name}\n" for name in sorted(names)))
        # Without what they need, so that each one is the newest and none holds another back.
        command = ["uv", "pip", "compile", "--quiet", "--no-deps", "--no-header", "--no-annotate", "--universal"]
        command += ["--python-version", "3.11", str(wanted)]
        try:
            done = run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            raise FailedError(
                f"PyPI did not answer within {SECONDS} s. Check the network, or pip's index-url."
            ) from error
    if done.returncode:
        raise FailedError(f"uv could not ask PyPI: {done.stderr.strip()[-500:]}")
    return pins(done.stdout)


def npm_newest(names, run=subprocess.run):
    """Ask the npm registry for the newest versions of packages (iterable of str), as `newest` does."""
    if not shutil.which("npm"):
        raise FailedError("npm is not installed, so that the lock files of npm were not compared. Install npm.")
    found = {}
    for name in sorted(names):
        done = run(["npm", "view", name, "version"], capture_output=True, text=True, check=False, timeout=SECONDS)
        if done.returncode:
            raise FailedError(f"npm could not ask for {name}: {done.stderr.strip()[-300:]}")
        found[name] = done.stdout.strip()
    return found


def behind(pinned, new):
    """Compare versions.

    Args:
        pinned: dict from names to versions (str).
        new: dict from names to versions (str).

    Returns:
        list of (name, pinned version, newest version), where the newest is newer.
    """
    return [
        (name, version, new[name])
        for name, version in sorted(pinned.items())
        if name in new and number(new[name]) > number(version)
    ]


def number(version):
    """Return a version (str) as something that can be compared: 1.0.0-rc.1 of npm reads as PyPI's 1.0.0rc1."""
    try:
        return Version(version)
    except InvalidVersion:
        return Version(re.match(r"\d+(?:\.\d+)*", version)[0] if version[:1].isdigit() else "0")


def advisories(folder):
    """Read advisories in OSV's format.

    Args:
        folder: pathlib.Path: all.zip of OSV, in any folder below, or a checkout of pypa/advisory-database.

    Yields:
        dict, an advisory.

    Raises:
        FailedError: There are none.
    """
    count = 0
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith(".json"):
                        count += 1
                        yield json.loads(archive.read(name))
        elif path.suffix == ".json" or (path.suffix == ".yaml" and "vulns" in path.parts):
            count += 1
            yield yaml.safe_load(path.read_text()) if path.suffix == ".yaml" else json.loads(path.read_text())
    if not count:
        raise FailedError(
            f"{ADVISORIES} is '{folder}'; expected a folder with all.zip of OSV, or pypa/advisory-database."
        )


def concerns(affected, version):
    """Tell whether a part of an advisory is about a version.

    Args:
        affected: dict, an entry of the advisory's `affected`.
        version: str.

    Returns:
        bool.
    """
    if version in affected.get("versions", []):
        return True
    for each in affected.get("ranges", []):
        if each["type"] == "GIT":
            continue
        inside = False
        # The events of a range are in order.
        for event in each["events"]:
            if "introduced" in event and number(version) >= number(event["introduced"]):
                inside = True
            if "fixed" in event and number(version) >= number(event["fixed"]):
                inside = False
            if "last_affected" in event and number(version) > number(event["last_affected"]):
                inside = False
        if inside:
            return True
    return False


def audit(found, known):
    """Find the advisories that are about pinned versions.

    Args:
        found: list, as from `lists`.
        known: iterable of dict, advisories.

    Returns:
        list of (path, name, version, advisory's identifier, versions that mend it), sorted.
    """
    rows = set()
    for advisory in known:
        if advisory.get("withdrawn"):
            continue
        for affected in advisory.get("affected", []):
            package = affected.get("package", {})
            name = package.get("name", "")
            if package.get("ecosystem") == "PyPI":
                name = re.sub(r"[-_.]+", "-", name).lower()
            events = [event for each in affected.get("ranges", []) if each["type"] != "GIT" for event in each["events"]]
            mended = ", ".join(event["fixed"] for event in events if "fixed" in event)
            for ecosystem, path, pinned in found:
                if package.get("ecosystem") == ecosystem and name in pinned and concerns(affected, pinned[name]):
                    rows.add((path, name, pinned[name], advisory["id"], mended))
    return sorted(rows)


def show(title, columns, rows, console):
    """Print a table."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def check(found, console, ask=newest, ask_npm=npm_newest):
    """Print what is behind; returns the exit code."""
    names = {name for ecosystem, _, pinned in found if ecosystem == "PyPI" for name in pinned}
    new = {"PyPI": ask(names), "npm": {}}
    note = ""
    try:
        new["npm"] = ask_npm({name for ecosystem, _, pinned in found if ecosystem == "npm" for name in pinned})
    except FailedError as error:
        note = str(error)
    rows = [(path, *row) for ecosystem, path, pinned in found for row in behind(pinned, new[ecosystem])]
    if rows:
        show("Newer versions", ["list", "package", "pinned", "newest"], rows, console)
    console.print(
        f"{len(rows)} of {sum(len(pinned) for *_, pinned in found)} pinned versions are behind. {note}".strip()
    )
    return 2 if note else int(bool(rows))


def main(arguments, console=None):
    """Run --check or --audit; returns the exit code: 0 if there is nothing to report, 1 if there is, 2 on failure."""
    console = console or Console()
    try:
        if arguments == ["--check"]:
            return check(lists(), console)
        if arguments != ["--audit"]:
            raise FailedError(f"The arguments are {' '.join(arguments)}; expected --check or --audit alone.")
        if not (folder := os.environ.get(ADVISORIES)):
            raise FailedError(f"{ADVISORIES} is not set; expected a folder with advisories (docs/security.md).")
        found = lists()
        rows = audit(found, advisories(pathlib.Path(folder)))
        if rows:
            show("Advisories", ["list", "package", "pinned", "advisory", "mended in"], rows, console)
        console.print(f"{len(rows)} advisories about {sum(len(pinned) for *_, pinned in found)} pinned versions.")
        return int(bool(rows))
    except FailedError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
