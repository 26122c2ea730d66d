"""Which scenarios a change can affect, and the records of those that passed."""

import itertools
import pathlib
import shutil
import subprocess

import pytest

from vitrine_cli import checks, dependencies, lanes
from vitrine_cli.site import PROJECT

LAYERS = ["hosts", "storage", "database", "omero", "web", "proxy", "jupyterhub"]
FAULTS = {f"{name}-faults" for name in LAYERS[1:6]}
ALL = {
    *LAYERS,
    *FAULTS,
    "gate",
    "gpfs",
    "omero-cluster",
    "omero-upgrade",
    "openstack",
    "settings",
    "single",
    "storage-kernel",
    "study",
}
# The scenarios that start from the demo's inventory.
DEMO = ALL - {"gpfs", "openstack", "single"}
PROXY = {*LAYERS[5:], "gate", "omero-cluster", "proxy-faults", "settings", "single", "study"}
OMERO = {*LAYERS[3:5], *PROXY, "omero-faults", "omero-upgrade", "web-faults"}


@pytest.fixture(scope="module")
def project():
    """Return the project's own Checkout."""
    return dependencies.Checkout()


@pytest.fixture
def copy(tmp_path):
    """Return a copy of the checkout (pathlib.Path) with all its files in Git."""
    for path in dependencies.files_of():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / path, tmp_path / path, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "add", "--all"], check=True)
    return tmp_path


def states(project):
    """Return the states of all scenarios of a checkout (pathlib.Path)."""
    checkout = dependencies.Checkout(project)
    return {name: checkout.state(name) for name in checkout.scenarios}


@pytest.mark.parametrize(
    ("path", "due"),
    [
        # Files that affect all scenarios.
        ("ansible.cfg", ALL),
        ("group_vars/all/network.yml", ALL),
        ("plugins/action/verify_layer.py", ALL),
        ("plugins/filter/omero.py", ALL),
        ("requirements.lock", ALL),
        ("testbed/roles/provision_local/tasks/main.yml", ALL),
        ("scripts/podman", ALL),
        ("scripts/lib/vitrine_cli/checks.py", ALL),
        ("tests/conftest.py", ALL),
        # Files that affect a layer and the layers above it.
        ("inventories/demo/hosts.yml", DEMO),
        # Others link to it.
        ("inventories/demo/group_vars/omero.yml", DEMO | {"single"}),
        ("roles/firewall/templates/nftables.conf.j2", ALL - {"gpfs"}),
        ("tests/hosts/test_hosts.py", ALL - {"gpfs"}),
        ("roles/omero_server/tasks/main.yml", OMERO),
        ("roles/omero_python/tasks/main.yml", OMERO),
        ("testbed/omero_server/build_zip.py", OMERO),
        ("testbed/tasks/preflight.yml", OMERO),
        ("plugins/modules/omero_user.py", OMERO),
        ("plugins/module_utils/omero_session.py", OMERO),
        ("roles/nginx_cache/tasks/main.yml", PROXY),
        ("playbooks/proxy.yml", PROXY),
        ("roles/jupyterhub/tasks/main.yml", {*LAYERS[6:], "gate", "settings", "single", "study"}),
        # Files that affect one or two scenarios.
        ("tests/database_faults/test_database_faults.py", {"database-faults"}),
        ("tests/proxy_settings/test_proxy_settings.py", {"settings"}),
        ("molecule/settings/inventory/group_vars/web.yml", {"settings"}),
        ("molecule/rebuild/note.yml", {"study"}),
        ("molecule/openstack/copy/hosts.yml", {"openstack"}),
        ("demo/study/experimentA/demo0001-experimentA-annotation.csv", {"study"}),
        ("inventories/single/hosts.yml", {"single"}),
        ("testbed/roles/test_cloud/files/servers.py", {"openstack"}),
        ("testbed/gpfs/stand_in.py", {"gpfs"}),
        ("roles/gpfs_client/tasks/main.yml", {"gpfs", "gate", "settings", "single"}),
        ("plugins/modules/read_study.py", {"study", "gate", "settings", "single"}),
        # Files that affect no scenario.
        ("docs/proxy.md", set()),
        ("tests/unit/test_study.py", set()),
        ("playbooks/cache.yml", set()),
    ],
)
def test_what_a_file_can_affect(project, path, due):
    """The dependencies follow from the names in the scenarios' own files."""
    assert project.affected[path] == due


def test_what_a_change_makes_due(copy):
    """A changed file changes the states of the scenarios that it can affect, and of no other."""
    before = states(copy)
    for path, due in {
        "ansible.cfg": ALL,
        "roles/nginx_cache/defaults/main.yml": PROXY,
        "tests/database/test_database.py": ALL - {"hosts", "storage", "storage-faults", "gpfs", "storage-kernel"},
        "molecule/gpfs/verify.yml": {"gpfs"},
        "docs/proxy.md": set(),
    }.items():
        with (copy / path).open("a") as file:
            file.write("\n# changed\n")
        after = states(copy)
        assert {name for name in ALL if before[name] != after[name]} == due, path
        before = after


def test_only_the_own_properties_of_a_scenario_count(copy):
    """A changed line in molecule/scenarios.yml changes the state of the scenario that it is about."""
    before = states(copy)
    path = copy / dependencies.METADATA
    text = path.read_text()
    path.write_text(text.replace("  gpfs: {mitogen: true}\n", "  gpfs: {}\n"))
    assert path.read_text() != text
    after = states(copy)
    assert {name for name in ALL if before[name] != after[name]} == {"gpfs"}


def test_every_change_of_a_file_counts(copy):
    """New (even if not added to Git), removed, executable and linked files count; files that Git ignores do not."""
    seen = [states(copy)["proxy"]]
    path = copy / "roles/nginx_cache/tasks/new.yml"
    path.write_text("---\n")
    seen.append(states(copy)["proxy"])
    path.chmod(0o755)
    seen.append(states(copy)["proxy"])
    path.unlink()
    path.symlink_to("main.yml")
    seen.append(states(copy)["proxy"])
    assert len(set(seen)) == len(seen)
    path.unlink()
    (copy / "roles/nginx_cache/files/__pycache__").mkdir()
    (copy / "roles/nginx_cache/files/__pycache__/tool.pyc").touch()
    assert states(copy)["proxy"] == seen[0]


def test_an_archive_has_the_states_of_the_checkout(copy):
    """Without Git the same files are found."""
    before = states(copy)
    shutil.rmtree(copy / ".git")
    (copy / "reports").mkdir()
    (copy / "reports" / "site.json").touch()
    assert states(copy) == before


def test_every_file_affects_a_scenario_or_is_listed_as_harmless(project):
    """The list gives the reasons, and every path in molecule/scenarios.yml exists."""
    for path in project.files:
        assert bool(project.affected[path]) != bool(project.harmless(path)), path
    narrower = [path for entry in project.metadata["narrower"] for path in entry["paths"]]
    for path in [*project.metadata["affect_none"], *narrower]:
        assert project.below(path) or path == dependencies.RECORDS, path
    assert all(project.metadata["affect_none"].values())


def test_what_is_narrower_names_scenarios_and_layers_that_there_are(project):
    """A scenario that was renamed would be affected by nothing."""
    for entry in project.metadata["narrower"]:
        assert set(entry.get("scenarios", [])) <= ALL
        assert entry.get("from_layer", "hosts") in LAYERS
        assert ("scenarios" in entry) != ("from_layer" in entry)
    assert set(project.scenarios) == ALL


def test_a_scenario_depends_on_what_those_below_depend_on(project):
    """The only exception is the Molecule settings of the lower scenario."""
    for lower, upper in itertools.pairwise(LAYERS):
        extra = set(project.dependencies(lower)) - set(project.dependencies(upper))
        own = (f"molecule/{lower}/",)
        assert {path for path in extra if not path.startswith(own)} == set()


def test_links_of_a_role_to_others_are_followed(copy):
    """By include_role in a task, by a playbook's roles, and by a template that stands for any role."""
    before = states(copy)
    tasks = copy / "roles/time_sync/tasks/main.yml"
    tasks.write_text(tasks.read_text() + "\n- name: New\n  ansible.builtin.include_role:\n    name: tls_certificate\n")
    assert states(copy)["hosts"] != before["hosts"]
    assert "hosts" in dependencies.Checkout(copy).affected["roles/tls_certificate/tasks/main.yml"]
    tasks.write_text(tasks.read_text().replace("tls_certificate", '"{{ any }}"'))
    assert "hosts" in dependencies.Checkout(copy).affected["roles/jupyterhub/tasks/main.yml"]


@pytest.fixture
def records(tmp_path, monkeypatch):
    """Return the path of records that the runner keeps (pathlib.Path)."""
    (tmp_path / "molecule").mkdir()
    original = {name: getattr(dependencies, name) for name in ("record", "read_records")}
    monkeypatch.setattr(dependencies, "record", lambda name, state: original["record"](name, state, tmp_path))
    monkeypatch.setattr(dependencies, "read_records", lambda _=None: original["read_records"](tmp_path))
    for name in dependencies.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / dependencies.RECORDS


def ended(name, outcome):
    """Return a scenario's Phase that has ended."""
    phase = checks.Phase(name, "scenario", [], outcome=outcome)
    phase.passed, phase.failed = (1, 0) if outcome == "passed" else (0, 1)
    return phase


def test_a_record_is_written_by_a_green_run_alone(records):
    """Each scenario has a line, sorted by name; it loses the line if it fails or if its files change during the run."""
    for name in ("web", "hosts", "omero"):
        checks.keep_record(ended(name, "passed"), "state-1", "state-1")
    lines = [line for line in records.read_text().splitlines() if not line.startswith("#")]
    assert lines == ["hosts state-1", "omero state-1", "web state-1"]
    checks.keep_record(ended("web", "failed"), "state-1", "state-1")
    checks.keep_record(ended("hosts", "passed"), "state-1", "state-2")
    assert dependencies.read_records() == {"omero": "state-1"}


@pytest.mark.parametrize("variable", ["VITRINE_SUITE", "OMERO_SERVER_ZIP"])
def test_runs_with_something_else_neither_write_nor_use_records(project, records, monkeypatch, capsys, variable):
    """What passed on another distribution, or with another OMERO.server, says nothing about the usual run."""
    known = checks.scenarios()
    for name in known:
        checks.keep_record(ended(name, "passed"), *[project.state(name)] * 2)
    assert checks.unchanged(known).keys() == known.keys()
    monkeypatch.setenv(variable, "other")
    checks.keep_record(ended("web", "failed"), "state-1", "state-1")
    assert checks.unchanged(known) == {}
    assert variable in capsys.readouterr().out
    monkeypatch.delenv(variable)
    assert "web" in dependencies.read_records()


def test_conflicts_in_the_records_make_scenarios_run(records):
    """Conflict markers are not read as records, and one of two conflicting lines is used."""
    records.write_text("# x\n<<<<<<< ours\nweb one\n=======\nweb two\n>>>>>>> theirs\nomero three\n")
    assert dependencies.read_records() == {"web": "two", "omero": "three"}


def test_what_is_unchanged_is_left_out_by_name_and_counts_as_neither(project, records, monkeypatch, capsys):
    """All other scenarios run; a run in which nothing ran has not passed."""
    ran = []

    def run(phase, *_):
        ran.append(phase.name)
        checks.conclude(phase, 0, "3 passed in 1s")

    monkeypatch.setattr(checks, "run_phase", run)
    known = checks.scenarios()
    for name in known.keys() - {"proxy"}:
        checks.keep_record(ended(name, "passed"), *[project.state(name)] * 2)
    dependencies.record("proxy", "of another state")
    phases = checks.plan(checks.parse(["--changed"]), known, {}, checks.unchanged(known))
    checks.run_all(phases, [lanes.Lane(0)])
    assert sorted(ran) == sorted([*checks.LINTERS, "unit", "proxy"])
    assert checks.show_recap(phases) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1] == f"{len(checks.LINTERS) + 3 + 1} passed, 0 failed"
    for name in known.keys() - {"proxy"}:
        assert any(line.split()[1:4] == [name, "left", "out"] and checks.UNCHANGED in line for line in shown), name
    nothing = checks.plan(checks.parse(["--changed", "--scenario", "web"]), known, {}, checks.unchanged(known))
    assert [phase.outcome for phase in nothing] == ["left out"]
    checks.run_all(nothing, [lanes.Lane(0)])
    assert checks.show_recap(nothing) == 1


def test_a_layer_that_others_start_with_is_prepared_once(records):
    """It passed before, and counts as neither passed nor failed; a scenario that alone starts with it applies it."""
    known = checks.scenarios()
    due = {"web-faults", "proxy", "proxy-faults"}
    phases = {
        phase.name: phase
        for phase in checks.plan(checks.parse([]), known, {}, dict.fromkeys(known.keys() - due, checks.UNCHANGED))
    }
    starts = {name for name, phase in phases.items() if phase.kind == "start"}
    # proxy and web-faults start with web; proxy-faults starts with proxy, which runs.
    assert starts == {"web"}
    web = phases["web"]
    assert (web.outcome, web.mitogen) == ("", "all")
    assert [step.split()[1] for step in web.command[2].split(" && ")] == ["converge", "side-effect", "destroy"]
    checks.conclude(web, 0, "")
    assert (web.outcome, web.passed, web.failed) == ("prepared", 0, 0)
    checks.conclude(web, 1, "")
    assert (web.outcome, web.passed, web.failed) == ("failed", 0, 1)


def test_without_changed_everything_runs(project, records):
    """The records are ignored."""
    known = checks.scenarios()
    for name in known:
        checks.keep_record(ended(name, "passed"), *[project.state(name)] * 2)
    assert not any(phase.outcome for phase in checks.plan(checks.parse([]), known))


def test_what_cannot_run_here_says_so_first(records):
    """A permanent reason is shown rather than one that the next change removes."""
    known = checks.scenarios()
    phases = checks.plan(checks.parse([]), known, {"gpfs": "no"}, {"gpfs": checks.UNCHANGED})
    assert [phase.note for phase in phases if phase.outcome] == ["no"]


def test_a_file_on_which_a_scenario_is_not_known_to_depend_fails_it(project):
    """Otherwise a change to the file would not make the scenario run; a folder stands for all of its files."""
    phase = ended("database", "passed")
    checks.check_used(phase, project, ["roles/postgresql/tasks/main.yml", "tests/database", ".vitrine/venv/x.yml"])
    assert phase.outcome == "passed"
    for stray in ("roles/nginx_cache/tasks/main.yml", "tests/proxy", "playbooks/cache.yml"):
        phase = ended("database", "passed")
        checks.check_used(phase, project, ["tests/database", stray])
        assert (phase.outcome, phase.passed, phase.failed) == ("failed", 0, 1)
        assert stray in phase.note


def test_mitogen_runs_what_was_shown_without(monkeypatch):
    """Mitogen runs marked scenarios and the layers below a scenario; not with --plain, and only in scripts/test."""
    monkeypatch.delenv("ANSIBLE_STRATEGY", raising=False)
    known = checks.scenarios()
    modes = {phase.name: phase.mitogen for phase in checks.plan(checks.parse([]), known) if phase.kind == "scenario"}
    assert modes["gpfs"] == "all"
    assert {modes[name] for name in LAYERS} == {"prepare"}
    assert not any(phase.mitogen for phase in checks.plan(checks.parse(["--plain"]), known))
    assert checks.strategy("") == {}
    assert checks.strategy("prepare").keys() == {"VITRINE_MITOGEN", "ANSIBLE_TIMEOUT"}
    whole = checks.strategy("all")
    assert whole["ANSIBLE_STRATEGY"] == "mitogen_linear"
    assert (pathlib.Path(whole["ANSIBLE_STRATEGY_PLUGINS"]) / "mitogen_linear.py").exists()


def test_no_site_depends_on_mitogen():
    """Only the code that runs scenarios refers to it."""
    files = [path for path in dependencies.files_of() if (PROJECT / path).is_file()]
    found = [path for path in files if b"mitogen" in (PROJECT / path).read_bytes()]
    allowed = ("docs/", "molecule/", "scripts/test", "scripts/lib/vitrine_cli/checks.py", "tests/unit/")
    allowed += ("pyproject.toml", "requirements.lock", "CHANGELOG.md")
    assert ".config/molecule/config.yml" not in found
    assert "molecule/prepare.yml" in found
    assert [path for path in found if not path.startswith(allowed)] == []


def test_used_files_are_listed(tmp_path):
    """The callback names playbooks, files of roles' tasks and the gates' folders."""
    playbook = PROJECT / "reports" / f"{tmp_path.name}.yml"
    playbook.parent.mkdir(exist_ok=True)
    playbook.write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.include_tasks: ../roles/firewall/tasks/validate.yml\n"
    )
    used = tmp_path / "used"
    environment = {
        "PATH": f"{pathlib.Path(dependencies.sys.executable).parent}:/usr/bin:/bin",
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_CALLBACKS_ENABLED": "files_used",
        "VITRINE_FILES_USED": str(used),
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
    }
    try:
        subprocess.run(
            ["ansible-playbook", "--inventory=localhost,", playbook], env=environment, capture_output=True, check=False
        )
    finally:
        playbook.unlink()
    assert {f"reports/{playbook.name}", "roles/firewall/tasks/validate.yml"} <= set(used.read_text().splitlines())
