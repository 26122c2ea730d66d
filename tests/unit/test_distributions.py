"""The distribution-specific names of roles: complete for each distribution, without duplicates; others are refused."""

import functools
import itertools
import re
from types import SimpleNamespace

import pytest
from ansible.template import Templar, trust_as_template
from conftest import names_of

from vitrine_cli.site import PROJECT, read_inventory

# Any inventory: Ansible is then ready to fill templates in.
LOADER = read_inventory(["inventories/demo/hosts.yml"])[2]
ROLES = PROJECT / "roles"
# The variables that their templates use in addition to facts.
VALUES = {
    "omero_server_java": 17,
    "postgresql_version": 15,
    "postgresql_data_dir": "/var/lib/postgresql",
    "postgresql_client_version": 15,
}
# Roles that support only some of the distributions: docs/support.md says why.
WITHOUT = {"nginx_cache": {"Ubuntu-22.04", "RedHat-9"}}


@functools.cache
def read(path):
    """Return the content of a role's YAML file, with its templates marked as trusted."""
    return LOADER.load_from_file(str(ROLES / path), trusted_as_template=True)


KNOWN = read("distribution/vars/main.yml")["__distribution_known"]


def examples():
    """Return the facts of a host of each distribution that roles support (dict from its name to tuple of str)."""
    found = {}
    for name in KNOWN:
        distribution, _, version = name.partition("-")
        major = version.partition(".")[0]
        found[name] = {
            "Debian": ("Debian", f"{version}.1", major, "Debian"),
            "Ubuntu": ("Ubuntu", version, major, "Debian"),
            "RedHat": ("Rocky", f"{version}.6", major, "RedHat"),
        }[distribution]
    return found


DISTRIBUTIONS = examples()
FAMILIES = {facts[-1] for facts in DISTRIBUTIONS.values()}
DESCRIBING = sorted({path.parents[1].name for path in ROLES.glob("*/vars/*.yml") if path.stem != "main"})
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


def template(value, variables):
    """Return a value with its templates filled in; an undefined variable raises."""
    if isinstance(value, str):
        value = trust_as_template(value)
    return Templar(loader=LOADER, variables=variables).template(value)


def asked(role):
    """Return the variables that a role gives role distribution where it loads its own files (dict)."""
    return next(
        task["vars"] for task in read(f"{role}/tasks/main.yml") if task.get("vars", {}).get("distribution_role") == role
    )


def variables_of(role, values):
    """Return the variables of role distribution when another role uses it on a host with these facts (dict)."""
    own = read(f"{role}/vars/main.yml") if (ROLES / role / "vars/main.yml").exists() else {}
    known = read("distribution/defaults/main.yml") | read("distribution/vars/main.yml")
    return known | own | values | asked(role) | {"role_path": str(ROLES / "distribution")}


def chosen(role, values):
    """Return the distribution that role distribution detects on a host (str), empty if it refuses the host."""
    return template("{{ __distribution_name }}", variables_of(role, values))


def files_of(role):
    """Return what is in a role's files for families and versions (dict from a name, such as "Debian", to dict)."""
    paths = sorted((ROLES / role / "vars").glob("*.yml"))
    return {path.stem: read(f"{role}/vars/{path.name}") for path in paths if path.stem != "main"}


@functools.cache
def loaded(role, name):
    """Return what role distribution loads for a role on a host of a distribution (dict), as its tasks have it."""
    variables = variables_of(role, facts(*DISTRIBUTIONS[name]))
    found = {}
    for task in read("distribution/tasks/main.yml"):
        path = task.get("ansible.builtin.include_vars")
        if path and ("when" not in task or template(f"{{{{ {task['when']} }}}}", variables)):
            found |= LOADER.load_from_file(template(path, variables), trusted_as_template=True)
    return found


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
def test_where_roles_go(role):
    """A role supports every distribution, unless it lists the ones that it supports."""
    listed = template(asked(role).get("distribution_supported", list(DISTRIBUTIONS)), variables_of(role, {}))
    assert set(listed) == DISTRIBUTIONS.keys() - WITHOUT.get(role, set())


@pytest.mark.parametrize("role", DESCRIBING)
def test_distributions_have_the_same_variables(role):
    """A role defines the same variables, all of them its own, on each distribution."""
    wanted = loaded(role, "Debian-12").keys()
    assert wanted
    assert all(name.startswith(f"__{role}_") for name in wanted)
    for name in [name for each, name in DESCRIBED if each == role]:
        assert loaded(role, name).keys() == wanted, name


@pytest.mark.parametrize("role", DESCRIBING)
def test_files_are_of_distributions(role):
    """Each file belongs to a distribution that the role supports, or to the family of such a distribution."""
    names = {name for each, name in DESCRIBED if each == role}
    families = {DISTRIBUTIONS[name][-1] for name in names}
    assert families <= files_of(role).keys() <= families | names


@pytest.mark.parametrize("role", DESCRIBING)
def test_nothing_is_said_twice(role):
    """A version's file has what differs from its family's, no file is empty, and no two have the same."""
    files = files_of(role)
    assert all(files.values())
    for name in files.keys() - FAMILIES:
        of_family = files[DISTRIBUTIONS[name][-1]]
        assert [key for key, value in files[name].items() if of_family.get(key) == value] == [], name
    for one, other in itertools.combinations(files, 2):
        assert files[one] != files[other], (one, other)


@pytest.mark.parametrize("role", DESCRIBING)
def test_a_family_has_what_its_versions_share(role):
    """Values that are the same in all versions of a family are in the family's file."""
    for family in FAMILIES & files_of(role).keys():
        names = [name for each, name in DESCRIBED if each == role and DISTRIBUTIONS[name][-1] == family]
        own = [files_of(role).get(name, {}) for name in names]
        for key in set.intersection(*map(set, own)):
            assert any(each[key] != own[0][key] for each in own), (family, key)


@pytest.mark.parametrize(("role", "name"), DESCRIBED)
def test_a_host_gets_its_own_names(role, name):
    """A host gets complete names of its distribution, of the same types as Debian's."""
    values = facts(*DISTRIBUTIONS[name])
    assert chosen(role, values) == name
    own = loaded(role, name)
    of_debian = loaded(role, "Debian-12")
    for key, value in own.items():
        filled = template(value, values | VALUES | own)
        assert isinstance(filled, type(of_debian[key])), key
        for each in filled if isinstance(filled, list) else [filled]:
            assert isinstance(each, str), key
            assert each, key
            assert "{" not in each, key


@pytest.mark.parametrize(
    ("role", "name", "key", "value"),
    [
        ("postgresql", "Debian-12", "own_versions", ["15"]),
        ("postgresql", "Ubuntu-22.04", "own_versions", ["14"]),
        ("omero_python", "Ubuntu-22.04", "interpreter", "/usr/bin/python3.11"),
        ("omero_python", "Ubuntu-24.04", "interpreter", "/usr/bin/python3"),
        (
            "jupyterhub",
            "Ubuntu-24.04",
            "packages",
            ["python3.12-venv", "nftables", "openssl", "python3-packaging"],
        ),
        ("time_sync", "RedHat-9", "service", "chronyd"),
    ],
)
def test_a_version_comes_after_its_family(role, name, key, value):
    """The values in a version's file override those in its family's file."""
    own = loaded(role, name)
    assert template(own[f"__{role}_{key}"], own) == value


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
    """A host of another distribution, or of another version of one of these, is refused, whatever its family."""
    assert chosen(role, facts(*values)) == ""


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in WITHOUT.items() for name in names])
def test_where_a_role_does_not_go(role, name):
    """A host whose distribution a role does not support is refused."""
    assert chosen(role, facts(*DISTRIBUTIONS[name])) == ""


def test_each_role_asks_for_its_own_files():
    """A role that has such files loads them, under its own name."""
    for role in DESCRIBING:
        tasks = read(f"{role}/tasks/main.yml")
        asked = [task["vars"]["distribution_role"] for task in tasks if "distribution_role" in task.get("vars", {})]
        # Other roles also load the path of the CA bundle, which belongs to a role of its own.
        assert [name for name in asked if name == role or name != "ca_certificates"] == [role]
        # Before the role changes anything: only the check of its input comes earlier.
        before = tasks[: [task.get("vars", {}).get("distribution_role") for task in tasks].index(role)]
        assert all(task.get("ansible.builtin.import_tasks") == "validate.yml" for task in before), role


@pytest.mark.parametrize(("role", "name"), DESCRIBED)
def test_gates_have_the_same_names(role, name):
    """A gate finds a host's names where the role finds them."""
    values = facts(*DISTRIBUTIONS[name])
    distribution, version = DISTRIBUTIONS[name][:2]
    # Debian's os-release has no minor version.
    release = version.partition(".")[0] if distribution == "Debian" else version
    host = SimpleNamespace(system_info=SimpleNamespace(distribution=distribution.lower(), release=release))
    of_role = {
        key.removeprefix(f"__{role}_"): template(value, values | VALUES)
        for key, value in loaded(role, name).items()
        if isinstance(value, str)
    }
    seen = names_of(host, role, **(values | VALUES))
    assert {key: value for key, value in seen.items() if isinstance(value, str)} == of_role


def test_pythons_are_those_of_the_locks():
    """The Python of each distribution is one that the pinned packages are for."""
    for name in DISTRIBUTIONS:
        version = loaded("omero_python", name)["__omero_python_version"]
        assert tuple(map(int, version.split("."))) >= (3, 11), name


@pytest.mark.parametrize(("role", "name"), DESCRIBED)
def test_no_name_is_missing(role, name):
    """Every variable of a role that its tasks and templates use is defined on each distribution."""
    texts = [
        path.read_text() for part in ("tasks", "handlers", "templates") for path in (ROLES / role / part).rglob("*.*")
    ]
    paths = ["defaults/main.yml", "vars/main.yml", f"vars/{DISTRIBUTIONS[name][-1]}.yml", f"vars/{name}.yml"]
    texts += [(ROLES / role / path).read_text() for path in paths if (ROLES / role / path).exists()]
    text = "\n".join(texts)
    used = set(re.findall(rf"\b__{role}_\w+", text))
    # Set by a file, by a task, or for one.
    known = set(re.findall(rf"^ *(__{role}_\w+):", text, re.MULTILINE))
    known |= set(re.findall(rf"(?:register|loop_var|index_var): (__{role}_\w+)", text))
    assert used <= known, used - known


def test_what_was_never_run_says_so():
    """The page lists each supported distribution, and whether the roles were ever run on it, like role distribution."""
    page = (PROJECT / "docs/support.md").read_text()
    rows = page.partition("\n\n## ")[0].partition("|---|---|\n")[2].partition("\n\n")[0].splitlines()
    assert rows.pop().startswith("| others")
    assert len(rows) == len(KNOWN)
    for name, state in KNOWN.items():
        assert state in ("run", "never run"), name
        words = name.replace("RedHat", "RHEL").replace("-", " ")
        row = next(row for row in rows if words in row)
        assert ("never run" in row) == (state == "never run"), row


@pytest.mark.parametrize("name", [*DISTRIBUTIONS, "unknown"])
def test_what_was_never_run_is_warned_of(name):
    """The first layer warns about a host whose distribution the roles were never run on, and about no other host."""
    first = next(play for play in read(PROJECT / "playbooks/hosts.yml") if "pre_tasks" in play)
    assert {"name": "distribution", "tasks_from": "untried"} in [
        task["ansible.builtin.import_role"] for task in first["pre_tasks"]
    ]
    [warning] = read("distribution/tasks/untried.yml")
    values = facts(*DISTRIBUTIONS.get(name, ("Fedora", "41", "41", "RedHat")))
    known = read("distribution/defaults/main.yml") | read("distribution/vars/main.yml")
    assert template(f"{{{{ {warning['when']} }}}}", known | values) == (KNOWN.get(name) == "never run")
    assert values["ansible_facts"]["distribution"] in template(warning["ansible.builtin.debug"]["msg"], values)


def test_base_images():
    """A base image comes from an archive, or from a container image that is pinned by its digest."""
    role = PROJECT / "testbed/roles/provision_local"
    variables = read(role / "defaults/main.yml") | read(role / "vars/main.yml")
    for suite in ("bookworm", "jammy", "noble"):
        assert template(variables["provision_local_from"], variables | {"provision_local_suite": suite}) == ""
    variables |= {"provision_local_suite": "rocky9"}
    image = template(variables["provision_local_from"], variables)
    assert re.fullmatch(r"[a-z.]+/[a-z/]+:9@sha256:[0-9a-f]{64}", image)
    recipe = template(trust_as_template((role / "templates/Containerfile.j2").read_text()), variables)
    assert recipe.startswith(f"FROM {image}\n")
    assert {"openssh-server", "python3", "sudo", "systemd"} <= set(recipe.split())
