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
RELEASE = {"omero_server_zip_sha256": "0" * 64, "omero_server_artifacts": "https://example.org"}

# Role, task file, variables of the inventory, facts of the host, and words of the refusal; none if accepted.
CASES = {
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
        ["web01 has 1992 MB: OMERO.server may take 2565 MB", "Give the host more memory, or lower them"],
    ),
    "shares that do not fit": (
        *("omero_server", "check_host", {"omero_server_memory_percent": {"blitz": 60, "indexer": 10, "pixeldata": 20}}),
        *({"memtotal_mb": 7800}, ["web01 has 8178 MB: OMERO.server may take 8560 MB"]),
    ),
    "folder without Ice": (
        *("omero_server", "check_host", ICE | {"omero_server_ice": "/nowhere"}, DEBIAN | {"memtotal_mb": 7800}),
        ["omero_server_ice is /nowhere, and web01 has no glacier2router, icebox, icegridadmin, icegridnode there"],
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
    "no study": (
        *("study", "validate", {}, {}),
        ["study is not set; expected the study's folder", "Pass -e study=demo/study, or set study in the inventory"],
    ),
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
    plays = []
    for name, (role, tasks, variables, facts, _) in cases.items():
        included = {"ansible.builtin.include_role": {"name": role, "tasks_from": tasks}}
        noted = {"ansible.builtin.set_fact": {"cacheable": True, **facts}}
        block = {"block": [included], "rescue": [{"ansible.builtin.meta": "noop"}]}
        # As an inventory's: stronger than defaults, weaker than what a task gives.
        play = {"name": name, "hosts": "web01", "gather_facts": False, "vars": variables}
        plays.append(play | {"tasks": [*([noted] if facts else []), block]})
    (folder / "play.yml").write_text(yaml.safe_dump(plays))
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("ansible-playbook"), "--check", folder / "play.yml"),
            *(f"--inventory={PROJECT}/groups.yml", f"--inventory={folder}/hosts.yml"),
        ],
        env=os.environ | {"ANSIBLE_CONFIG": f"{PROJECT}/ansible.cfg", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"},
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
