"""Nothing that runs on a site refers to the testbed (testbed/README.md, ADR 0022)."""

import re

import pytest
import yaml
from ansible.template import Templar

from vitrine_cli.dependencies import files_of
from vitrine_cli.site import PROJECT, read_inventory

ROLES = sorted(path.name for path in (PROJECT / "testbed/roles").iterdir())
LAYERS = yaml.safe_load((PROJECT / "group_vars/all/site.yml").read_text())["layers"]
# The gates are among what runs on a site; what breaks a scenario's hosts is not.
GATES = [f"tests/{layer}" for layer in LAYERS] + ["tests/study", "tests/gpfs", "tests/conftest.py"]
SETTINGS = ["group_vars", "groups.yml", "inventories/openstack", "inventories/single", "inventories/static"]
PRODUCTION = ["playbooks", "roles", "plugins", *SETTINGS, *GATES]
# The scripts read variables of hosts on this machine, compute the name of their image, and follow a scenario's files.
SCRIPTS = {
    ("scripts/lib/vitrine_cli/local.py", "testbed"),
    ("scripts/lib/vitrine_cli/local.py", "provision_local"),
    ("scripts/lib/vitrine_cli/site.py", "provision_local"),
    ("scripts/lib/vitrine_cli/dependencies.py", "testbed"),
}


def names_in(text):
    """Return the names of the testbed that a text (str) has: its folder, and its roles, also in names of variables."""
    return set(re.findall("|".join(["testbed", *ROLES]), text))


def found_below(*folders):
    """Return what files name of the testbed.

    Args:
        folders: str, files or folders of the checkout.

    Returns:
        A set of (path, name).
    """
    paths = [path for path in files_of() if any(path == own or path.startswith(own + "/") for own in folders)]
    files = [path for path in paths if (PROJECT / path).is_file()]
    assert all(any(path == own or path.startswith(own + "/") for path in files) for own in folders), folders
    return {(path, name) for path in files for name in names_in((PROJECT / path).read_text(errors="replace"))}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("src: '{{ project_dir }}/testbed/gpfs/stand_in.py'", {"testbed"}),
        ("name: test_cloud", {"test_cloud"}),
        ("when: stand_in_omero_server | default(false)", {"stand_in_omero_server"}),
        ("'{{ __provision_local_image }}'", {"provision_local"}),
        ("name: 'provision_{{ provisioner }}'", set()),
    ],
)
def test_what_names_the_testbed(text, names):
    """Its folder, a role of it, and a variable of such a role."""
    assert names_in(text) == names


def test_no_site_depends_on_the_testbed():
    """Playbooks, roles, plugins, shared settings, the templates of inventories and the gates do not name it."""
    assert found_below(*PRODUCTION) == set()


def test_the_scripts_know_no_more_than_needed():
    """They remove containers of this machine, look for their image, and tell which scenarios a change affects."""
    assert found_below("scripts") == SCRIPTS


@pytest.mark.parametrize(("official", "files"), [("", ["testbed/tasks/preflight.yml"]), ("/srv/release.zip", [])])
def test_the_demo_has_its_stand_in_built(monkeypatch, official, files):
    """By the preflight's hook, with a file that exists, and only if there is no official release."""
    monkeypatch.setenv("OMERO_SERVER_ZIP", official)
    inventory, manager, loader = read_inventory(["inventories/demo"])
    values = manager.get_vars(host=inventory.get_host("omero01")) | {
        "ansible_config_file": str(PROJECT / "ansible.cfg")
    }
    templar = Templar(loader=loader, variables=values)
    assert templar.template(values["preflight_tasks"]) == [str(PROJECT / path) for path in files]
    assert bool(templar.template(values["site_notice"])) == bool(files)
    assert all((PROJECT / path).is_file() for path in files)


def test_a_role_is_in_one_folder_alone():
    """Of two roles with the same name, Ansible uses the first without a warning."""
    assert not {path.name for path in (PROJECT / "roles").iterdir()} & set(ROLES)


def test_runtime_directory_of_containers():
    """Podman would give the hosts a /run in which every account can create files."""
    tasks = yaml.safe_load((PROJECT / "testbed/roles/provision_local/tasks/host.yml").read_text())
    (options,) = [task["containers.podman.podman_container"]["tmpfs"]["/run"] for task in tasks]
    assert "mode=0755" in options.split(",")
