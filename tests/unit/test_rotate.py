"""playbooks/rotate.yml: what it refuses, and what becomes of the site's secrets, also when a run is interrupted."""

import os
import pathlib
import subprocess
import sys

import pytest
import yaml

from vitrine_cli.site import PROJECT

KNOWN = yaml.safe_load((PROJECT / "playbooks/vars/rotate.yml").read_text())["rotate_known"]
OLD = "theOldOneTheOldOneTheOldOne"


@pytest.fixture
def site(tmp_path):
    """Return the secrets' folder and a function that runs the playbook on a site whose hosts cannot be reached."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in KNOWN:
        (secrets / name).write_text(OLD + "\n")
        (secrets / name).chmod(0o600)
    unreachable = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_user": "x"}
    groups = {name: {"hosts": {"one": None}} for name in ("database", "omero", "omero_readwrite", "web", "proxy")}
    hosts = {"hosts": {"children": groups}}
    variables = {"secrets_dir": str(secrets), "internal_address": "192.0.2.1"} | unreachable
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"vars": variables, "children": hosts}}))

    program = pathlib.Path(sys.executable).with_name("ansible-playbook")

    def run(*arguments):
        done = subprocess.run(
            [program, PROJECT / "playbooks/rotate.yml", "-i", inventory, *arguments],
            cwd=tmp_path,
            env=os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, " ".join(done.stdout.split()) + done.stderr

    return secrets, run


def text(path):
    """Return a secret (path: pathlib.Path; str)."""
    return path.read_text().strip()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "rotate is ''; expected all, or a list of database_password, database_readonly_password"),
        (["-e", "rotate=redis_password"], "rotate is 'redis_password'; expected all"),
        (["-e", "rotate=all", "--check"], "rotate is 'all' in check mode; expected all"),
    ],
)
def test_refusals(site, arguments, words):
    """Without a known name nothing is changed, and the message lists the names."""
    secrets, run = site
    code, said = run(*arguments)
    assert code != 0
    assert words in said
    assert {text(path) for path in secrets.iterdir()} == {OLD}
    assert len(list(secrets.iterdir())) == len(KNOWN)


def test_interrupted(site):
    """A new password is made once: the former one is there for a second run until it has been refused."""
    secrets, run = site
    code, said = run("-vvv", "-e", "rotate=database_password,omero_root_password")
    assert code != 0, "there is no such host"
    assert "unreachable" in said.lower()
    new = text(secrets / "database_password")
    assert len(new) == 40
    assert text(secrets / "database_password.former") == OLD
    assert text(secrets / "omero_root_password.former") == OLD
    assert text(secrets / "omero_curator_password") == OLD, "it was not named"
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o600}
    assert new not in said
    assert OLD not in said
    # As if the first run had ended before the new one was made.
    (secrets / "omero_root_password").write_text(OLD + "\n")
    run("-e", "rotate=database_password,omero_root_password")
    assert text(secrets / "database_password") == new
    assert text(secrets / "database_password.former") == OLD
    assert text(secrets / "omero_root_password") != OLD


def test_own_password(site):
    """A password that the inventory sets itself is refused, and so not replaced in a file that nobody reads."""
    secrets, run = site
    code, said = run("-e", "rotate=database_password", "-e", "database_password=ofTheInventory")
    assert code != 0
    assert "database_password is not what" in said
    assert text(secrets / "database_password") == OLD


PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    network_services: {postgresql: {port: 5432}}
    database_name: omero
    database_endpoint: localhost
    omero_endpoint: localhost
    rotate_known: {database_monitor_password: {in_database: monitor}}
    rotate_name: database_monitor_password
  tasks:
    - ansible.builtin.include_tasks: TASKS
"""
PSQL = f"""#!/bin/sh
[ "$PGPASSWORD" = {OLD} ] && [ "$ACCEPTS" = yes ] && exit 0
echo 'psql: error: FATAL:  password authentication failed for user "monitor"' >&2
exit 2
"""


@pytest.mark.parametrize(
    ("accepts", "words"), [("no", "failed=0"), ("yes", "former database_monitor_password still logs in")]
)
def test_former_password(tmp_path, accepts, words):
    """A former password that the database still accepts stops the run, and is kept."""
    (tmp_path / "database_monitor_password.former").write_text(OLD + "\n")
    (tmp_path / "psql").write_text(PSQL)
    (tmp_path / "psql").chmod(0o755)
    play = tmp_path / "play.yml"
    play.write_text(PLAY.replace("TASKS", str(PROJECT / "playbooks/tasks/rotate_refused.yml")))
    program = pathlib.Path(sys.executable).with_name("ansible-playbook")
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ACCEPTS": accepts}
    done = subprocess.run(
        [program, "-i", "localhost,", "-vvv", play, "-e", f"secrets_dir={tmp_path}", "-e", "ansible_become=false"],
        cwd=tmp_path,
        env=os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")} | path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert words in " ".join(done.stdout.split())
    assert OLD not in done.stdout + done.stderr
