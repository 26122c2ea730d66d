"""What roles refuse before they change a host. Ansible itself runs their checks, on this machine, without changes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vitrine_cli.site import PROJECT

HOSTS = """
all: {vars: {site_name: refusals, secrets_dir: SECRETS, ansible_connection: local, internal_address: 192.0.2.1}}
web: {hosts: {web01: , web02: }}
proxy: {hosts: {proxy01: }}
omero_readwrite: {hosts: {omero01: }}
database: {hosts: {database01: }}
"""
TWO = "web_sessions: {hosts: {web01: , web02: }}"
DEBIAN = {"distribution": "Debian", "distribution_version": "12.11", "distribution_major_version": "12"}
DEBIAN |= {"os_family": "Debian"}
FEDORA = {"distribution": "Fedora", "distribution_version": "41", "distribution_major_version": "41"}
FEDORA |= {"os_family": "RedHat"}
KNOWN = yaml.safe_load((PROJECT / "roles/distribution/vars/main.yml").read_text())["__distribution_known"]
PORTS = {"web_sessions_ports": {"own": 6379, "shared": 6379}}
# As the distribution's file has them.
ICE = {"__omero_server_ice_packages": ["zeroc-icegrid"]}
# As the group has them.
HUB = {"jupyterhub_gate_users": [], "jupyterhub_passwords_dir": "/nowhere"}
HUB_FILES = PROJECT / "roles/jupyterhub/files"
POSTGRESQL = {"__postgresql_tools": "debian", "__postgresql_own_versions": ["15"]}
NEW_DATABASE = {"postgresql_data_dir": "DATA/nothing"}
RELEASE = {"omero_server_zip_sha256": "0" * 64, "omero_server_artifacts": "https://example.org"}

# Role, task file, variables of the inventory, facts of the host, and words of the refusal; none if accepted.
CASES = {
    # First, since a host keeps its facts.
    "hub with its defaults, before the host's memory is known": ("jupyterhub", "validate", HUB, {}, []),
    "as it is": ("session_store", "validate", {}, {}, []),
    "password too short": (
        *("session_store", "validate", {"web_sessions_password": "secret"}, {}),
        ["session_store_password (web_sessions_password) has 6 characters", "expected 16 or more", "secrets"],
    ),
    "password that HAProxy would read otherwise": (
        *("session_store", "validate", {"web_sessions_password": "sixteen letters and a few"}, {}),
        ["has 25 characters", "only letters and digits"],
    ),
    "no password": (
        *("session_store", "validate", {"web_sessions_password": None}, {}),
        ["session_store_password (web_sessions_password) has 0 characters", "Leave it unset"],
    ),
    "too little memory": (
        *("session_store", "validate", {"session_store_memory": 15}, {}),
        ["session_store_memory is 15 MiB; expected 16 or more", "in the inventory"],
    ),
    "least memory": ("session_store", "validate", {"session_store_memory": 16}, {}, []),
    "memory in words": (
        *("session_store", "validate", {"session_store_memory": "1 GiB"}, {}),
        ["session_store_memory", "int"],
    ),
    "store on a host without OMERO.web": (
        *("session_store", "validate", {"web_sessions_endpoint": "proxy01"}, {}),
        ["web_sessions_endpoint) is proxy01; expected one of the group web: web01, web02", "group web_sessions"],
    ),
    "one host, no store": (
        *("session_store", "validate", {"web_sessions_endpoint": "proxy01", "web_sessions_shared": False}, {}),
        [],
    ),
    "two services at one port": (
        *("session_store", "validate", PORTS, {}),
        ["session_store_way_port is 6379", "session_store_own_port is 6379", "three different", "web_sessions_ports"],
    ),
    "no port": (
        *("session_store", "validate", {"session_store_port": 65536}, {}),
        ["session_store_port is 65536", "from 1 to 65535"],
    ),
    "release": ("omero_server", "validate", RELEASE, {}, []),
    "release that takes no settings of the driver": (
        *("omero_server", "validate", RELEASE | {"omero_server_version": "5.6.2"}, {}),
        [
            "omero_server_zip is OMERO.server-5.6.2-ice36.zip; expected OMERO.server 5.6.3 or newer",
            "Set omero_server_version",
        ],
    ),
    "release without a version": (
        *("omero_server", "validate", RELEASE | {"omero_server_zip": "/srv/OMERO.server-latest.zip"}, {}),
        ["OMERO.server-latest.zip; expected OMERO.server 5.6.3 or newer, with the version in the name"],
    ),
    "Ice from nowhere": (
        *("omero_server", "validate", RELEASE | {"omero_server_ice": "opt/ice/bin"}, {}),
        ["omero_server_ice is 'opt/ice/bin'; expected debian", "or the full path"],
    ),
    "a process that OMERO has not": (
        *("omero_server", "validate", RELEASE | {"omero_server_processes": ["Blitz"]}, {}),
        ["value of omero_server_processes must be one or more of: Blitz-0, DropBox"],
    ),
    "repository elsewhere on a read-only server": (
        *("omero_server", "validate", RELEASE | {"omero_server_read_only": True, "omero_server_data_dir": "/data"}, {}),
        ["omero_server_data_dir is /data on web01; expected /srv/omero, as on the server that writes"],
    ),
    "memory for OMERO.server": ("omero_server", "check_host", ICE, DEBIAN | {"memtotal_mb": 3900}, []),
    "too little memory for OMERO.server": (
        *("omero_server", "check_host", {}, {"memtotal_mb": 1900}),
        [
            "web01 has 1992 MB: OMERO.server may take 2565 MB",
            "MB; expected percentages that fit",
            "or lower omero_server_memory_percent",
        ],
    ),
    "shares that do not fit": (
        *("omero_server", "check_host", {"omero_server_memory_percent": {"blitz": 60, "indexer": 10, "pixeldata": 20}}),
        *({"memtotal_mb": 7800}, ["web01 has 8178 MB: OMERO.server may take 8560 MB"]),
    ),
    "folder without Ice": (
        *("omero_server", "check_host", ICE | {"omero_server_ice": "/nowhere"}, DEBIAN | {"memtotal_mb": 7800}),
        ["omero_server_ice is /nowhere, and web01 has no glacier2router, icebox, icegridadmin, icegridnode there"],
    ),
    "ciphers that end the directive": (
        *("session_store", "validate", {"site_tls_ciphers": "ALL; tls no"}, {}),
        ["session_store_tls_ciphers (site_tls_ciphers) is 'ALL; tls no'; expected TLSv1.2", "in the inventory"],
    ),
    # As of a text block of YAML (|), whose last line break would end the line of a configuration file too early.
    "ciphers with a line break": (
        *("session_store", "validate", {"site_tls_ciphers": "ECDHE+AESGCM\n"}, {}),
        ["session_store_tls_ciphers (site_tls_ciphers) is 'ECDHE+AESGCM"],
    ),
    "ciphers of nginx with a line break": (
        *("nginx_cache", "validate", {"site_tls_ciphers": "ECDHE+AESGCM\n"}, {}),
        ["nginx_cache_tls_ciphers (site_tls_ciphers) is 'ECDHE+AESGCM"],
    ),
    "ciphers of PostgreSQL with a line break": (
        *("postgresql", "validate", {"site_tls_ciphers": "ECDHE+AESGCM\n"}, {}),
        ["postgresql_tls_ciphers (site_tls_ciphers) is 'ECDHE+AESGCM"],
    ),
    "ciphers of OMERO.server with a line break": (
        *("omero_server", "validate", RELEASE | {"site_tls_ciphers": "ECDHE+AESGCM\n"}, {}),
        ["omero_server_tls_ciphers (site_tls_ciphers) is 'ECDHE+AESGCM"],
    ),
    "a header with a line break": (
        *("nginx_cache", "validate", {"nginx_cache_headers_extra": {"X-Robots-Tag": "noindex\n"}}, {}),
        ["nginx_cache_headers_extra: 'X-Robots-Tag' is 'noindex"],
    ),
    "a header that acts on the whole host name": (
        *("nginx_cache", "validate", {"nginx_cache_jupyterhub_headers_extra": ["X-One", "Service-Worker-Allowed"]}, {}),
        ["nginx_cache_jupyterhub_headers_extra has 'Service-Worker-Allowed'; expected the name of a header that"],
    ),
    "an order to nginx": (
        *("nginx_cache", "validate", {"nginx_cache_jupyterhub_headers_extra": ["x-accel-redirect"]}, {}),
        ["nginx_cache_jupyterhub_headers_extra has 'x-accel-redirect'"],
    ),
    "TLS of yesterday": (
        *("nginx_cache", "validate", {"site_tls_protocols": ["TLSv1.1", "TLSv1.2"]}, {}),
        ["value of nginx_cache_tls_protocols must be one or more of: TLSv1.2, TLSv1.3"],
    ),
    "no TLS": (
        *("postgresql", "validate", {"site_tls_protocols": []}, {}),
        ["postgresql_tls_protocols (site_tls_protocols) is []", "expected TLSv1.2, TLSv1.3 or both"],
    ),
    "ciphers of OMERO.server": (
        *("omero_server", "validate", RELEASE | {"site_tls_ciphers": "strong please"}, {}),
        ["omero_server_tls_ciphers (site_tls_ciphers) is 'strong please'"],
    ),
    "the database as it is": ("postgresql", "validate", {}, {}, []),
    "a client of the database that is no address": (
        *("postgresql", "validate", {"postgresql_clients_extra": [{"address": "10.0.0.0/33", "certificate": "/"}]}, {}),
        ["postgresql_clients_extra has {'address': '10.0.0.0/33'", "expected `address`, an IPv4 address or network"],
    ),
    "a client of the database without a certificate": (
        *("postgresql", "validate", {"postgresql_clients_extra": [{"address": "10.0.0.1", "certificate": "/no"}]}, {}),
        ["postgresql_clients_extra has", "`certificate`, a PEM file on the controller"],
    ),
    "the proxy as it is": ("nginx_cache", "validate", {}, {}, []),
    "fewer that wait in total than of one address": (
        *("nginx_cache", "validate", {"nginx_cache_waiting": 2000}, {}),
        ["nginx_cache_waiting is 2000, nginx_cache_waiting_total is 1500", "a total of at least nginx_cache_waiting"],
    ),
    "processes of an OMERO.web that is none": (
        *("nginx_cache", "validate", {"nginx_cache_workers": {"nowhere:8080": 4}}, {}),
        ["nginx_cache_workers is {'nowhere:8080': 4}; expected a map from host:port as in nginx_cache_upstreams"],
    ),
    "an address without limits that is none": (
        *("nginx_cache", "validate", {"nginx_cache_unlimited": ["192.168.1.9", "fd00::/64", "an.institute"]}, {}),
        ["nginx_cache_unlimited contains 'an.institute'; expected an address such as 192.168.1.9 or fd00::9"],
    ),
    "a header that the role sets": (
        *("nginx_cache", "validate", {"nginx_cache_headers_extra": {"Referrer-Policy": "origin"}}, {}),
        ["nginx_cache_headers_extra: 'Referrer-Policy' is 'origin'; expected a name that the role does not set itself"],
    ),
    "a header that ends the directive": (
        *("nginx_cache", "validate", {"nginx_cache_headers_extra": {"X-One": '"; root /'}}, {}),
        ["nginx_cache_headers_extra: 'X-One' is", "without double quotes"],
    ),
    "a zone too many": (
        "nginx_cache",
        "validate",
        {"nginx_cache_zones_extra": {"more": {"share": 1, "answer_kib": 8, "valid": "1d", "pattern": "^/more/"}}},
        {},
        ["the shares add up to 101 percent", "nginx_cache_zones_extra, such as {rendered: {share: 40}}"],
    ),
    "a zone whose name is wrong": (
        *("nginx_cache", "validate", {"nginx_cache_zones_extra": {"renderd": {"valid": "7d"}}}, {}),
        ["nginx_cache_zones: renderd is {'valid': '7d'}; expected share"],
    ),
    "a setting that no unit has": (
        *("omero_server", "validate", RELEASE | {"omero_server_service_settings": {"Limit nofile": 1}}, {}),
        ["omero_server_service_settings sets Limit nofile; expected settings of the section [Service]"],
    ),
    "a setting in two lines": (
        *("postgresql", "validate", {"postgresql_service_settings": {"LimitNOFILE": "1\nUser=root"}}, {}),
        ["postgresql_service_settings sets", "a value on one line"],
    ),
    "an administrator twice": (
        "admin_users",
        "validate",
        {f"admin_users_list{more}": [{"name": "ada", "keys": ["ssh-ed25519 AAAA ada"]}] for more in ("", "_extra")},
        {},
        ["admin_users_list and admin_users_list_extra together list ada, ada; expected each name once"],
    ),
    "a user with the name of OMERO's own guest": (
        *("omero_server", "validate"),
        RELEASE | {"omero_public_user": "guest"},
        {},
        ["list guest; expected names other than those of OMERO's built-in users (root, guest)"],
    ),
    "a group of OMERO twice": (
        *("omero_server", "validate"),
        RELEASE | {"omero_server_groups_extra": [{"name": "public", "permissions": "rw----"}]},
        {},
        ["omero_server_users_extra and omero_server_groups_extra) list public, gate, public; expected each name once"],
    ),
    "a network as a client": (
        "firewall",
        "validate",
        {"network_services_extra": {"exporter": {"port": 9100, "group": "hosts", "clients": ["10.0.0.0/8"]}}},
        {},
        [],
    ),
    "an address that cannot be": (
        *("firewall", "validate", {"firewall_services": {"ssh": {"port": 22, "clients": ["world", "999.1.1.1"]}}}, {}),
        [
            "firewall_services (network_services): ssh is",
            "IPv4 addresses and networks, or `world`",
            "network_services_extra",
        ],
    ),
    "a firewall that locks out": (
        *("firewall", "validate", {"network_services_extra": {"ssh": {"port": 2222}}}, {}),
        ["does not open port 22 of web01 to world", "Set network_services_extra in the inventory, such as"],
    ),
    "mount of another host's export": (
        *("nfs_client", "validate", {"nfs_client_mounts": [{"server": "web02", "export": "/x", "path": "/x"}]}, {}),
        [],
    ),
    "mount of the host's own export": (
        *("nfs_client", "validate", {"nfs_client_mounts": [{"server": "192.0.2.1", "export": "/x", "path": "/x"}]}, {}),
        ["nfs_client_mounts of web01: /x is an export of 192.0.2.1, which is the host itself", "Remove the entry"],
    ),
    "study": ("study", "validate", {"study": "demo/study"}, {}, []),
    "study that is not there": (
        *("study", "validate", {"study": "/nowhere"}, {}),
        ["study is '/nowhere', and /nowhere is not a folder on the controller", "Correct study in the inventory"],
    ),
    "hub with a lock file": (
        *(
            "jupyterhub",
            "validate",
            HUB | {"jupyterhub_notebook_requirements": f"{HUB_FILES}/requirements-hub.txt"},
            {},
        ),
        [],
    ),
    "hub with packages without hashes": (
        *("jupyterhub", "validate", HUB | {"jupyterhub_notebook_requirements": f"{HUB_FILES}/requirements-hub.in"}, {}),
        ["jupyterhub_notebook_requirements is", "expected a lock file with the hash of each package"],
    ),
    "hub without temporary directories": (
        *("jupyterhub", "validate", HUB | {"jupyterhub_user_temporary": 0}, {}),
        ["jupyterhub_user_temporary 0 (16 MiB or more)"],
    ),
    "hub with the host's memory": ("jupyterhub", "validate", HUB, {"memtotal_mb": 3900}, []),
    "hub without servers": (
        *("jupyterhub", "validate", HUB | {"jupyterhub_servers": 0}, {}),
        ["jupyterhub_servers 0 (1 or more)"],
    ),
    "hub without memory": (
        *("jupyterhub", "validate", HUB | {"jupyterhub_user_memory": 0}, {}),
        ["jupyterhub_user_memory is 0 (expected: 256 MiB or more)"],
    ),
    "no study": (
        *("study", "validate", {}, {}),
        ["study is not set; expected the study's folder", "Pass -e study=demo/study, or set study in the inventory"],
    ),
    "database of another version": (
        *("postgresql", "version", {"database_version": 16, "postgresql_data_dir": "DATA", **POSTGRESQL}, DEBIAN),
        [
            "postgresql_version (database_version) is 16",
            "has the data of PostgreSQL 15 in",
            "Set database_version to 15",
            "docs/database.md",
        ],
    ),
    "database of the same version": (
        "postgresql",
        "version",
        {"postgresql_data_dir": "DATA", **POSTGRESQL},
        DEBIAN,
        [],
    ),
    "new database": ("postgresql", "version", {"postgresql_data_dir": "DATA/nothing", **POSTGRESQL}, DEBIAN, []),
    "distribution without Ice": (
        *("omero_server", "check_host", {"__omero_server_ice_packages": []}, FEDORA | {"memtotal_mb": 7800}),
        ["omero_server_ice is debian, and Fedora has no IceGrid", "Set omero_server_ice in the inventory"],
    ),
    "known distribution": ("distribution", "main", {"distribution_role": "session_store"}, DEBIAN, []),
    "unknown distribution": (
        *("distribution", "main", {"distribution_role": "session_store"}, FEDORA),
        [
            "web01 has Fedora 41, for which role session_store has no names",
            f"expected one of {', '.join(sorted(KNOWN))}.",
            "add this distribution to those supported",
            "roles/session_store/vars (docs/support.md)",
        ],
    ),
    "where a role does not go": (
        "nginx_cache",
        "main",
        {},
        DEBIAN | {"distribution": "Ubuntu", "distribution_version": "22.04", "distribution_major_version": "22"},
        ["web01 has Ubuntu 22.04", "role nginx_cache", "expected one of Debian-12, Ubuntu-24.04."],
    ),
    "no role named": ("distribution", "main", {}, DEBIAN, ["missing required arguments: distribution_role"]),
    "no packages named": (
        *("distribution", "packages", {}, {"pkg_mgr": "apt"}),
        ["missing required arguments: distribution_packages"],
    ),
    "packages, and nothing that installs them": (
        *("distribution", "packages", {"distribution_packages": ["redis"]}, {"pkg_mgr": "zypper"}),
        ["web01 installs packages with zypper; expected apt or dnf", "redis", "Take another host"],
    ),
    "port without its type": (
        *("distribution", "selinux", {"distribution_selinux_ports": [{"port": 80}]}, {}),
        ["missing required arguments: type"],
    ),
    # Last, since a host keeps the variables of its distribution.
    "check mode on a host without nginx": ("nginx_cache", "main", {}, DEBIAN, []),
    "check mode on a host without OMERO.web": ("omero_web", "main", {}, DEBIAN, []),
    "check mode on a host without OMERO.server": ("omero_server", "main", RELEASE, DEBIAN, []),
    "check mode on a host without JupyterHub": ("jupyterhub", "main", HUB, DEBIAN, []),
    "check mode on a host without a database": ("postgresql", "main", NEW_DATABASE, DEBIAN | {"memtotal_mb": 3900}, []),
    "check mode on a host without NFS": ("nfs_client", "main", {}, DEBIAN | {"pkg_mgr": "apt"}, []),
    "check mode on a host without the database's client": ("postgresql_client", "certificate", {}, DEBIAN, []),
}


def ask(folder, inventory, cases):
    """Run roles' tasks in check mode, a play for each case.

    Args:
        folder: Path, for the inventory and the playbook.
        inventory: str, YAML.
        cases: dict of tuples as in CASES.

    Returns:
        dict from a case to (message or None, list of tasks that would have changed something).
    """
    (folder / "hosts.yml").write_text(inventory.replace("SECRETS", str(folder / "secrets")))
    (folder / "data/15/main/base/1").mkdir(parents=True)
    for place in ("data/15/main", "data/15/main/base/1"):
        (folder / place / "PG_VERSION").write_text("15\n")
    plays = []
    for name, (role, tasks, variables, facts, _) in cases.items():
        included = {"ansible.builtin.include_role": {"name": role, "tasks_from": tasks}}
        noted = {"ansible.builtin.set_fact": {"cacheable": True, **facts}}
        block = {"block": [included], "rescue": [{"ansible.builtin.meta": "noop"}]}
        # As an inventory's: stronger than defaults, weaker than what a task gives.
        play = {"name": name, "hosts": "web01", "gather_facts": False, "vars": variables}
        plays.append(play | {"tasks": [*([noted] if facts else []), block]})
    (folder / "play.yml").write_text(yaml.safe_dump(plays).replace("DATA", str(folder / "data")))
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("ansible-playbook"), "--check", folder / "play.yml"),
            *(f"--inventory={PROJECT}/groups.yml", f"--inventory={folder}/hosts.yml"),
        ],
        env=os.environ
        | {"ANSIBLE_CONFIG": f"{PROJECT}/ansible.cfg", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
        # Relative paths of studies begin where the command was started.
        | {"PWD": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = {}
    # The recap's lines are around it.
    for play in json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("{") :])[0]["plays"]:
        seen = [(task["task"]["name"], each) for task in play["tasks"] for each in task["hosts"].values()]
        said = [json.dumps(each, ensure_ascii=False) for _, each in seen if each.get("failed")]
        found[play["play"]["name"]] = ("\n".join(said) or None, [task for task, each in seen if each.get("changed")])
    return found


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Return the message for each case."""
    return ask(tmp_path_factory.mktemp("refusals"), HOSTS, CASES)


@pytest.mark.parametrize("case", list(CASES))
def test_refused(answers, case):
    """A wrong value is refused before any change, with the variable, its value, what is expected and what to do."""
    said, changed = answers[case]
    words = CASES[case][-1]
    assert not changed
    if words:
        assert said, "it was taken"
        assert [each for each in words if each not in said] == [], said
    else:
        assert said is None


def test_two_stores(tmp_path):
    """Two hosts for the one store are refused."""
    case = ("session_store", "validate", {}, {}, [])
    said, changed = ask(tmp_path, HOSTS + TWO, {"two": case})["two"]
    assert not changed
    assert said, "they were taken"
    assert "The group web_sessions has web01, web02; expected one host, or none" in said
    assert "Remove the others from the group in the inventory" in said


def test_a_password_is_not_told(answers):
    """A refused password is not in what Ansible shows."""
    assert not [case for case, (said, _) in answers.items() if "sixteen letters" in (said or "")]


def test_a_new_administrator_in_check_mode(tmp_path):
    """The account is reported as new, and the key, for which there is no home directory yet, stops nothing."""
    person = {"name": "vitrine-newcomer", "keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI newcomer"]}
    case = ("admin_users", "main", {"admin_users_list": [person]}, DEBIAN, [])
    said, changed = ask(tmp_path, HOSTS, {"new": case})["new"]
    assert said is None, said
    assert "admin_users : Create the administrators' accounts" in changed
    assert "admin_users : Allow the administrators to use sudo" in changed


def test_no_refusal_advises_to_edit_the_shared_settings():
    """They belong to all sites; a message names the variable that an inventory sets instead."""
    tasks = [*PROJECT.glob("playbooks/*.yml"), *PROJECT.glob("roles/*/tasks/*.yml")]
    assert not [str(path) for path in tasks if "group_vars/all/" in path.read_text()]
