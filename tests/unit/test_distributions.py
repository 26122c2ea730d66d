"""What roles call things on each distribution: the same names for all of them, and a refusal for others."""

import re
from types import SimpleNamespace

import pytest
from ansible.template import Templar, trust_as_template
from conftest import names_of

from vitrine_cli.site import PROJECT, read_inventory

# Any inventory: Ansible is then ready to fill templates in.
LOADER = read_inventory(["inventories/demo/hosts.yml"])[2]
ROLES = PROJECT / "roles"
# The facts of a host of each distribution that roles describe.
DISTRIBUTIONS = {
    "Debian-12": ("Debian", "12.11", "12", "Debian"),
    "Ubuntu-22.04": ("Ubuntu", "22.04", "22", "Debian"),
    "Ubuntu-24.04": ("Ubuntu", "24.04", "24", "Debian"),
    "RedHat-9": ("Rocky", "9.6", "9", "RedHat"),
}
# What their templates ask for beside facts.
VALUES = {
    "omero_server_java": 17,
    "postgresql_version": 15,
    "postgresql_data_dir": "/var/lib/postgresql",
    "postgresql_client_version": 15,
}
# Roles that go on some of them only: docs/support.md says why.
WITHOUT = {"nginx_cache": {"Ubuntu-22.04", "RedHat-9"}}
DESCRIBING = sorted({path.parents[1].name for path in ROLES.glob("*/vars/*-*.yml")})
DESCRIBED = [(role, name) for role in DESCRIBING for name in DISTRIBUTIONS if name not in WITHOUT.get(role, set())]


def facts(distribution, version, major, family):
    """Return variables of a host with these facts (str)."""
    return {
        "inventory_hostname": "one",
        "ansible_facts": {
            "distribution": distribution,
            "distribution_version": version,
            "distribution_major_version": major,
            "os_family": family,
            "architecture": "x86_64",
        },
    }


def read(path):
    """Return what a role's YAML file has, its templates to be trusted."""
    return LOADER.load_from_file(str(ROLES / path), trusted_as_template=True)


def template(value, variables):
    """Return a value of a variable file with its templates filled in; an undefined variable raises."""
    return Templar(loader=LOADER, variables=variables).template(value)


def chosen(role, values):
    """Return the name of the file that role distribution takes for another role (str), empty when there is none."""
    variables = (
        read("distribution/vars/main.yml")
        | values
        | {"role_path": str(ROLES / "distribution"), "distribution_role": role}
    )
    return template(variables["__distribution_name"], variables)


def test_roles_that_need_it_are_described():
    """Each role that installs with apt has files; others install what has one name everywhere."""
    asking = {
        path.relative_to(ROLES).parts[0]
        for path in ROLES.glob("*/tasks/**/*.yml")
        if "ansible.builtin.apt:" in path.read_text()
    }
    assert asking - {"distribution"} <= set(DESCRIBING)
    assert {"ca_certificates", "firewall", "omero_python", "postgresql", "session_store"} <= set(DESCRIBING)


@pytest.mark.parametrize("role", DESCRIBING)
def test_files_have_the_same_variables(role):
    """Each distribution has a file, and each file the same variables, of the role's own."""
    files = {path.stem: read(path) for path in (ROLES / role / "vars").glob("*-*.yml")}
    assert files.keys() == DISTRIBUTIONS.keys() - WITHOUT.get(role, set())
    wanted = files["Debian-12"].keys()
    assert all(name.startswith(f"__{role}_") for name in wanted)
    for name, values in files.items():
        assert values.keys() == wanted, name


@pytest.mark.parametrize(("role", "name"), DESCRIBED)
def test_a_host_gets_its_own_file(role, name):
    """A host gets its distribution's file, whose values are of the same kind as Debian's, and whole."""
    values = facts(*DISTRIBUTIONS[name])
    assert chosen(role, values) == name
    variables = values | VALUES
    of_debian = read(f"{role}/vars/Debian-12.yml")
    for key, value in read(f"{role}/vars/{name}.yml").items():
        filled = template(value, variables)
        assert isinstance(filled, type(of_debian[key])), key
        for each in filled if isinstance(filled, list) else [filled]:
            assert isinstance(each, str), key
            assert each, key
            assert "{" not in each, key


@pytest.mark.parametrize("role", DESCRIBING)
@pytest.mark.parametrize(
    "values",
    [
        ("Ubuntu", "20.04", "20", "Debian"),
        ("Debian", "11.9", "11", "Debian"),
        ("Fedora", "41", "41", "RedHat"),
        ("Rocky", "8.10", "8", "RedHat"),
    ],
)
def test_others_get_none(role, values):
    """A host of another distribution, or of another version of one of these, gets no file."""
    assert chosen(role, facts(*values)) == ""


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in WITHOUT.items() for name in names])
def test_where_a_role_does_not_go(role, name):
    """A host of a distribution on which a role does not go gets no file, with which the role refuses it."""
    assert chosen(role, facts(*DISTRIBUTIONS[name])) == ""


def test_each_role_asks_for_its_own_file():
    """A role that has such files loads them, under its own name."""
    for role in DESCRIBING:
        tasks = read(f"{role}/tasks/main.yml")
        asked = [task["vars"]["distribution_role"] for task in tasks if "distribution_role" in task.get("vars", {})]
        # The authorities' bundle, which has a role of its own, is other roles' business too.
        assert [name for name in asked if name == role or name != "ca_certificates"] == [role]
        # Before it changes anything: all that comes first is the check of its input.
        before = tasks[: [task.get("vars", {}).get("distribution_role") for task in tasks].index(role)]
        assert all(task.get("ansible.builtin.import_tasks") == "validate.yml" for task in before), role


@pytest.mark.parametrize(("role", "name"), DESCRIBED)
def test_gates_have_the_same_names(role, name):
    """A gate finds a host's names where the role finds them."""
    values = facts(*DISTRIBUTIONS[name])
    distribution, version = DISTRIBUTIONS[name][:2]
    # Debian's os-release has no minor version.
    release = "12" if distribution == "Debian" else version
    host = SimpleNamespace(system_info=SimpleNamespace(distribution=distribution.lower(), release=release))
    of_role = {
        key.removeprefix(f"__{role}_"): template(value, values | VALUES)
        for key, value in read(f"{role}/vars/{name}.yml").items()
        if isinstance(value, str)
    }
    seen = names_of(host, role, **(values | VALUES))
    assert {key: value for key, value in seen.items() if isinstance(value, str)} == of_role


def test_pythons_are_those_of_the_locks():
    """The Python of each distribution is one that the pinned packages are for."""
    for name in DISTRIBUTIONS:
        version = read(f"omero_python/vars/{name}.yml")["__omero_python_version"]
        assert tuple(map(int, version.split("."))) >= (3, 11), name


@pytest.mark.parametrize(("role", "name"), DESCRIBED)
def test_no_name_is_missing(role, name):
    """What a role's tasks and templates call by a name of its own is known on each distribution."""
    texts = [
        path.read_text() for part in ("tasks", "handlers", "templates") for path in (ROLES / role / part).rglob("*.*")
    ]
    texts += [
        (ROLES / role / path).read_text()
        for path in ("defaults/main.yml", "vars/main.yml", f"vars/{name}.yml")
        if (ROLES / role / path).exists()
    ]
    text = "\n".join(texts)
    used = set(re.findall(rf"\b__{role}_\w+", text))
    # Set by a file, by a task, or for one.
    known = set(re.findall(rf"^ *(__{role}_\w+):", text, re.MULTILINE))
    known |= set(re.findall(rf"(?:register|loop_var|index_var): (__{role}_\w+)", text))
    assert used <= known, used - known


def test_base_images():
    """A base image comes from an archive, or from a container image that is pinned by its digest."""
    variables = read("provision_local/defaults/main.yml") | read("provision_local/vars/main.yml")
    for suite in ("bookworm", "jammy", "noble"):
        assert template(variables["provision_local_from"], variables | {"provision_local_suite": suite}) == ""
    variables |= {"provision_local_suite": "rocky9"}
    image = template(variables["provision_local_from"], variables)
    assert re.fullmatch(r"[a-z.]+/[a-z/]+:9@sha256:[0-9a-f]{64}", image)
    recipe = template(trust_as_template((ROLES / "provision_local/templates/Containerfile.j2").read_text()), variables)
    assert recipe.startswith(f"FROM {image}\n")
    assert {"openssh-server", "python3", "sudo", "systemd"} <= set(recipe.split())
