"""The roles as a collection: built from the checkout, and used by a playbook that is outside of it."""

import getpass
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tarfile

import pytest
import yaml

from plugins.filter.omero import omero_password_hash
from vitrine_cli import reference
from vitrine_cli.site import PROJECT

GALAXY = yaml.safe_load((PROJECT / "galaxy.yml").read_text())
NAME = f"{GALAXY['namespace']}.{GALAXY['name']}"
PROJECT_FILE = (PROJECT / "pyproject.toml").read_text()
# Nothing that a role of this playbook does needs root, or a host other than the controller.
PLAYBOOK = """
- name: Use roles
  hosts: localhost
  gather_facts: false
  tags: [apply]
  vars:
    tls_certificate_owner: "{{ owner }}"
    # Ansible itself has the library.
    tls_certificate_packages: []
  roles:
    - role: vitrine.omero.tls_certificate
      vars:
        tls_certificate_dir: "{{ place }}/service"
        tls_certificate_name: site
        tls_certificate_common_name: images.example.org
        tls_certificate_subject_alt_names: ["DNS:images.example.org"]
        tls_certificate_notify: []
  tasks:
    - name: Create the certificate of a database client, which role tls_certificate signs
      ansible.builtin.include_role:
        name: vitrine.omero.postgresql_client
        tasks_from: certificate
      vars:
        postgresql_client_dir: "{{ place }}/database"
        postgresql_client_address: 192.0.2.1
        postgresql_client_host: db.example.org
        postgresql_client_password: sixteen-characters

    - name: State the facts of a host
      ansible.builtin.set_fact:
        distribution: Debian
        distribution_version: "12.11"
        distribution_major_version: "12"
        os_family: Debian
        cacheable: true

    - name: Load the distribution-specific variables of role time_sync
      ansible.builtin.include_role:
        name: vitrine.omero.distribution
        public: true
      vars:
        distribution_role: time_sync

    - name: Write the name of the time service
      ansible.builtin.copy:
        dest: "{{ place }}/names.json"
        content: "{{ {'service': __time_sync_service} | to_json }}"
        mode: "0644"

- name: Use roles with modules and filters of the collection
  hosts: localhost
  gather_facts: false
  vars:
    seen: "{{ ansible_failed_result.results | default([ansible_failed_result]) | map(attribute='msg') | join }}"
  tasks:
    - name: Apply gpfs_client where Storage Scale is not installed
      block:
        - name: Use gpfs_client
          ansible.builtin.include_role:
            name: vitrine.omero.gpfs_client
          vars:
            gpfs_client_bin: "{{ place }}/nowhere"
            gpfs_client_cluster: gpfs.example.org
            gpfs_client_mounts: [{file_system: idr, path: /gpfs/idr}]
      rescue:
        - name: Write the message of gpfs_client
          ansible.builtin.copy: {dest: "{{ place }}/gpfs", content: "{{ seen }}", mode: "0644"}

    - name: Apply the accounts of omero_server without omero-py, with a psql that records its input
      block:
        - name: Use omero_server
          ansible.builtin.include_role:
            name: vitrine.omero.omero_server
            tasks_from: accounts
            apply:
              environment:
                PATH: "{{ place }}/bin:/usr/bin:/bin"
          vars:
            omero_server_dir: "{{ place }}/omero"
            omero_server_root_password: secret
            omero_server_reset_passwords: [root]
            omero_server_groups: [{name: public, permissions: rwr---}]
      rescue:
        - name: Write the message of omero_group
          ansible.builtin.copy: {dest: "{{ place }}/omero_group", content: "{{ seen }}", mode: "0644"}
"""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """Return the built collection (pathlib.Path)."""
    folder = tmp_path_factory.mktemp("artifact")
    run("ansible-galaxy", folder, "collection", "build", "--output-path", folder, PROJECT)
    (built,) = folder.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def outside(artifact, tmp_path_factory):
    """Return a folder outside of the checkout with a playbook and the installed collection (pathlib.Path)."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "ansible.cfg").write_text("[defaults]\ncollections_path = collections\n")
    (folder / "play.yml").write_text(PLAYBOOK)
    for name in ("service", "database", "bin", "omero/venv/bin"):
        (folder / name).mkdir(parents=True)
    (folder / "omero/venv/bin/python").symlink_to(sys.executable)
    (folder / "bin/psql").write_text(f"#!/bin/sh\ncat >> {folder}/sql\n")
    (folder / "bin/psql").chmod(0o755)
    arguments = ["collection", "install", "--offline", "--no-deps", "--collections-path", folder / "collections"]
    run("ansible-galaxy", folder, *arguments, artifact)
    return folder


@pytest.fixture(scope="module")
def applied(outside):
    """Return the folder after a first run of its playbook (pathlib.Path)."""
    count, _ = play(outside)
    assert count > 0
    return outside


def run(program, folder, *arguments):
    """Run one of Ansible's programs without the checkout's settings.

    Args:
        program: str.
        folder: pathlib.Path, where it runs.
        arguments: its arguments.

    Returns:
        str, its output.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {"HOME": str(folder), "LC_ALL": "C.UTF-8", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    command = [pathlib.Path(sys.executable).with_name(program), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def play(folder, *arguments):
    """Run the playbook of a folder (pathlib.Path); return how many changes there were (int), and their tasks (list)."""
    variables = {"place": str(folder), "owner": getpass.getuser(), "ansible_python_interpreter": sys.executable}
    arguments = ["--inventory=localhost,", "--connection=local", "-e", json.dumps(variables), *arguments]
    output = json.loads(run("ansible-playbook", folder, *arguments, "play.yml"))
    tasks = [task for each in output["plays"] for task in each["tasks"]]
    changed = [task["task"]["name"] for task in tasks if task["hosts"]["localhost"].get("changed")]
    return output["stats"]["localhost"]["changed"], changed


def state(folder):
    """Return the checksums of what the roles wrote (dict)."""
    files = [path for name in ("service", "database") for path in sorted((folder / name).iterdir())]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_roles_of_the_collection_are_used_from_outside(applied):
    """Two roles create certificates, one of them by using the other; a second run changes nothing."""
    first = state(applied)
    assert {"site.key", "site.pem", "client.key", "client.pem"} <= set(first)
    names = json.loads((applied / "names.json").read_text())
    assert names == {"service": "chrony"}
    assert play(applied, "--tags=apply") == (0, [])
    assert state(applied) == first


def test_modules_and_filters_are_found_by_roles_of_the_collection(applied):
    """They are found by the same names as in a checkout, together with the code that they import."""
    assert f"there is no {applied}/nowhere/mmlscluster" in (applied / "gpfs").read_text()
    assert "omero-py is missing for" in (applied / "omero_group").read_text()
    assert omero_password_hash("secret", 0) in (applied / "sql").read_text()


def test_artifact_has_what_roles_need_and_no_more(artifact):
    """It contains no site, no secrets and no tests."""
    with tarfile.open(artifact) as archive:
        names = archive.getnames()
    top = {name.split("/")[0] for name in names}
    described = {"MANIFEST.json", "FILES.json", "README.md", "CHANGELOG.md", "LICENSE", "meta"}
    assert top == described | {"plugins", "roles"}
    inside = {name.split("/")[1] for name in names if name.startswith("roles/")}
    assert inside == {folder.name for folder in reference.roles()} - {"study"}
    assert {f"roles/{role}/README.md" for role in inside} <= set(names)
    assert not [name for name in names if pathlib.PurePath(name).name.startswith(".") or "secret" in name]


def test_one_version():
    """The collection has the version of the project."""
    assert f'\nversion = "{GALAXY["version"]}"\n' in PROJECT_FILE


def test_dependencies_are_those_that_are_tested():
    """The collection requires every collection that its roles use, in the version of requirements.yml or newer."""
    tested = {
        each["name"]: each["version"]
        for each in yaml.safe_load((PROJECT / "requirements.yml").read_text())["collections"]
    }
    for name, version in GALAXY["dependencies"].items():
        assert version == f">={tested[name]}", name
    roles = [folder for folder in reference.roles() if folder.name != "study"]
    texts = [path.read_text() for folder in roles for path in folder.glob("*/**/*") if path.suffix in (".yml", ".j2")]
    used = {name for name in tested if any(f"{name}." in text for text in texts)}
    assert used == set(GALAXY["dependencies"])
