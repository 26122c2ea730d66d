"""The code of scripts/: invalid requests, command lines, locks, and the plan of the tests."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from vitrine_cli import checks, deploy, destroy, lanes, local, new_site, processes, run, site
from vitrine_cli.site import PROJECT, TEST_INVENTORIES, RefusedError, load_site

LANE = [lanes.Lane(0)]
LAYERS = ["hosts", "storage", "database"]


@pytest.fixture
def example(tmp_path):
    """Return a site of three layers."""
    return site.Site(
        name=f"unit-{os.getpid()}",
        snapshots_of=f"unit-{os.getpid()}",
        sources=["inventories/example"],
        provisioner="local",
        layers=LAYERS,
        addresses=["192.0.2.1"],
        state=tmp_path / "state",
        secrets=tmp_path / "secrets",
        reports=tmp_path / "reports",
        cache=tmp_path / "cache",
        volumes=tmp_path / "volumes",
    )


@pytest.fixture
def checkout(tmp_path):
    """Return a checkout with two inventories and two playbooks."""
    for name in ("demo", "static"):
        (tmp_path / "inventories" / name).mkdir(parents=True)
    (tmp_path / "demo").mkdir()
    (tmp_path / "playbooks").mkdir()
    for name in LAYERS[:2]:
        (tmp_path / "playbooks" / f"{name}.yml").touch()
    return tmp_path


def command(*arguments):
    """Return deploy's command for command-line arguments, without the inventory's part."""
    example = site.Site("s", "s", ["inventories/s"], "none", ["hosts", "storage", "database"], *[None] * 6)
    whole = deploy.ansible_command(example, deploy.parse(["s", *arguments]))
    assert whole[:2] == ["ansible-playbook", "--inventory=inventories/s"]
    return whole[2:]


def in_bash(code, *arguments, **environment):
    """Run bash code after sourcing setup.sh; returns the subprocess.CompletedProcess."""
    script = f'set -euo pipefail; source "{PROJECT}/scripts/setup.sh"; {code}'
    return subprocess.run(
        ["bash", "-c", script, "bash", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_inventory_is_found_by_name_before_a_folder_of_that_name(checkout, monkeypatch):
    """`demo` is the inventory, though the checkout has a folder demo too."""
    monkeypatch.chdir(checkout)
    assert site.find_inventory("demo", checkout) == "inventories/demo"
    assert site.find_inventory("inventories/static", checkout) == "inventories/static"


def test_an_unknown_inventory_is_refused_with_what_there_is(checkout):
    """The message names the known ones."""
    with pytest.raises(RefusedError, match=r"no inventory 'prod'.*demo, static"):
        site.find_inventory("prod", checkout)
    with pytest.raises(RefusedError):
        site.find_inventory("", checkout)


def test_an_inventory_that_cannot_be_read_is_refused(tmp_path):
    """The message contains Ansible's own message."""
    (tmp_path / "hosts.yml").write_text("all: [not, a, mapping\n")
    with pytest.raises(RefusedError, match="cannot be read"):
        site.load_site([str(tmp_path)])


def test_layers_below(example, checkout):
    """Lowest first, without the layer itself."""
    assert site.layers_below(example, "storage", checkout) == ["hosts"]
    assert site.layers_below(example, "hosts", checkout) == []


def test_an_unknown_layer_is_refused_with_what_there_is(example, checkout):
    """A layer without a playbook is refused as well."""
    with pytest.raises(RefusedError, match=r"no layer 'databse'.*hosts, storage, database"):
        site.layers_below(example, "databse", checkout)
    with pytest.raises(RefusedError, match="no playbook"):
        site.layers_below(example, "database", checkout)


def test_the_whole_site():
    """One playbook."""
    assert command() == ["playbooks/site.yml"]
    assert command("--check", "-vv") == ["-vv", "--check", "--diff", "playbooks/site.yml"]


def test_one_layer():
    """The gates below come first, in the same run, and only then the layer."""
    extra = ["--extra-vars", '{"layers": ["hosts", "storage"]}']
    assert command("--layer", "database") == [*extra, "playbooks/verify.yml", "playbooks/database.yml"]
    assert command("--layer", "hosts") == ["playbooks/hosts.yml"]


def test_further_arguments_are_ansibles():
    """Arguments after `--` are passed on unchanged."""
    assert command("--", "--limit", "web", "--layer") == ["--limit", "web", "--layer", "playbooks/site.yml"]


@pytest.mark.parametrize("arguments", [[], ["demo", "--lyer", "x"], ["demo", "more"]])
def test_a_wrong_command_line(arguments, capsys):
    """Exit code 2 and the usage."""
    with pytest.raises(SystemExit) as ended:
        deploy.parse(arguments)
    assert ended.value.code == 2
    assert "usage: scripts/deploy" in capsys.readouterr().err


def test_containers_take_root(example, monkeypatch):
    """The refusal comes before any change."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RefusedError, match="root"):
        deploy.check_machine(example)
    deploy.check_machine(dataclasses.replace(example, provisioner="none"))


def test_no_space(example, monkeypatch):
    """The refusal comes before any change, and names the directory."""
    usage = shutil.disk_usage("/")._replace(free=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(RefusedError, match="GiB of free space"):
        deploy.check_machine(dataclasses.replace(example, provisioner="none"))


def test_a_site_is_worked_on_by_one_at_a_time(example):
    """The second process is told about the first, and the site is unlocked afterwards."""
    try:
        with (
            processes.lock(example, "scripts/deploy example"),
            pytest.raises(RefusedError, match=r"Another process is working on .* \(scripts/deploy example, process"),
            processes.lock(example, "another"),
        ):
            pass
        with processes.lock(example, "another"):
            pass
    finally:
        (PROJECT / ".vitrine" / f"{example.name}.lock").unlink()


def test_a_signal_ends_the_program_that_was_started(monkeypatch):
    """Also one that was not sent to the program itself."""
    monkeypatch.setattr(processes, "PATIENCE_SECONDS", 0.1)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    processes.catch_signals()
    try:
        with pytest.raises(processes.InterruptedRunError) as ended, processes.started(["sleep", "60"]) as child:
            signal.raise_signal(signal.SIGTERM)
        assert ended.value.number == signal.SIGTERM
        assert child.returncode == -signal.SIGTERM
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_secrets_elsewhere_are_not_removed(example):
    """Only passwords inside the checkout are removed."""
    example.secrets.mkdir()
    assert not destroy.remove_secrets(example)
    assert example.secrets.is_dir()


def test_folders_are_removed_when_empty_only(tmp_path):
    """Files of other sites are kept."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "empty").mkdir()
    for name in ("full", "empty", "absent"):
        local.remove_if_empty(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.parametrize(
    ("arguments", "answer", "words"),
    [
        ([], None, None),
        (["--volumes"], None, "Add --yes"),
        (["--volumes"], "yes", "nothing was removed"),
        (["--volumes"], "cloudy", None),
        (["--volumes", "--yes"], None, None),
    ],
)
def test_data_in_a_cloud_go_only_when_somebody_means_it(example, arguments, answer, words):
    """--volumes asks for the site's name, or for --yes."""
    cloudy = dataclasses.replace(example, name="cloudy", provisioner="openstack")
    options = destroy.parse(["cloudy", *arguments])
    ask = None if answer is None else lambda question: answer
    if words is None:
        destroy.check_volumes(cloudy, options, ask)
    else:
        with pytest.raises(RefusedError, match=words):
            destroy.check_volumes(cloudy, options, ask)


def test_connections_to_hosts_of_another_checkout_are_left_alone(example, monkeypatch):
    """Only hosts that are gone lose their connections."""
    listed = []
    monkeypatch.setattr(local, "containers", lambda site: ["unit-host"])
    monkeypatch.setattr(local.subprocess, "run", lambda *arguments, **more: listed.append(arguments))
    local.end_connections(example)
    assert not listed


def test_only_a_cloud_has_volumes_to_keep(example):
    """--volumes is refused elsewhere."""
    with pytest.raises(RefusedError, match="OpenStack"):
        destroy.check_volumes(example, destroy.parse(["example", "--volumes", "--yes"]))


@pytest.mark.parametrize(
    ("script", "parser"),
    [
        ("deploy", deploy.parse),
        ("destroy", destroy.parse),
        ("new-site", new_site.parse),
        ("run", run.parse),
        ("test", checks.parse),
    ],
)
def test_help_needs_no_set_up_and_names_every_option(script, parser, tmp_path, capsys):
    """It comes from the script's own head, at once, and leaves nothing behind."""
    shutil.copytree(PROJECT / "scripts", tmp_path / "scripts")
    begun = time.monotonic()
    run = subprocess.run([tmp_path / "scripts" / script, "--help"], capture_output=True, text=True, check=True)
    assert time.monotonic() - begun < 1
    assert [path.name for path in tmp_path.iterdir()] == ["scripts"]
    assert run.stdout.startswith(f"scripts/{script} ")
    with pytest.raises(SystemExit):
        parser(["--no-such-option"])
    usage = capsys.readouterr().err.splitlines()[0]
    for option in re.findall(r"(?<![\w-])-{1,2}[a-z-]+", usage.partition("(")[0]):
        assert re.search(rf"^  {option}\b", run.stdout, re.MULTILINE) or f"[{option}" in run.stdout, option


def test_lists_are_in_the_order_of_the_layers():
    """Scenarios that build only on bare hosts come last."""
    known = list(checks.scenarios())
    assert known[:2] == ["hosts", "storage"]
    assert checks.scenarios()["database"] == ["hosts", "storage"]


def test_scenarios_of_no_layer_say_what_they_build_on():
    """on_top_of in molecule/scenarios.yml includes the layer that it names."""
    assert checks.below("gate", {"gate": {"on_top_of": "storage"}}, LAYERS) == ["hosts", "storage"]
    assert checks.below("site", {"gate": {"on_top_of": "storage"}}, LAYERS) == []


def test_what_is_said_of_scenarios_is_about_scenarios():
    """Each in molecule/scenarios.yml has a folder, and says what the runner knows."""
    for name, traits in checks.traits().items():
        assert name in checks.scenarios()
        assert traits.keys() <= {"on_top_of", "up_to", "hosts_of_its_own", "mitogen", "needs"}
        # Together, these are a complete deploy as on a real site.
        assert not (traits.get("mitogen") and name in load_site(TEST_INVENTORIES).layers)
        assert traits.get("needs", "stand_in") in ("stand_in", "user_mode_linux")


def test_an_unknown_scenario_is_refused():
    """The message lists the scenarios that exist."""
    with pytest.raises(RefusedError, match=r"no scenario 'nope'.*hosts, storage"):
        checks.plan(checks.parse(["--scenario", "nope"]), checks.scenarios())


def test_everything_is_planned_unless_something_is_asked_for():
    """Linters, unit tests, scenarios, in this order."""
    known = checks.scenarios()
    everything = [phase.name for phase in checks.plan(checks.parse([]), known)]
    assert everything == [*checks.LINTERS, "unit", *known]
    assert [phase.name for phase in checks.plan(checks.parse(["--unit"]), known)] == ["unit"]
    some = checks.plan(checks.parse(["--scenario", "storage", "--scenario", "hosts"]), known)
    assert [phase.name for phase in some] == ["hosts", "storage"]


@pytest.mark.parametrize(
    ("official_zip", "processor", "name", "reason"),
    [
        ("OMERO.server.zip", "flags : fpu avx2", "omero-upgrade", "stand-in"),
        ("", "flags : fpu avx2 amx_tile pku", "storage-kernel", "AMX"),
    ],
)
def test_what_cannot_be_run_here_is_left_out(monkeypatch, capsys, official_zip, processor, name, reason):
    """The scenario is not run or counted, and the reason is shown; an explicit request for it is refused."""
    ran = []
    monkeypatch.setattr(checks, "run_phase", lambda phase, *_: ran.append(phase.name))
    known = checks.scenarios()
    impossible = checks.left_out(known, official_zip, processor)
    alone = [phase for phase in checks.plan(checks.parse([]), known, impossible) if phase.outcome == "left out"]
    assert [phase.name for phase in alone] == [name]
    checks.run_all(alone, LANE)
    assert not ran
    assert reason in capsys.readouterr().out
    assert (alone[0].passed, alone[0].failed) == (0, 0)
    with pytest.raises(RefusedError, match=f"'{name}' cannot be run here.*{reason}"):
        checks.plan(checks.parse(["--scenario", name]), known, impossible)


def test_nothing_is_left_out_without_a_reason():
    """With the stand-in, and on a processor that User Mode Linux knows."""
    assert checks.left_out(checks.scenarios(), "", "flags : fpu avx2") == {}


@pytest.fixture
def outcomes(monkeypatch):
    """Return a function that runs phases with given outcomes (dict of str), and returns the phases that ran."""

    def run(phases, told, lane_list=LANE):
        ran = []

        def end(phase, _lane, _pass_fds):
            ran.append(phase.name)
            checks.conclude(phase, 0 if told.get(phase.name, "passed") == "passed" else 1, "")

        monkeypatch.setattr(checks, "run_phase", end)
        checks.run_all(phases, lane_list)
        return ran

    return run


def scenario_phases():
    """Return the phases of three layers and of one that builds on none."""
    chain = [checks.Phase(name, "scenario", [], LAYERS[:place]) for place, name in enumerate(LAYERS)]
    return [checks.Phase("yamllint", "lint", []), *chain, checks.Phase("site", "scenario", [])]


def test_what_builds_on_a_failure_is_not_run_and_counts_as_failed(outcomes, capsys):
    """The rest goes on, and the last line is the sum."""
    phases = scenario_phases()
    assert outcomes(phases, {"yamllint": "failed", "storage": "failed"}) == ["hosts", "yamllint", "storage", "site"]
    assert phases[3].outcome == "skipped"
    assert "builds on storage" in phases[3].note
    assert checks.show_recap(phases) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 passed, 3 failed"


def test_scenarios_run_side_by_side_as_soon_as_what_they_build_on_has_passed(monkeypatch):
    """Each runs in a lane of its own, after the first scenario, which creates the image of all hosts."""
    ended, together, begun = [], [], threading.Event()

    def run(phase, lane, _pass_fds):
        assert all(name in ended for name in phase.builds_on)
        together.append((phase.name, lane.number))
        if phase.name == "storage":
            assert begun.wait(10)
        if phase.name == "openstack":
            assert ended == ["hosts"]
            begun.set()
        phase.outcome = "passed"
        ended.append(phase.name)

    monkeypatch.setattr(checks, "run_phase", run)
    chain = [checks.Phase(name, "scenario", [], LAYERS[:place]) for place, name in enumerate(LAYERS)]
    checks.run_all([*chain, checks.Phase("openstack", "scenario", [])], [lanes.Lane(0), lanes.Lane(1)])
    assert sorted(ended) == sorted([*LAYERS, "openstack"])
    assert together[0] == ("hosts", 0)
    assert {number for name, number in together if name in ("storage", "openstack")} == {0, 1}


def test_no_scenario_waits_for_an_image_that_exists(monkeypatch):
    """Scenarios that build on nothing start at once; the others still wait for the layers that they build on."""
    begun, ended = threading.Event(), []

    def run(phase, *_):
        assert all(name in ended for name in phase.builds_on)
        if phase.name == "site":
            begun.set()
        elif phase.name == "hosts":
            assert begun.wait(10)
        phase.outcome = "passed"
        ended.append(phase.name)

    monkeypatch.setattr(checks, "run_phase", run)
    checks.run_all(scenario_phases()[1:], [lanes.Lane(0), lanes.Lane(1)], image_exists=True)
    assert sorted(ended) == sorted([*LAYERS, "site"])


@pytest.mark.parametrize(("status", "exists"), [(0, True), (1, False), (125, False)])
def test_podman_is_asked_for_the_base_image(monkeypatch, status, exists):
    """By the name that role provision_local gives the image; without podman there is none."""
    asked = []

    def run(command, **_):
        asked.append(command)
        return subprocess.CompletedProcess(command, status)

    monkeypatch.delenv("VITRINE_SUITE", raising=False)
    monkeypatch.setattr(local.subprocess, "run", run)
    assert local.has_base_image(TEST_INVENTORIES) is exists
    assert [command[:3] for command in asked] == [[str(PROJECT / "scripts/podman"), "image", "exists"]]
    assert re.fullmatch(r"localhost/vitrine-base:bookworm-[0-9a-f]{12}", asked[0][3])


def test_the_name_of_the_base_image_is_that_of_the_role(tmp_path):
    """The runner computes the same name as a run, so that an image of another recipe does not count."""
    role = tmp_path / "roles" / "image"
    (role / "tasks").mkdir(parents=True)
    for part in ("defaults", "files", "templates", "vars"):
        (role / part).symlink_to(PROJECT / "testbed/roles/provision_local" / part)
    show = [{"ansible.builtin.debug": {"msg": "name={{ __provision_local_image }}"}}]
    (role / "tasks/main.yml").write_text(json.dumps(show))
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "roles": ["image"]}
    (tmp_path / "name.yml").write_text(json.dumps([play]))
    inventories = [f"--inventory={source}" for source in TEST_INVENTORIES]
    command = ["ansible-playbook", *inventories, str(tmp_path / "name.yml")]
    shown = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False).stdout
    assert f"name={local.base_image(TEST_INVENTORIES)}" in shown


def test_others_wait_for_the_first_scenario_that_runs(outcomes):
    """A scenario that is left out creates no image for the others."""
    phases = scenario_phases()
    phases[1].outcome = "left out"
    ran = outcomes(phases, {}, [lanes.Lane(0), lanes.Lane(1), lanes.Lane(2)])
    assert LAYERS[0] not in ran
    assert ran.index("site") > ran.index(LAYERS[1])


def test_linters_run_beside_the_first_scenario(monkeypatch):
    """They need no host, and no scenario waits for them."""
    linted = threading.Event()

    def run(phase, *_):
        if phase.kind == "lint":
            linted.set()
        else:
            assert linted.wait(10)
        phase.outcome = "passed"

    monkeypatch.setattr(checks, "run_phase", run)
    phases = [checks.Phase("ruff-check", "lint", []), checks.Phase("hosts", "scenario", [])]
    checks.run_all(phases, [lanes.Lane(0), lanes.Lane(1)])
    assert [phase.outcome for phase in phases] == ["passed", "passed"]


def test_an_interruption_ends_what_runs(monkeypatch):
    """It takes down the hosts, in their lane."""
    begun, taken_down = threading.Event(), []

    def run(phase, _lane, _pass_fds):
        if phase.name == "proxy-faults":
            with checks.processes.started(["sleep", "60"]) as phase.child:
                begun.set()
                phase.child.wait()
            return
        if phase.name == "second":
            assert begun.wait(10)
            raise checks.processes.InterruptedRunError(15)
        phase.outcome = "passed"

    monkeypatch.setattr(checks, "run_phase", run)
    monkeypatch.setattr(
        checks.subprocess, "run", lambda command, env, **_: taken_down.append((command, env["VITRINE_LANE"]))
    )
    phases = [checks.Phase(name, "scenario", [], needs_lane=True) for name in ("first", "second", "proxy-faults")]
    with pytest.raises(checks.processes.InterruptedRunError):
        checks.run_all(phases, [lanes.Lane(1), lanes.Lane(2)])
    assert phases[2].child.poll() is not None
    destroy = ["molecule", "destroy", "--scenario-name", "proxy-faults"]
    assert taken_down == [(["nsenter", "--net=/run/netns/vitrine-2", *destroy], "2")]


def test_lanes_share_snapshots_and_passwords_and_no_host():
    """Each is the same site, in containers of other names."""
    sites = []
    for lane in (lanes.Lane(0), lanes.Lane(2)):
        with lanes.entered(lane):
            sites.append(load_site(TEST_INVENTORIES))
    first, second = sites
    assert (first.name, second.name) == ("vitrine-test", "vitrine-test-2")
    assert first.snapshots_of == second.snapshots_of == "vitrine-test"
    assert first.secrets == second.secrets
    assert first.addresses == second.addresses
    assert len({first.state, second.state, first.volumes, second.volumes}) == 4


def test_what_runs_in_a_lane_is_started_in_its_network():
    """The first lane is this machine's own network; scenarios with hosts of another site need no lane."""
    phase = checks.Phase("web", "scenario", ["molecule"], needs_lane=True)
    assert checks.placed(phase, lanes.Lane(0)) == (["molecule"], {})
    command, environment = checks.placed(phase, lanes.Lane(1))
    assert command == ["nsenter", "--net=/run/netns/vitrine-1", "molecule"]
    assert environment["VITRINE_LANE"] == "1"
    # Else the connections of another lane's hosts would be used.
    assert environment["ANSIBLE_SSH_CONTROL_PATH_DIR"] == "/run/vitrine-lanes/1/ssh"
    phase.needs_lane = False
    assert checks.placed(phase, lanes.Lane(1)) == (["molecule"], {})


def test_success(outcomes, capsys):
    """Everything passed."""
    phases = scenario_phases()
    outcomes(phases, {})
    assert checks.show_recap(phases) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "5 passed, 0 failed"


def test_what_did_not_run_has_not_passed(capsys):
    """After an interruption."""
    assert checks.show_recap(scenario_phases()) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 5 failed"


@pytest.mark.parametrize(
    ("code", "output", "passed", "failed"),
    [
        (0, "..\n12 passed in 1.2s\n", 12, 0),
        (1, "F\n1 failed, 11 passed, 2 errors in 1.2s", 11, 3),
        (2, "no module", 0, 1),
        (5, "no tests ran in 0.1s", 0, 1),
    ],
)
def test_unit_tests_are_counted(code, output, passed, failed):
    """Each test counts; tests that could not be found fail."""
    phase = checks.Phase("unit", "unit", [])
    checks.conclude(phase, code, output)
    assert (phase.passed, phase.failed) == (passed, failed)


def test_the_steps_of_a_scenario_are_timed():
    """The time is measured from the start of a step to the start of the next."""
    assert checks.describe_steps([("create", 1.0), ("converge", 9.0)], 39.4) == "create 8, converge 30"
    assert checks.describe_steps([], 5.0) == ""
    assert checks.STEP.match("INFO     [hosts > create] Executing\n")[1] == "create"


def test_what_is_shown_of_a_failure():
    """The failed task, not how the scenario took its hosts down afterwards."""
    log = [f"line {number}" for number in range(100)]
    failed = ["fatal: [proxy01]", "ERROR    [study > verify] \x1b[31mExecuted: Failed\x1b[0m", "PLAY [Destroy]"]
    assert checks.before_failure(log + failed)[-2:] == failed[:2]
    assert len(checks.before_failure(log + failed)) == checks.LINES_SHOWN
    assert checks.before_failure(log)[-1] == "line 99"


def test_missing_packages_are_named():
    """Where they cannot be installed, the message is the command that installs them."""
    code = 'packages[unit]="no-such-command=some-package /no/such/file=other"; PATH=/nowhere; need unit'
    run = in_bash(code)
    assert run.returncode == 1
    assert "apt-get install some-package" in run.stderr
    assert "other" not in run.stderr  # where there is no dpkg, nobody knows where such a file should be
    assert in_bash('packages[unit]="no-such-command|bash=bash"; need unit').returncode == 0


FAKE = """
project=$1 venv=$1/.vitrine/venv
make_virtualenv() {
    echo made
    mkdir -p "$venv/bin"
    printf '#!/bin/sh\\n' >"$venv/bin/python"
    chmod +x "$venv/bin/python"
    $2
}
virtualenv
"""


def test_the_virtual_environment_is_made_when_it_must_be(tmp_path):
    """Once; again when the lock has changed, when it is broken, and when making it was interrupted."""
    lock = tmp_path / "requirements.lock"
    lock.write_text("one")
    made = lambda end="true": in_bash(FAKE.replace("$2", end), str(tmp_path)).stdout == "made\n"  # noqa: E731
    assert made("false")
    assert made()
    assert not made()
    lock.write_text("two")
    assert made()
    (tmp_path / ".vitrine/venv/bin/python").write_text("#!/bin/sh\nexit 1\n")
    assert made()
    assert not made()


def test_the_lock_names_uv_with_hashes():
    """set-up takes uv's own lines out of the lock, to fetch it by pip."""
    lines = subprocess.run(
        ["sed", "-n", "/^uv==/,/^    #/p", PROJECT / "requirements.lock"], capture_output=True, text=True, check=True
    ).stdout
    assert lines.startswith("uv==")
    assert lines.count("--hash=sha256:") > 1
    assert lines.count("==") == 1


def test_scripts_are_sound_bash():
    """Each is executable and parses."""
    for path in [*pathlib.Path(PROJECT / "scripts").iterdir(), PROJECT / ".ci" / "run"]:
        if path.is_file():
            subprocess.run(["bash", "-n", path], check=True)
            assert path.name == "setup.sh" or os.access(path, os.X_OK), path


def test_ci_runs_what_developers_run():
    """.ci/run is scripts/test."""
    run = subprocess.run([PROJECT / ".ci" / "run", "--help"], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("scripts/test ")
    assert '/../scripts/test" --changed "$@"' in (PROJECT / ".ci" / "run").read_text()


def test_python_is_the_environments_own():
    """The tests run with what requirements.lock says."""
    assert sys.version_info >= (3, 11)
