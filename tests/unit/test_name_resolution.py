"""Role name_resolution on a file as a host may have it before."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parents[2]


def write_entries(folder, before):
    """Apply the role's entries twice to a file.

    Args:
        folder: Path, for the file and the playbook.
        before: str, the file's contents.

    Returns:
        tuple of the contents afterwards (str) and the output of the second run (str).
    """
    hosts = folder / "hosts"
    hosts.write_text(before)
    tasks = [
        {"ansible.builtin.set_fact": {"nodename": "storage01", "cacheable": True}},
        {"ansible.builtin.include_role": {"name": "name_resolution", "tasks_from": "entries"}},
    ]
    variables = {
        "__name_resolution_file": str(hosts),
        "name_resolution_addresses": {"storage01": "192.168.1.11", "database01": "192.168.1.12"},
    }
    play = {"name": "Names", "hosts": "storage01", "connection": "local", "gather_facts": False, "tasks": tasks}
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    (folder / "variables.yml").write_text(yaml.safe_dump(variables, sort_keys=False))
    for _ in range(2):
        done = subprocess.run(
            [
                *(Path(sys.executable).with_name("ansible-playbook"), folder / "play.yml", "--inventory=storage01,"),
                f"--extra-vars=@{folder}/variables.yml",
            ],
            env=os.environ | {"ANSIBLE_CONFIG": f"{PROJECT}/ansible.cfg"},
            capture_output=True,
            text=True,
            check=False,
            cwd=PROJECT,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return hosts.read_text(), done.stdout


# What a line becomes.
LINES = {
    "127.0.1.1\tstorage01": "# vitrine: 127.0.1.1\tstorage01",
    "127.0.1.1 storage01.example.org storage01": "# vitrine: 127.0.1.1 storage01.example.org storage01",
    "127.0.1.1 storage01 # own": "# vitrine: 127.0.1.1 storage01 # own",
    "127.0.1.1 storage01.example.org": "127.0.1.1 storage01.example.org",
    "127.0.1.1 storage012 # storage01": "127.0.1.1 storage012 # storage01",
    "127.0.0.1\tlocalhost": "127.0.0.1\tlocalhost",
    "::1 localhost": "::1 localhost",
    "192.168.7.7 storage01": "192.168.7.7 storage01",
    "# 127.0.1.1 storage01": "# 127.0.1.1 storage01",
}


def test_own_name_on_the_loopback_address(tmp_path):
    """The line of Debian's installer no longer hides the internal address; a second run changes nothing."""
    after, second = write_entries(tmp_path, "\n".join(LINES) + "\n")
    before_block, block = after.split("# BEGIN vitrine\n")
    assert before_block.splitlines() == list(LINES.values())
    assert block == "127.0.0.1 localhost\n192.168.1.11 storage01\n192.168.1.12 database01\n# END vitrine\n"
    assert "changed=0" in second
