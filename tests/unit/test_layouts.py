"""Layouts of hosts other than the demo's: everything on one host, web and proxy together, without JupyterHub."""

import os
import re
import subprocess
import sys
from pathlib import Path

import conftest
import pytest
import yaml
from ansible.template import Templar

from vitrine_cli.site import PROJECT, read_inventory

GROUPS = ["storage", "database", "omero_readwrite", "web", "proxy", "jupyterhub", "omero_client"]
# Of each layout: its hosts with their groups.
LAYOUTS = {
    "one": {"one": GROUPS},
    "two": {"one": [group for group in GROUPS if group != "proxy"], "two": ["proxy"]},
    "web and proxy together": {"one": ["storage", "database", "omero_readwrite"], "two": ["web", "proxy"]},
    "no hub": {"one": [group for group in GROUPS if group != "jupyterhub"]},
    "no hub and no client": {"one": GROUPS[:5]},
}
# Hosts beside those of a layout, settings, and words of the refusal.
REFUSED = {
    "two proxies": ("one", {"three": ["proxy"]}, {}, ["The group proxy has one, three; expected one host"]),
    "two databases": ("two", {"three": ["database"]}, {}, ["The group database has one, three; expected one host"]),
    "two hubs": ("one", {"three": ["jupyterhub"]}, {}, ["The group jupyterhub has one, three; expected one host"]),
    "Ice on a proxy with one of several servers": (
        *("one", {"three": ["omero_readonly"]}, {"site_public_ice": True, "public_omero_hosts": ["three", "one"]}),
        ["site_public_ice is true, and the proxy one is also in omero", "port 4064", "Move the proxy"],
    ),
    "Ice on a proxy whose OMERO.web chooses between servers": (
        "web and proxy together",
        {"three": ["omero_readonly"], "four": ["omero_readonly"]},
        {"site_public_ice": True},
        ["site_public_ice is true, and the proxy two is also in omero, or in web with several OMERO.servers"],
    ),
}


def write(folder, layout, more=None, settings=None):
    """Write an inventory.

    Args:
        folder: Path.
        layout: dict from hosts to lists of groups.
        more: dict, further hosts.
        settings: dict, variables of the site.

    Returns:
        str, the path of the inventory.
    """
    hosts = layout | (more or {})
    groups = {group for names in hosts.values() for group in names}
    tree = {group: {"hosts": {name: {} for name, own in hosts.items() if group in own}} for group in groups}
    addresses = {name: {"internal_address": f"192.0.2.{number}"} for number, name in enumerate(hosts, 1)}
    release = {"omero_server_zip_sha256": "0" * 64, "omero_server_artifacts": "https://example.org"}
    common = {"site_name": "layouts", "secrets_dir": str(folder / "secrets"), "jupyterhub_servers": 1}
    tree["hosts"] = {"hosts": addresses}
    # Named, so that --limit can choose it.
    controller = {"localhost": {"ansible_connection": "local"}}
    tree["all"] = {"hosts": controller, "vars": common | release | (settings or {})}
    (folder / "groups.yml").symlink_to(PROJECT / "groups.yml")
    (folder / "hosts.yml").write_text(yaml.safe_dump(tree))
    return str(folder)


def value(inventory, host, name):
    """Return a variable of a host as a run resolves it (inventory, host, name: str)."""
    from ansible.vars.hostvars import HostVars

    read, manager, loader = read_inventory([inventory])
    values = manager.get_vars(host=read.get_host(host)) | {"hostvars": HostVars(read, manager, loader)}
    return Templar(loader=loader, variables=values).template(values[name])


def preflight(inventory, *arguments):
    """Run the preflight (inventory: str; more arguments: str); returns a CompletedProcess."""
    program = Path(sys.executable).with_name("ansible-playbook")
    command = [program, "playbooks/preflight.yml", "-i", inventory, *arguments]
    settings = {"ANSIBLE_CONFIG": f"{PROJECT}/ansible.cfg", "COLUMNS": "200"}
    return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False, cwd=PROJECT)


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_accepted(tmp_path, layout):
    """The preflight has nothing against these layouts."""
    # With all roles' checks where everything is on one host; they take a while.
    whole = layout == "one"
    done = preflight(write(tmp_path, LAYOUTS[layout]), *([] if whole else ["--limit=localhost"]))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("case", list(REFUSED))
def test_refused(tmp_path, case):
    """What cannot be on one host, or on several, is refused with the reason, before anything is changed."""
    layout, more, settings, words = REFUSED[case]
    done = preflight(write(tmp_path, LAYOUTS[layout], more, settings), "--limit=localhost")
    assert done.returncode != 0, "it was taken"
    said = " ".join((done.stdout + done.stderr).split())
    assert [each for each in words if each not in said] == [], said[-3000:]


def test_the_nginx_of_web_and_proxy_have_no_name_in_common():
    """On one host both roles' files are parts of one configuration, in which each name may be there once."""
    found, name_of = {}, re.compile(r"^\s*(?:upstream|log_format) (\w+)|zone=(\w+):|shared:(\w+):", re.MULTILINE)
    for role, name in [("omero_web", "nginx"), *(("nginx_cache", each) for each in ("cache", "misses", "site"))]:
        text = (PROJECT / f"roles/{role}/templates/{name}.conf.j2").read_text()
        found.setdefault(role, []).extend(name_of.findall(text))
    names = {role: {next(filter(None, each)) for each in groups} for role, groups in found.items()}
    assert {"misses", "omero_web_", "omero_web_refresh", "vitrine", "tls"} <= names["nginx_cache"]
    assert names["omero_web"]
    assert not names["omero_web"] & names["nginx_cache"]


def test_files_of_web_and_proxy_differ():
    """Neither role writes or removes what the other one wrote."""
    texts = {}
    for role in ("omero_web", "nginx_cache"):
        paths = [*(PROJECT / f"roles/{role}/tasks").glob("*.yml"), PROJECT / f"roles/{role}/vars/main.yml"]
        texts[role] = set(re.findall(r"[\w-]+\.conf\b", "".join(path.read_text() for path in paths)))
    assert texts["omero_web"] & texts["nginx_cache"] == {"nginx.conf"} & texts["omero_web"]


def test_memory_is_shared(tmp_path):
    """PostgreSQL and JupyterHub leave memory for what else is on their host."""
    inventory = write(tmp_path, LAYOUTS["one"])
    assert value(inventory, "one", "postgresql_shares_host") is True
    assert value(inventory, "one", "jupyterhub_shares_host") is True
    assert value(inventory, "one", "jupyterhub_confined") is True
    alone = read_inventory(["inventories/demo"])[0].get_host("hub01")
    assert not {"omero", "web", "proxy", "database", "storage"} & {str(group) for group in alone.get_groups()}
    assert value("inventories/demo", "hub01", "jupyterhub_shares_host") is False


def test_what_users_of_the_hub_reach(tmp_path):
    """On a shared host: the site itself and OMERO.server's port; neither the database nor what has no password."""
    assert value(write(tmp_path, LAYOUTS["one"]), "one", "jupyterhub_open_ports") == [22, 80, 443, 4064]


def test_a_port_in_quotes(tmp_path):
    """The preflight takes a port that YAML reads as text, and so does the list of what users reach."""
    other = {"network_services_extra": {"https": {"port": "8443"}}}
    inventory = write(tmp_path, LAYOUTS["one"], settings=other)
    assert value(inventory, "one", "jupyterhub_open_ports") == [22, 80, 4064, 8443]


def test_rules_for_users_are_unloaded(tmp_path):
    """A hub without users keeps no rules, also if another program has flushed them."""
    tasks = yaml.safe_load((PROJECT / "roles/jupyterhub/tasks/confine.yml").read_text())
    nft = tmp_path / "nft"
    nft.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ntest -e {tmp_path}/loaded\n')
    nft.chmod(0o755)
    (tmp_path / "ansible.cfg").touch()
    variables = {
        **yaml.safe_load((PROJECT / "roles/jupyterhub/defaults/main.yml").read_text()),
        **yaml.safe_load((PROJECT / "roles/jupyterhub/vars/main.yml").read_text()),
        "ansible_python_interpreter": sys.executable,
        "jupyterhub_rules_dir": str(tmp_path),
        "jupyterhub_gate_users": [],
    }
    play = {"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    settings = {"ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    program = Path(sys.executable).with_name("ansible-playbook")
    for loaded in (True, False):
        (tmp_path / "jupyterhub.nft").touch()
        (tmp_path / "calls").unlink(missing_ok=True)
        (tmp_path / "loaded").touch() if loaded else (tmp_path / "loaded").unlink()
        done = subprocess.run(
            [program, "--connection=local", "--inventory=localhost,", tmp_path / "play.yml"],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert not (tmp_path / "jupyterhub.nft").exists()
        assert ("delete table inet vitrine_jupyterhub\n" in (tmp_path / "calls").read_text()) == loaded


def test_ice_on_one_host(tmp_path):
    """OMERO's own clients connect to OMERO.server itself where the proxy is on its host, and nginx forwards nothing."""
    inventory = write(tmp_path, LAYOUTS["one"], settings={"site_public_ice": True})
    assert value(inventory, "one", "nginx_cache_ice_servers") == {}
    assert value(inventory, "one", "omero_server_websocket_port") == 0
    services = value(inventory, "one", "firewall_services")
    assert {each["port"] for each in services.values() if "world" in each["clients"]} == {22, 80, 443, 4064}
    assert preflight(inventory, "--limit=localhost").returncode == 0


def test_the_firewall_of_one_host(tmp_path):
    """Only what is for everyone is open: the host's own connections use the loopback."""
    services = value(write(tmp_path, LAYOUTS["one"]), "one", "firewall_services")
    assert sorted(each["port"] for each in services.values() if each["clients"]) == [22, 80, 443]


@pytest.fixture
def own():
    """Return the variables of a site's only host, as a gate has them."""
    return {
        "inventory_hostname": "one",
        "internal_address": "192.0.2.1",
        "site_addresses": {"one": "192.0.2.1"},
        "site_public_ice": False,
        "public_ice_services": {},
        "network_services": {"ssh": {"port": 22, "group": "hosts", "clients": ["world"]}},
        "groups": {"hosts": ["one"]},
    }


def left_out(own, monkeypatch, source, open_ports=(), clients=()):
    """Return why a check is left out that the controller, with this address, was to make; None if it makes it."""
    monkeypatch.setattr(conftest, "source_towards", lambda _: source)
    monkeypatch.setattr(conftest, "can_connect", lambda _host, _address, port, *_: port in open_ports)
    try:
        other = conftest.controller_outside(own, clients)
    except pytest.skip.Exception as reason:
        return str(reason)
    assert (other.name, other.address) == ("the controller", "192.0.2.1")
    return None


def test_the_controller_asks_where_no_other_host_can(own, monkeypatch):
    """Its answer counts only if it reaches an open port, is no host of the site, and none of the service's clients."""
    assert left_out(own, monkeypatch, "192.0.2.9", [22]) is None
    reason = left_out(own, monkeypatch, "192.0.2.9")
    assert reason == "no other host of the site can try, and the controller does not reach one at 192.0.2.1"
    assert "does not reach" in left_out(own, monkeypatch, None, [22])
    for address in ("192.0.2.1", "127.0.0.1"):
        assert left_out(own, monkeypatch, address, [22]).endswith("the controller is a host of the site itself")
    assert left_out(own, monkeypatch, "192.0.2.9", [22], ["web", "192.0.2.0/24"]).endswith("may connect")


def test_who_may_not_connect(own, monkeypatch):
    """Other hosts are asked first; a port that is open to everyone is left out, and addresses are clients too."""
    hosts = {"one": "192.0.2.1", "two": "192.0.2.2", "three": "192.0.2.3"}
    own |= {"site_addresses": hosts, "groups": {"hosts": list(hosts), "web": ["two"]}}
    services = {"x": {"port": 8080, "group": "hosts", "clients": ["web"]}}
    own["network_services"] |= services | {"y": {"port": 9, "group": "hosts", "clients": ["192.0.2.2"]}}
    outsiders = conftest.outsiders.__wrapped__(own)
    find = conftest.outside.__wrapped__(own, outsiders, lambda name: name)
    assert [other.name for other in find(8080)] == ["three"]
    assert [other.name for other in find(9)] == ["three"]
    assert [other.name for other in find(4711)] == ["two", "three"]
    # A group that the inventory does not have is nobody.
    assert outsiders("jupyterhub", "192.0.2.2/31") == ["one"]
    with pytest.raises(pytest.skip.Exception, match="opens port 22 to everyone"):
        find(22)
