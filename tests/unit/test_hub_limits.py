"""What the role jupyterhub sets for users' servers and for packages, and what it rejects."""

import sys
from types import ModuleType

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from vitrine_cli.site import PROJECT

ROLE = PROJECT / "roles/jupyterhub"
GIVEN = {
    "jupyterhub_rules_dir": "/rules",
    "jupyterhub_gate_users": [],
    "ansible_managed": "Ansible",
    "__jupyterhub_python": "python3.11",
    "ansible_facts": {"default_ipv4": {"address": "192.0.2.1"}, "memtotal_mb": 4096},
    "__jupyterhub_numbers": [1001, 1002],
}


def rendered(name, **values):
    """Return a template of the role (str), with its defaults and the values."""
    variables = {}
    for path in (ROLE / "defaults/main.yml", ROLE / "vars/main.yml"):
        variables |= DataLoader().load_from_file(str(path), trusted_as_template=True)
    templar = Templar(DataLoader(), variables=variables | GIVEN | values)
    return templar.template(trust_as_template((ROLE / "templates" / name).read_text()))


class Config(dict):
    """Stands in for the hub's configuration: every section is made when it is first named."""

    def __getattr__(self, name):
        """Return what was set, or a new section."""
        return self.setdefault(name, Config())

    def __setattr__(self, name, value):
        """Set a value."""
        self[name] = value


def configuration(monkeypatch, **values):
    """Return the hub's configuration (Config), read as Python."""
    for name, members in {
        "jupyterhub": {},
        "jupyterhub.auth": {"PAMAuthenticator": object},
        "login_limits": {"limited": lambda *_, **options: options},
        "tornado": {},
        "tornado.web": {"HTTPError": RuntimeError},
    }.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("CONFIGPROXY_AUTH_TOKEN", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.setenv(name, "x")
    config = Config()
    exec(rendered("jupyterhub_config.py.j2", **values), {"get_config": lambda: config})  # noqa: S102 (our own template)
    return config


def test_users_units(monkeypatch):
    """Users' servers have temporary directories of limited size, and no debuggers' system calls or exotic protocols."""
    config = configuration(monkeypatch, jupyterhub_user_temporary=99)
    properties = config.SystemdSpawner.unit_extra_properties
    sizes = {mount.partition(":")[0]: mount for mount in properties["TemporaryFileSystem"].split()}
    assert set(sizes) == {"/run/jupyterhub/runtime", "/tmp", "/var/tmp", "/dev/shm"}  # noqa: S108
    assert all("size=99M" in mount for place, mount in sizes.items() if not place.startswith("/run"))
    assert "size=16M" in sizes["/run/jupyterhub/runtime"]
    assert config.Spawner.environment["JUPYTER_RUNTIME_DIR"] == "/run/jupyterhub/runtime"
    # systemd makes the user's own runtime directory writable, and a temporary file system does not replace it.
    assert "/run/jupyterhub/users" in properties["InaccessiblePaths"].split()
    # The temporary file systems would not replace private directories, which have no limit.
    assert config.SystemdSpawner.isolate_tmp is False
    assert properties["LimitNPROC"] == "1024"
    assert properties["SystemCallFilter"] == "@system-service"
    assert properties["SystemCallErrorNumber"] == "EPERM"
    # The spawner replaces names in braces in every value.
    assert all(
        isinstance(value, str) and value.format(USERNAME="ada", USERID=1) for value in properties.values() if value
    )


@pytest.mark.parametrize("address", ["169.254.0.0/16", "fe80::a9fe:0/112", "fd00:ec2::254", "fd20:ce::254"])
def test_metadata_services(monkeypatch, address):
    """Metadata services are denied over IPv6 too, twice, and also on a host that the hub has for itself."""
    denied = configuration(monkeypatch).SystemdSpawner.unit_extra_properties["IPAddressDeny"].split()
    assert address in denied
    for confined in (True, False):
        rules = rendered("users.nft.j2", jupyterhub_confined=confined)
        assert address in rules.replace(",", " ").split()
        assert ("with tcp reset" in rules) == confined


def test_limits_are_required(monkeypatch):
    """The hub asks before each start whether the kernel enforces the limits, unless the site accepts the risk."""
    assert callable(configuration(monkeypatch).Spawner.pre_spawn_hook)
    assert "pre_spawn_hook" not in configuration(monkeypatch, jupyterhub_accept_unlimited_servers=True).Spawner


def installs():
    """Return the command lines (list of str) of virtualenv.yml that call uv."""
    (block,) = [
        task["block"] for task in yaml.safe_load((ROLE / "tasks/virtualenv.yml").read_text()) if "block" in task
    ]
    tasks = [task for each in block for task in each.get("block", [each])]
    lines = [str(task.get("ansible.builtin.command", {}).get("argv", "")) for task in tasks]
    return [line for line in lines if "uv'" in line or "/uv" in line or "as_builder" in line]


def test_packages_are_installed_without_rights():
    """No package is installed as root, nor built; what has a lock file is installed with its hashes."""
    lines = installs()
    assert len(lines) == 4
    assert all("__jupyterhub_as_builder" in line for line in lines)
    given = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__jupyterhub_as_builder"]
    assert "--reuid={{ __jupyterhub_builder }}" in given
    assert {"--no-new-privs", "--bounding-set=-all", "--clear-groups", "--kill-child"} <= set(given)
    (block,) = [task for task in yaml.safe_load((ROLE / "tasks/virtualenv.yml").read_text()) if "block" in task]
    assert "--no-build" in block["vars"]["__jupyterhub_install"]
    # All but that which creates the environment.
    assert sum("__jupyterhub_install" in line for line in lines) == 3
    assert sum("--require-hashes" in line for line in lines) == 2
