"""The documented settings that no scenario ever changes: data/unchanged_settings.yml gives a reason for each.

A setting is an input of a role, or a variable of group_vars. A scenario changes it when an inventory or a play of a
scenario gives it another value than its default, or when its default is composed of one that is changed. What has no
default is not a setting in this sense: whoever uses it gives the value.
"""

import pathlib
import re
import shutil

import pytest
import yaml

from vitrine_cli import reference
from vitrine_cli.site import PROJECT

REASONS = pathlib.Path(__file__).parent / "data" / "unchanged_settings.yml"
INVENTORY = re.compile(r"--inventory=\${MOLECULE_PROJECT_DIRECTORY}/(\S+)")
# What every inventory gives, and no setting has.
ALWAYS_GIVEN = {"groups", "internal_address", "site_network"}
# As a command of a scenario gives it to a playbook.
EXTRA = re.compile(r"\b([a-z_]\w*)=(?=([^\s'\"]+))")
MISSING = object()


def settings(project=PROJECT):
    """Find the settings.

    Args:
        project: pathlib.Path of the checkout.

    Returns:
        A dict from their names to their defaults, as they are written: those of group_vars are stronger than a role's.
    """
    found = {}
    for folder in reference.roles(project):
        defaults = reference.read(folder / "defaults/main.yml")
        for spec in reference.read(folder / "meta/argument_specs.yml")["argument_specs"].values():
            for name, option in spec.get("options", {}).items():
                value = defaults.get(name, option.get("default", MISSING))
                # Required, or of another entry point, whose caller gives it.
                if value is not MISSING:
                    found[name] = value
    for path in (project / "group_vars").rglob("*.yml"):
        found |= reference.read(path)
    return found


def own_files(folder):
    """Return the YAML files of a folder (pathlib.Path; a list of those) that are no links, nor behind any."""
    linked = [path for path in folder.rglob("*") if path.is_symlink()]
    return [path for path in folder.rglob("*.yml") if not any(path.is_relative_to(link) for link in linked)]


def sources(project=PROJECT):
    """Return the files (set of pathlib.Path) that give variables in scenarios: their plays, and their inventories."""
    files = set(own_files(project / "molecule"))
    for path in [project / ".config/molecule/config.yml", *project.glob("molecule/*/molecule.yml")]:
        for name in INVENTORY.findall(path.read_text()):
            files |= set(own_files(project / name))
    return files


def variables(node):
    """Find what a piece of an inventory or a play gives to variables; yields pairs of names and values."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "vars" and isinstance(value, dict):
                yield from value.items()
            elif key == "hosts" and isinstance(value, dict):
                for host in value.values():
                    yield from (host or {}).items()
            elif key == "roles" and isinstance(value, list):
                for role in value:
                    yield from role.items() if isinstance(role, dict) else ()
            yield from variables(value)
    elif isinstance(node, list):
        for item in node:
            yield from variables(item)
    elif isinstance(node, str):
        yield from EXTRA.findall(node)


def words(value):
    """Return the words in the templates of a value, those of its parts included (a set of str)."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return set().union(*map(words, value))
    return set(re.findall(r"[a-z_]\w*", value)) if isinstance(value, str) and re.search(r"{[{%]", value) else set()


def unchanged(project=PROJECT):
    """Return the settings (set of str) of a checkout (pathlib.Path) that no scenario changes."""
    known = settings(project)
    changed = set(ALWAYS_GIVEN)
    for path in sources(project):
        content = reference.read(path)
        given = content.items() if "group_vars" in path.relative_to(project).parts else variables(content)
        changed |= {name for name, value in given if name in known and value != known[name]}
    while more := {name for name in known.keys() - changed if words(known[name]) & changed}:
        changed |= more
    return known.keys() - changed


@pytest.fixture(scope="module")
def reasons():
    """Return the reasons: a dict to lists of settings."""
    return reference.read(REASONS)


@pytest.fixture
def copy(tmp_path):
    """Return a copy of the checkout (pathlib.Path) with all that is read here."""
    for name in ("roles", "group_vars", "molecule", "inventories", ".config"):
        shutil.copytree(PROJECT / name, tmp_path / name, symlinks=True)
    return tmp_path


def test_what_no_scenario_changes_has_a_reason(reasons):
    """A new setting is set in molecule/settings, or gets a reason in data/unchanged_settings.yml."""
    listed = {name for names in reasons.values() for name in names}
    left = unchanged()
    assert sorted(left - listed) == [], "no scenario changes these: set them in molecule/settings/inventory"
    assert sorted(listed - left) == [], "a scenario changes these, or they are gone: remove them from the list"


def test_each_is_listed_once(reasons):
    """A reason is a sentence, and a setting has one."""
    names = [name for each in reasons.values() for name in each]
    assert len(names) == len(set(names))
    assert all(len(reason) > 20 for reason in reasons)


def test_most_are_changed():
    """The list is short, and the code above found the settings."""
    known = settings()
    assert len(known) > 200
    assert len(unchanged()) < len(known) / 4


def test_a_new_setting_is_found(copy):
    """Of a role as of group_vars; an input that is required is none."""
    before = unchanged(copy)
    for name in ("meta/argument_specs.yml", "defaults/main.yml"):
        path = copy / "roles/time_sync" / name
        path.write_text(path.read_text().replace("time_sync_servers:", "time_sync_rivers:"))
    with (copy / "group_vars/all/database.yml").open("a") as file:
        file.write('\n# New.\ndatabase_colour: blue\n# Composed.\ndatabase_shade: "dark {{ database_colour }}"\n')
    assert unchanged(copy) - before == {"time_sync_rivers", "database_colour", "database_shade"}


def test_a_scenario_changes_a_setting_and_what_is_composed_of_it(copy):
    """By a host, group_vars, a role's parameter, a play or a command; the default's own value changes nothing."""
    with (copy / "group_vars/all/database.yml").open("a") as file:
        for each in "abcdef":
            file.write(f"\n# New.\nnew_{each}: 1\n# Composed.\nof_{each}: '{{{{ new_{each} }}}}'\n")
    before = unchanged(copy)
    assert {f"{kind}_{each}" for each in "abcdef" for kind in ("new", "of")} <= before
    place = copy / "molecule/settings"
    (place / "inventory/a.yml").write_text("web: {hosts: {omero01: {new_a: 2}}}\n")
    (place / "inventory/group_vars/storage.yml").write_text("new_b: 2\n")
    play = {"hosts": "web", "roles": [{"role": "x", "new_c": 2}], "vars": {"new_d": 2, "run": "new_e=2", "new_f": 1}}
    (place / "play.yml").write_text(yaml.safe_dump([play]))
    assert before - unchanged(copy) == {f"{kind}_{each}" for each in "abcde" for kind in ("new", "of")}


def test_links_are_not_followed(copy):
    """The link to group_vars beside a scenario's plays gives every setting its default, whatever it is."""
    before = unchanged(copy)
    assert (copy / "molecule/settings/group_vars").is_symlink()
    (copy / "molecule/settings/inventory/group_vars/database.yml").unlink()
    assert "postgresql_slow_query" in unchanged(copy) - before
