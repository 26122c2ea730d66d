"""A site of its own: scripts/new-site, what is beside its inventory, its own tasks and checks, and its removal."""

import os
import pathlib
import re
import subprocess
from types import SimpleNamespace

import pytest
import yaml
from ansible.template import Templar

from plugins.action import verify_layer
from plugins.filter import own_files
from vitrine_cli import deploy, destroy, new_site, run
from vitrine_cli.site import PROJECT, RefusedError, check_own_files, load_site, read_inventory

LAYERS = yaml.safe_load((PROJECT / "group_vars/all/site.yml").read_text())["layers"]
# Templates whose inventory asks no cloud.
TEMPLATES = [name for name in new_site.templates() if not (PROJECT / "inventories" / name / "openstack.yml").exists()]


def git(folder, *arguments):
    """Run git in a folder, as somebody; returns what it prints (str)."""
    command = ["git", "-c", "user.name=unit", "-c", "user.email=unit@localhost", "-C", folder, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def made(folder, template="static", name="lab"):
    """Make a site in a folder (pathlib.Path), and return the folder."""
    assert new_site.request([name, "--from", template, "--path", str(folder)]) == 0
    return folder


def ansible(*arguments, **environment):
    """Run a program of Ansible outside of the checkout, with its settings; returns subprocess.CompletedProcess."""
    settings = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_LOCALHOST_WARNING": "false"}
    return subprocess.run(
        arguments, cwd="/", env=os.environ | settings | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def local(tmp_path):
    """Return the folder of an inventory whose only host, of the group web, is this machine."""
    (tmp_path / "groups.yml").write_text((PROJECT / "inventories/static/groups.yml").read_text())
    hosts = {"web": {"hosts": {"here": {"ansible_connection": "local", "internal_address": "127.0.0.1"}}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(hosts))
    return tmp_path


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_site_has_the_groups_of_the_checkout(tmp_path, template):
    """Read by Ansible itself from another folder: every group is there, the site has its name, and no link is left."""
    folder = made(tmp_path / "lab", template)
    seen = ansible("ansible-inventory", "-i", folder, "--list")
    assert seen.returncode == 0, seen.stderr
    model = yaml.safe_load((PROJECT / "groups.yml").read_text())["all"]["children"]["hosts"]["children"]
    assert set(LAYERS) - {"hosts"} <= set(model)
    assert set(model) | {"omero_readwrite"} <= set(read_inventory([str(folder)])[0].groups)
    site = load_site([str(folder)])
    assert (site.name, site.provisioner, site.own_faults) == ("lab", "none", [])
    assert site.addresses
    deploy.check_machine(site)
    command = deploy.ansible_command(site, deploy.parse([str(folder), "--layer", "storage", "--check"]))
    assert command[:2] == ["ansible-playbook", f"--inventory={folder}"]
    site_hosts = read_inventory([str(folder)])[0].groups["storage"].get_hosts()
    assert ansible(*command[:2], "--list-hosts", PROJECT / "playbooks/site.yml").stdout.count(str(site_hosts[0])) > 5
    assert not [path for path in folder.rglob("*") if path.is_symlink()]


def test_no_template_has_links():
    """They would lead nowhere in a folder that is copied elsewhere."""
    for name in new_site.templates():
        assert not [path for path in (PROJECT / "inventories" / name).rglob("*") if path.is_symlink()]


def test_every_template_makes_a_site(tmp_path):
    """Also one whose inventory asks a cloud: the copy has its files, and the new name."""
    for name in new_site.templates():
        folder = made(tmp_path / name, name)
        assert "site_name: lab\n" in (folder / "hosts.yml").read_text(), name
        assert not [path for path in folder.rglob("*") if path.is_symlink()], name
        wanted = {path.name for path in (PROJECT / "inventories" / name).iterdir()} - {"secrets"}
        assert wanted <= {path.name for path in folder.iterdir()}, name
    assert "demo" not in new_site.templates()


def test_an_inventory_with_the_group_model_is_not_read_by_others(local):
    """Without the settings of the checkout, Ansible names the plugin that it does not have."""
    (local / "ansible.cfg").touch()
    seen = ansible("ansible-inventory", "-i", local, "--list", ANSIBLE_CONFIG=str(local / "ansible.cfg"))
    assert "unknown plugin 'group_model'" in seen.stderr


def test_a_new_site_is_a_repository_without_secrets(tmp_path):
    """After the first commit nothing is left over, and passwords, keys and reports are never added."""
    folder = made(tmp_path / "lab")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=Start")
    for name in ("secrets/omero_root_password", "state/ssh_key", "reports/site.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert git(folder, "status", "--porcelain") == ""
    assert {"hosts.yml", "groups.yml", "README.md", ".gitignore"} <= set(git(folder, "ls-files").splitlines())


def test_no_repository_is_made_inside_another(tmp_path, capsys):
    """The site is then a part of that one."""
    git(tmp_path, "init", "--quiet")
    folder = made(tmp_path / "sites" / "lab")
    assert not (folder / ".git").exists()
    assert "inside a Git repository" in capsys.readouterr().out


def test_the_commands_of_a_new_site_are_those_of_its_place(tmp_path):
    """Its README names the folder, and nothing that has to be filled in."""
    text = (made(tmp_path / "lab") / "README.md").read_text()
    assert f"scripts/deploy {tmp_path}/lab " in text
    assert "$" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Lab", "--from", "static"], "NAME is 'Lab'; expected 1 to 63 lower-case"),
        (["lab_1", "--from", "static"], "NAME is 'lab_1'"),
        (["lab-", "--from", "static"], "NAME is 'lab-'"),
        (["a" * 64, "--from", "static"], "expected 1 to 63"),
        (["lab", "--from", "statik"], "--from is 'statik'; expected one of openstack, "),
        (["lab", "--from", "demo"], "--from is 'demo'"),
    ],
)
def test_what_makes_no_site(tmp_path, arguments, words):
    """The refusal comes before anything is written."""
    with pytest.raises(RefusedError, match=re.escape(words)):
        new_site.request([*arguments, "--path", str(tmp_path / "site")])
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_overwritten(tmp_path):
    """A folder that is not empty, and a file, are refused; an empty folder is not."""
    full, file, empty = (tmp_path / name for name in ("full", "file", "empty"))
    full.mkdir()
    (full / "hosts.yml").write_text("mine\n")
    file.write_text("mine\n")
    empty.mkdir()
    for path in (full, file, file / "below"):
        with pytest.raises(RefusedError, match=r"expected a (new or an empty )?folder"):
            new_site.request(["lab", "--from", "static", "--path", str(path)])
    assert (full / "hosts.yml").read_text() == file.read_text() == "mine\n"
    made(empty)


def test_without_a_path_a_site_is_beside_the_checkout(monkeypatch):
    """Never inside, where Git would see it as a part of Vitrine."""
    seen = []
    monkeypatch.setattr(new_site, "check", lambda options, folder: seen.append(folder))
    monkeypatch.setattr(new_site, "write", lambda options, folder: None)
    monkeypatch.setattr(new_site, "make_repository", lambda folder: True)
    new_site.request(["lab", "--from", "static"])
    assert seen == [PROJECT.parent / "lab"]


def test_sites_do_not_share_reports_or_keys(tmp_path, monkeypatch):
    """In the checkout they are in folders with the name of the site, elsewhere beside the inventory."""
    monkeypatch.delenv("VITRINE_REPORTS", raising=False)
    folder = made(tmp_path / "lab")
    demo, static, lab = (load_site([place]) for place in ("inventories/demo", "inventories/static", str(folder)))
    assert demo.reports == PROJECT / "reports/demo"
    assert static.reports == PROJECT / "reports/repository"
    assert (demo.state, static.state) == (PROJECT / ".vitrine/sites/demo", PROJECT / ".vitrine/sites/repository")
    assert (lab.reports, lab.state, lab.secrets) == (folder / "reports", folder / "state", folder / "secrets")
    monkeypatch.setenv("VITRINE_REPORTS", "/elsewhere")
    assert load_site(["inventories/demo"]).reports == pathlib.Path("/elsewhere")


def test_a_second_inventory_does_not_move_the_site(tmp_path):
    """What belongs to the site stays with the inventory that has its hosts, and its passwords."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more/hosts.yml").write_text("all: {vars: {site_public_name: other.example.org}}\n")
    folder = made(tmp_path / "lab")
    site = load_site([str(folder), str(tmp_path / "more")])
    assert {site.reports.parent, site.state.parent, site.secrets.parent} == {folder}


def test_an_inventory_may_be_a_file(tmp_path):
    """What belongs to the site is beside the file."""
    folder = made(tmp_path / "lab")
    assert load_site([str(folder / "groups.yml"), str(folder / "hosts.yml")]).reports == folder / "reports"


def test_what_is_beside_an_inventory_is_no_inventory(local):
    """Ansible reads every file of an inventory's folder; these are not hosts."""
    for folder in ("secrets", "state", "reports", "hooks", "tests", "roles", "files", "templates"):
        (local / folder).mkdir()
        (local / folder / "something").write_text("no-host\n")
        (local / folder / "other.yml").write_text("- name: Task\n")
    assert [host.name for host in read_inventory([str(local)])[0].get_hosts()] == ["here"]


def test_own_tasks_run_on_the_layers_hosts(local):
    """With the site's own roles; a layer without such tasks is left alone."""
    (local / "hooks").mkdir()
    (local / "roles/mark/tasks").mkdir(parents=True)
    include = {"name": "Apply", "ansible.builtin.include_role": {"name": "{{ site_folder }}/roles/mark"}}
    (local / "hooks/after_web.yml").write_text(yaml.safe_dump([include]))
    shown = {"name": "Show", "ansible.builtin.debug": {"msg": "marked {{ inventory_hostname }} of {{ site_name }}"}}
    (local / "roles/mark/tasks/main.yml").write_text(yaml.safe_dump([shown]))
    hook = ["ansible-playbook", "-i", local, PROJECT / "playbooks/parts/hook.yml", "-e", "hook_group=web"]
    run_after = ansible(*hook, "-e", "hook=after_web")
    assert run_after.returncode == 0, run_after.stdout
    assert f"marked here of {local.name}" in run_after.stdout
    run_before = ansible(*hook, "-e", "hook=before_web")
    assert run_before.returncode == 0, run_before.stdout
    assert "marked" not in run_before.stdout


def test_own_tasks_that_fail_stop_the_run(local):
    """As a task of the layer does."""
    (local / "hooks").mkdir()
    (local / "hooks/after_web.yml").write_text("- name: Fail\n  ansible.builtin.fail:\n")
    hook = ["ansible-playbook", "-i", local, PROJECT / "playbooks/parts/hook.yml", "-e", "hook_group=web"]
    assert ansible(*hook, "-e", "hook=after_web").returncode != 0


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layers_playbook_runs_the_sites_own_tasks(layer):
    """First and last, but before the gate, and by the tags of the layer."""
    plays = yaml.safe_load((PROJECT / "playbooks" / f"{layer}.yml").read_text())
    imported = [play.get("ansible.builtin.import_playbook") for play in plays]
    hooks = [number for number, path in enumerate(imported) if path == "parts/hook.yml"]
    gates = [number for number, play in enumerate(plays) if "verify" in play["tags"]]
    assert hooks == [0, gates[0] - 1]
    for number, when in zip(hooks, ("before", "after"), strict=True):
        assert plays[number]["vars"] == {"hook": f"{when}_{layer}", "hook_group": layer}
        assert plays[number]["tags"] == [layer, "apply"]


@pytest.mark.parametrize("layer", LAYERS)
def test_the_tag_of_a_role_gathers_facts(layer):
    """A play with tags gathers facts for these alone, and the role of a single tag needs them."""
    plays = yaml.safe_load((PROJECT / "playbooks" / f"{layer}.yml").read_text())
    gathered = {"jupyterhub"}  # also the tag of its layer
    for play in plays:
        if play.get("ansible.builtin.import_playbook") == "parts/facts.yml":
            gathered |= set(play["tags"])
    roles = {tag for play in plays for role in play.get("roles", []) for tag in role["tags"]}
    roles |= {tag for play in plays for task in play.get("tasks", []) for tag in task.get("tags", [])}
    assert roles
    assert roles <= gathered


# Beside hooks, without a name of theirs.
NOT_RUN = ("hooks/README.md", "hooks/.gitkeep", "hooks/.before_web.yml.swp", "hooks/before_web.yml~")


def test_own_files_that_fit_no_layer(local):
    """Each is named with the nearest right name, before anything is run; right ones and others are left alone."""
    for name in ("hooks/after_web.yml", "tests/web/test_it.py", "tests/data/some.txt", "tests/conftest.py", *NOT_RUN):
        (local / name).parent.mkdir(parents=True, exist_ok=True)
        (local / name).touch()
    assert load_site([str(local)]).own_faults == []
    for name in ("hooks/after_wbe.yml", "hooks/before_web.yaml", "tests/databse/test_it.py", "tests/test_it.py"):
        (local / name).parent.mkdir(parents=True, exist_ok=True)
        (local / name).touch()
    site = load_site([str(local)])
    faults = [fault.removeprefix(f"{local}/") for fault in site.own_faults]
    assert faults[0].startswith("hooks/after_wbe.yml is never run; expected a name such as after_web.yml.")
    assert faults[1].startswith("hooks/before_web.yaml is never run; expected a name such as before_web.yml.")
    assert faults[2].startswith("tests/databse is never run; expected a folder such as database.")
    assert faults[3].startswith("tests/test_it.py is never run; expected it in the folder of a gate.")
    assert len(faults) == 4
    with pytest.raises(RefusedError, match=r"after_wbe[.]yml"):
        check_own_files(site)
    with pytest.raises(RefusedError, match=r"after_wbe[.]yml"):
        run.request(["verify", str(local)])


def test_a_site_without_own_files_has_no_faults(tmp_path):
    """The folders need not exist."""
    assert own_files.own_file_faults(["web"], str(tmp_path / "hooks"), str(tmp_path / "tests")) == []


def test_own_checks_are_found(tmp_path):
    """A folder without checks is none."""
    (tmp_path / "web").mkdir()
    assert verify_layer.own_checks(str(tmp_path), "web") == []
    (tmp_path / "web/test_it.py").touch()
    assert verify_layer.own_checks(str(tmp_path), "web") == [tmp_path / "web"]
    assert verify_layer.own_checks(str(tmp_path), "proxy") == []


@pytest.mark.parametrize(("value", "outcome"), [("lab", "verified"), ("other", "failed")])
def test_own_checks_belong_to_the_gate(tmp_path, value, outcome):
    """They have the fixtures of the gates, count with the others, and fail the gate."""
    shipped, own = tmp_path / "shipped", tmp_path / "tests/web"
    for folder, promise in ((shipped, "Shipped"), (own, "Own")):
        folder.mkdir(parents=True)
        (folder / "test_it.py").write_text(
            f'testinfra_hosts = ["ansible://web"]\n\n\ndef test_it(host, variables, reach):\n    """{promise}."""\n'
            f'    assert host.run("true").rc == 0\n'
            f'    assert "{promise}" == "Shipped" or variables["site_name"] == "{value}"\n'
        )
    described = {"all": {"hosts": {"here": {"ansible_connection": "local", "site_name": "lab"}}}}
    described["all"]["children"] = {"web": {"hosts": {"here": None}}}
    gate = SimpleNamespace(_describe_run=lambda *_: (described, set()))
    checks, problems, code, output = verify_layer.ActionModule._run_checks(gate, [shipped, own], "web", ["here"], {})
    assert verify_layer.judge(checks, problems, code)[0] == outcome, output
    assert [(check["promise"], check["host"]) for check in checks] == [("Shipped", "here"), ("Own", "here")]


def test_own_checks_that_cannot_be_read_fail_the_gate(tmp_path):
    """Also when those of the layer pass."""
    for name, text in (("shipped", "def test_it():\n    pass\n"), ("own", "import no_such_module\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "test_it.py").write_text(text)
    gate = SimpleNamespace(_describe_run=lambda *_: ({"all": {"hosts": {"here": {}}}}, set()))
    folders = [tmp_path / "shipped", tmp_path / "own"]
    result = verify_layer.ActionModule._run_checks(gate, folders, "web", ["here"], {})
    assert verify_layer.judge(*result[:3])[0] == "failed"


def test_destroying_given_servers_says_what_is_left(tmp_path, monkeypatch, capsys):
    """Nothing is run, and the command that takes the services off is named as it has to be typed."""
    folder = made(tmp_path / "lab")
    monkeypatch.setattr(destroy.processes, "run", lambda *_: pytest.fail("something was run"))
    capsys.readouterr()
    assert destroy.request([str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "Nothing was destroyed: the 4 servers of lab" in shown
    assert f"scripts/run remove {folder} -e remove=lab " in shown


@pytest.mark.parametrize("given", [[], ["-e", "remove=yes"]])
def test_services_are_taken_off_only_when_somebody_means_it(tmp_path, given):
    """The name of the site confirms it; before that, no host is connected to."""
    folder = made(tmp_path / "lab")
    seen = ansible("ansible-playbook", "-i", folder, PROJECT / "playbooks/remove.yml", *given)
    assert seen.returncode != 0
    assert "expected lab, the site_name of this inventory" in " ".join(seen.stdout.split())
    assert "UNREACHABLE" not in seen.stdout
    assert "Gathering Facts" not in seen.stdout


def test_what_is_removed_covers_the_roles_and_no_data():
    """Every unit and configuration file that a role writes is on the list; no volume, cluster or secret is."""
    layers = yaml.safe_load((PROJECT / "playbooks/vars/removed.yml").read_text())["removed_layers"]
    assert [each["name"] for each in layers] == [layer for layer in LAYERS if layer != "hosts"]
    files = {path for each in layers for path in each["files"]}
    destination = re.compile(r"dest: \"?(/etc/systemd/system/[\w.-]+|/etc/nginx/conf\.d/[\w.-]+)\"?$", re.MULTILINE)
    written = {found for path in PROJECT.glob("roles/*/tasks/*.yml") for found in destination.findall(path.read_text())}
    assert len(written) > 6
    assert written <= files
    # Drop-ins with the site's limits, of each distribution.
    for unit in ("postgresql@{{ database_version }}-main", "postgresql", "nginx"):
        assert f"/etc/systemd/system/{unit}.service.d/limits.conf" in files
    data = ("/srv/vitrine", "/srv/omero", "/var/lib", "/var/cache", "/opt", "/home", "/etc/postgresql", "secrets")
    assert not [path for path in files if path.startswith(data) or "secret" in path]


def test_every_firewall_rule_is_unloaded():
    """No role's table stays in the kernel, where it would hold until the next boot, and none is loaded again."""
    host = (PROJECT / "playbooks/tasks/remove_host.yml").read_text()
    tables = {
        table
        for path in PROJECT.glob("roles/*/templates/*")
        for table in re.findall(r"^delete table (inet \w+)$", path.read_text(), re.MULTILINE)
    }
    unload = next(task for task in yaml.safe_load(host) if task["name"] == "Unload the firewall rules")
    assert len(tables) == 3
    assert set(unload["loop"]) == tables
    assert "[firewall_more_dir]" in host


def test_the_block_in_etc_hosts_is_found_again():
    """Its marker is the same after a site has another name, and blocks that carry a name are taken away."""
    settings = yaml.safe_load((PROJECT / "group_vars/hosts/hosts.yml").read_text())
    assert settings["name_resolution_marker"] == "vitrine"
    tasks = yaml.safe_load((PROJECT / "roles/name_resolution/tasks/entries.yml").read_text())
    [task] = [each["ansible.builtin.replace"] for each in tasks if "former blocks" in each["name"]]
    inventory, manager, loader = read_inventory(["inventories/demo"])
    values = manager.get_vars(host=inventory.get_host("proxy01"))
    pattern = re.compile(Templar(loader=loader, variables=values).template(values_of(task["regexp"])), re.MULTILINE)
    text = "127.0.0.1 localhost\n# BEGIN vitrine\n10.0.0.1 one\n# END vitrine\n"
    old = "# BEGIN vitrine: demo\n10.0.0.1 one\n# END vitrine: demo\n"
    older = "# BEGIN vitrine: older\n# END vitrine: older\n"
    assert pattern.sub(task["replace"], f"{text}{old}{older}last\n") == f"{text}last\n"


def values_of(text):
    """Return a template (str) that Ansible may evaluate."""
    from ansible.template import trust_as_template

    return trust_as_template(text)


def test_the_study_is_beside_the_repository():
    """A site that moves OMERO's data has the studies' files there too."""
    inventory, manager, loader = read_inventory(["inventories/demo"])
    raw = loader.load_from_file(str(PROJECT / "roles/study/vars/main.yml"), trusted_as_template=True)
    values = manager.get_vars(host=inventory.get_host("omero01")) | {"__study_read": {"accession": "demo0001"}}

    def folder(**more):
        return Templar(loader=loader, variables=values | more).template(raw["__study_dir"])

    assert folder() == "/srv/omero/Studies/demo0001"
    assert folder(omero_server_data_dir="/data/omero") == "/data/omero/Studies/demo0001"
    assert folder(study_images_dir="/elsewhere") == "/elsewhere"


def test_playbooks_are_listed(capsys):
    """Each with what it does; without arguments nothing is run."""
    assert run.request([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} == {path.stem for path in (PROJECT / "playbooks").glob("*.yml")}
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize("name", ["verify", "verify.yml", "playbooks/verify.yml"])
def test_a_playbook_is_found_by_its_name(name):
    """With or without what a path has more."""
    assert run.find_playbook(name) == "playbooks/verify.yml"


def test_an_unknown_playbook_is_refused_with_the_nearest():
    """And with all that there are."""
    with pytest.raises(RefusedError, match=r"'verfy'; expected verify, or another of attack, cache, connect,"):
        run.find_playbook("verfy")
    with pytest.raises(RefusedError, match="no inventory 'dmeo'"):
        run.request(["verify", "dmeo"])


@pytest.mark.parametrize("arguments", [["-e", "x=y", "--check"], ["--", "-e", "x=y", "--check"]])
def test_everything_after_the_inventory_is_ansibles(monkeypatch, arguments):
    """Also after `--`, as scripts/deploy has it."""
    seen = []
    monkeypatch.setattr(run.processes, "run", lambda command: seen.append(command) or 3)
    assert run.request(["verify", "demo", *arguments]) == 3
    inventory = "--inventory=inventories/demo"
    assert seen == [["ansible-playbook", inventory, "-e", "x=y", "--check", "playbooks/verify.yml"]]


def test_reports_name_their_site():
    """Nobody reads a report of a site where all sites would write it."""
    shared = re.compile(rf"(?<![\w/])reports/(site|study|webclient|bench|{'|'.join(LAYERS)})\b")
    pages = [PROJECT / "README.md"]
    for pattern in ("docs/*.md", "scripts/*", "scripts/lib/**/*.py"):
        pages += [path for path in PROJECT.glob(pattern) if path.is_file()]
    assert [str(page) for page in pages if shared.search(page.read_text())] == []


def test_the_readme_of_a_new_site_names_what_exists():
    """Its scripts and playbooks."""
    text = new_site.README.read_text()
    for script in re.findall(r"scripts/[\w-]+", text):
        assert (PROJECT / script).is_file(), script
    for name in re.findall(r"scripts/run (\w+)", text):
        assert run.find_playbook(name)
    assert sorted(new_site.IGNORED.splitlines()[1:]) == ["/reports/", "/secrets/", "/state/"]
