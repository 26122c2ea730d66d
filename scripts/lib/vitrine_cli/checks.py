"""scripts/test: linters, unit tests and Molecule scenarios. The options are described in that file."""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import importlib.util
import itertools
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

import yaml
from rich.table import Table

from vitrine_cli import dependencies, lanes, local, processes, screen
from vitrine_cli.site import PROJECT, TEST_INVENTORIES, RefusedError, load_site

LINTERS = {
    "ansible-lint": ["ansible-lint", "--offline", "--strict"],
    "yamllint": ["yamllint", "--strict", "."],
    "ruff-check": ["ruff", "check", "--no-cache"],
    "ruff-format": ["ruff", "format", "--no-cache", "--check"],
    "docs": ["mkdocs", "build", "--strict", "--site-dir", ".vitrine/site"],
}
# The sets of packages (scripts/setup.sh) that scenarios need on this machine.
PACKAGES = ("containers", "cloud", "browser")
LINES_SHOWN = 60
# Number of scenarios that run side by side. They often wait, so that three keep two cores busy.
LANES = 3
# Molecule's message at the beginning of a step.
STEP = re.compile(r"INFO +\[\S+ > (\w+)\] Executing$")
# Its message after a step has failed. The lines that follow are about the removal of the hosts.
FAILED_STEP = re.compile(r"(ERROR|CRITICAL) +\[\S+ > \w+\]")
UNIT_SUMMARY = re.compile(r"(\d+) (passed|failed|errors?)\b")
UNCHANGED = "unchanged since it passed"
# Several threads write records.
RECORDS_LOCK = threading.Lock()


@dataclasses.dataclass
class Phase:
    """A linter, the unit tests or a scenario: the unit that runs, passes or fails as a whole.

    Attributes:
        name: str.
        kind: str: lint, unit, scenario, or start: a layer's scenario that passed before, and that only creates the
            snapshot from which others start.
        command: list of str.
        builds_on: list of str, the scenarios that must have passed before.
        needs_lane: bool, whether its hosts are those of the test site, of which each lane has a copy.
        mitogen: str, the tasks that Mitogen's strategy runs: all, or prepare for those that apply the layers below;
            empty for none.
        outcome: str: passed, prepared (a start), failed, skipped or left out; empty before it ran.
        passed, failed: int, numbers of checks.
        seconds: float.
        note: str, a remark for the output.
        child: subprocess.Popen, the process that runs or ran it.
    """

    name: str
    kind: str
    command: list[str]
    builds_on: list[str] = dataclasses.field(default_factory=list)
    needs_lane: bool = False
    mitogen: str = ""
    outcome: str = ""
    passed: int = 0
    failed: int = 0
    seconds: float = 0.0
    note: str = ""
    child: subprocess.Popen | None = None

    @property
    def has_hosts(self):
        """Return whether it creates hosts (bool)."""
        return self.kind in ("scenario", "start")


def parse(arguments):
    """Parse the command line (list of str); returns an argparse.Namespace."""
    parser = argparse.ArgumentParser(
        "scripts/test",
        usage="scripts/test [--changed] [--lint] [--unit] [--scenario NAME]... [--plain] [--lanes N] "
        "[--keep-snapshots] [--list]   (--help says more)",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("--changed", action="store_true")
    parser.add_argument("--lint", action="store_true")
    parser.add_argument("--unit", action="store_true")
    parser.add_argument("--scenario", action="append", default=[])
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--lanes", type=int, default=LANES, choices=range(1, 10), metavar="N")
    parser.add_argument("--keep-snapshots", action="store_true")
    parser.add_argument("--list", action="store_true")
    return parser.parse_args(arguments)


def scenarios(project=PROJECT):
    """Find the scenarios.

    Args:
        project: pathlib.Path of the checkout.

    Returns:
        A dict from the names, in the order in which they start, to lists of str: the layers that each builds on.
    """
    layers = yaml.safe_load((project / "group_vars/all/site.yml").read_text())["layers"]
    found = {path.parent.name for path in (project / "molecule").glob("*/molecule.yml")}
    known_traits = traits(project)
    order = list(dict.fromkeys([*layers, *known_traits, *sorted(found)]))
    return {name: below(name, known_traits, layers) for name in order if name in found}


def traits(project=PROJECT):
    """Return the properties of scenarios from molecule/scenarios.yml.

    Args:
        project: pathlib.Path of the checkout.

    Returns:
        A dict from names to dicts, without scenarios that have no entry.
    """
    return dependencies.read_metadata(project)["scenarios"]


def below(name, known_traits, layers):
    """Return the layers that a scenario builds on.

    Args:
        name: str, the scenario.
        known_traits: dict, as from traits.
        layers: list of str, lowest first.

    Returns:
        A list of str.
    """
    if name in layers:
        return layers[: layers.index(name)]
    top = known_traits.get(name, {}).get("on_top_of")
    return layers[: layers.index(top) + 1] if top else []


def left_out(known, official_zip, processor):
    """Tell which scenarios cannot be run here.

    Args:
        known: dict, as from scenarios.
        official_zip: str, a release of OMERO.server that takes the stand-in's place; empty for the stand-in.
        processor: str, /proc/cpuinfo.

    Returns:
        A dict from scenarios to the reasons (str).
    """
    needs = {}
    if official_zip:
        needs["stand_in"] = "it is for the stand-in OMERO.server: run it without OMERO_SERVER_ZIP"
    if "amx_tile" in processor.split():
        needs["user_mode_linux"] = "User Mode Linux does not run on a processor with AMX (docs/testing.md)"
    wanted = {name: each.get("needs") for name, each in traits().items()}
    return {name: needs[wanted[name]] for name in known if wanted.get(name) in needs}


def unchanged(known):
    """Tell which scenarios have passed and have unchanged dependencies.

    Args:
        known: dict, as from scenarios.

    Returns:
        A dict from their names to the reason why they can be left out (str).
    """
    if other := dependencies.unusual():
        screen.console.print(f"    records are about runs without {', '.join(other)}: nothing is left out")
        return {}
    checkout, records = dependencies.Checkout(), dependencies.read_records()
    return {name: UNCHANGED for name in known if records.get(name) == checkout.state(name)}


def plan(options, known, impossible=None, same=None):
    """Compose the requested phases.

    Args:
        options: argparse.Namespace, as from parse.
        known: dict, as from scenarios.
        impossible: dict, as from left_out.
        same: dict, as from unchanged.

    Returns:
        A list of Phase, in order.

    Raises:
        RefusedError: There is no such scenario, or it cannot be run here.
    """
    impossible = impossible or {}
    known_traits = traits()
    for name in options.scenario:
        if name not in known:
            raise RefusedError(f"There is no scenario '{name}': expected one of {', '.join(known)}.")
        if name in impossible:
            raise RefusedError(f"The scenario '{name}' cannot be run here: {impossible[name]}.")
    everything = not (options.lint or options.unit or options.scenario)
    phases = []
    if options.lint or everything:
        phases += [Phase(name, "lint", command) for name, command in LINTERS.items()]
    if options.unit or everything:
        phases.append(Phase("unit", "unit", ["pytest", "-p", "no:cacheprovider", "tests/unit"]))
    phases += [
        Phase(
            name,
            "scenario",
            ["molecule", "test", "--scenario-name", name],
            builds_on,
            needs_lane=not known_traits.get(name, {}).get("hosts_of_its_own", False),
            mitogen="" if options.plain else "all" if known_traits.get(name, {}).get("mitogen") else "prepare",
        )
        for name, builds_on in known.items()
        if everything or name in options.scenario
    ]
    reasons = (same or {}) | impossible
    for phase in phases:
        if phase.kind == "scenario" and phase.name in reasons:
            phase.outcome, phase.note = "left out", reasons[phase.name]
    make_starts(phases)
    return phases


def make_starts(phases):
    """Make layers that passed before run once, without tests, if several scenarios start with them.

    Args:
        phases: list of Phase; such layers are no longer left out.
    """
    tops = [
        phase.builds_on[-1] for phase in phases if phase.kind == "scenario" and not phase.outcome and phase.builds_on
    ]
    for phase in phases:
        if phase.note == UNCHANGED and tops.count(phase.name) > 1:
            steps = " && ".join(
                f"molecule {step} --scenario-name {phase.name}" for step in ("converge", "side-effect", "destroy")
            )
            phase.kind, phase.outcome, phase.note = "start", "", ""
            phase.command, phase.mitogen = ["bash", "-c", steps], phase.mitogen and "all"


def run_phase(phase, lane, pass_fds=()):
    """Run a phase, write its output to reports/logs, and print its line.

    Args:
        phase: Phase; its outcome is set.
        lane: lanes.Lane.
        pass_fds: iterable of int, file descriptors that programs keep open.

    Raises:
        InterruptedRunError: A signal ended the run.
    """
    log = PROJECT / "reports" / "logs" / f"{phase.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    used = log.with_suffix(".used")
    used.write_text("")
    # Variables of a manual run of Molecule belong to another scenario.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MOLECULE_")}
    environment |= {"NO_COLOR": "1", "COLUMNS": "200"}
    if phase.has_hosts:
        # By default, all checkouts of the same name share a folder.
        environment["MOLECULE_EPHEMERAL_DIRECTORY"] = str(PROJECT / ".vitrine" / "molecule" / phase.name)
        environment["VITRINE_FILES_USED"] = str(used)
        # Otherwise Molecule advises to move the scenarios, since galaxy.yml makes the checkout a collection.
        environment["MOLECULE_GLOB"] = "molecule/*/molecule.yml"
        environment |= strategy(phase.mitogen)
        command, added = placed(phase, lane)
        environment |= added
    else:
        command = phase.command
        # ansible-lint checks the playbooks' syntax, for which ansible.cfg requires an inventory.
        environment["ANSIBLE_INVENTORY"] = str(PROJECT / "inventories" / "demo")
    checkout = dependencies.Checkout() if phase.has_hosts else None
    before = checkout.state(phase.name) if checkout else ""
    begun = time.monotonic()
    steps: list[tuple[str, float]] = []
    with (
        log.open("w") as file,
        screen.working(phase.name, alone=False) as show,
        processes.started(
            command,
            pass_fds,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
            text=True,
            errors="replace",
        ) as child,
    ):
        phase.child = child
        for line in child.stdout:
            file.write(line)
            file.flush()
            if step := STEP.match(line):
                steps.append((step[1], time.monotonic()))
                show(f"{phase.name}: {step[1]}")
        code = child.wait()
    phase.seconds = time.monotonic() - begun
    phase.note = describe_steps(steps, time.monotonic())
    conclude(phase, code, log.read_text())
    if checkout:
        check_used(phase, checkout, used.read_text().splitlines())
        if phase.kind == "scenario":
            keep_record(phase, before, dependencies.Checkout().state(phase.name))
    screen.show_phase(phase.name, phase.outcome, phase.seconds, phase.note)
    if phase.outcome == "failed":
        show_end(log)


def placed(phase, lane, command=None):
    """Return how a scenario is run in a lane.

    Args:
        phase: Phase.
        lane: lanes.Lane.
        command: list of str; None for the phase's own.

    Returns:
        A tuple of the command (list of str) and what is added to its environment (dict of str).
    """
    command = command or phase.command
    return (lane.command(command), lane.environment) if phase.needs_lane else (command, {})


def strategy(mitogen):
    """Return the environment (dict of str) that has Ansible run tasks by mitogen's strategy (ADR 0021).

    Args:
        mitogen: str, as in Phase.
    """
    if not mitogen:
        return {}
    package = pathlib.Path(importlib.util.find_spec("ansible_mitogen").origin).parent
    plugins = str(package / "plugins" / "strategy")
    everything = {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": plugins}
    # Mitogen waits for a connection as long as Ansible does, 10 seconds, which a host on a busy machine may exceed.
    # molecule/prepare.yml reads VITRINE_MITOGEN.
    return {"VITRINE_MITOGEN": plugins, "ANSIBLE_TIMEOUT": "60"} | (everything if mitogen == "all" else {})


def check_used(phase, checkout, used):
    """Fail a scenario that used a file that is not among its dependencies, since changes to it would not cause a run.

    Args:
        phase: Phase, which has ended.
        checkout: dependencies.Checkout.
        used: list of str, paths of files and folders relative to the checkout, as the callback files_used lists them.
    """
    known = set(checkout.dependencies(phase.name))
    strays = {path for each in used for path in checkout.below(each)} - known
    if strays and phase.outcome in ("passed", "prepared"):
        phase.outcome, phase.passed, phase.failed = "failed", 0, 1
        phase.note = f"used files outside of its dependencies (molecule/scenarios.yml): {', '.join(sorted(strays))}"


def keep_record(phase, before, after):
    """Record in molecule/passed.txt whether a scenario passed.

    Args:
        phase: Phase, which has ended.
        before, after: str, the states of its dependencies before and after the run.
    """
    if dependencies.unusual():
        return
    # If files changed meanwhile, it is unknown with which of the two states it passed.
    passed_at = after if phase.outcome == "passed" and before == after else None
    with RECORDS_LOCK:
        dependencies.record(phase.name, passed_at)


def describe_steps(steps, ended):
    """Describe how long Molecule's steps took.

    Args:
        steps: list of (name, time of its begin).
        ended: float, the time when the last one ended.

    Returns:
        A str such as `create 8, converge 30`, empty without steps.
    """
    pairs = itertools.pairwise([*steps, ("", ended)])
    return ", ".join(f"{name} {end - begun:.0f}" for (name, begun), (_, end) in pairs)


def conclude(phase, code, output):
    """Set the outcome of a phase.

    Args:
        phase: Phase.
        code: int, the exit status.
        output: str.
    """
    phase.outcome = "failed" if code else "prepared" if phase.kind == "start" else "passed"
    if phase.kind == "unit":
        last = output.strip().splitlines()[-1] if output.strip() else ""
        counts = {word: int(number) for number, word in UNIT_SUMMARY.findall(last)}
        phase.passed = counts.get("passed", 0)
        phase.failed = counts.get("failed", 0) + counts.get("error", 0) + counts.get("errors", 0)
        phase.note = last.strip("= ")
        # Tests that were not even found must not look like success.
        if code and not phase.failed:
            phase.failed = 1
    else:
        phase.passed, phase.failed = int(phase.outcome == "passed"), int(bool(code))


def show_end(log):
    """Print the last lines before the failure from a log (pathlib.Path), and its path."""
    for line in before_failure(log.read_text().splitlines()):
        screen.console.print(f"    | {line}", markup=False)
    screen.console.print(f"    the whole output: {log}", markup=False)


def before_failure(lines):
    """Return the last of the lines (list of str) up to the first that says that a step failed, else up to the end."""
    end = next((number for number, line in enumerate(lines, 1) if FAILED_STEP.match(line)), len(lines))
    return lines[max(0, end - LINES_SHOWN) : end]


def run_all(phases, lane_list, pass_fds=(), image_exists=False):
    """Run phases side by side, each as soon as the scenarios that it builds on have passed and a lane is free.

    Args:
        phases: list of Phase; their outcomes are set.
        lane_list: list of lanes.Lane.
        pass_fds: iterable of int, file descriptors that programs keep open.
        image_exists: bool, whether the image that all hosts start from exists. If not, the first scenario builds it,
            and the others wait for that scenario.

    Raises:
        InterruptedRunError: A signal ended the run; its processes have ended, and their hosts are removed.
    """
    broken = set()
    waiting = []
    for phase in phases:
        if phase.outcome:
            screen.show_phase(phase.name, phase.outcome, 0.0, phase.note)
        else:
            waiting.append(phase)
    first = next((phase for phase in waiting if phase.has_hosts), None)
    builder = None if image_exists else first
    # The linters run while the other scenarios wait for the first one, if these have to wait.
    waiting.sort(key=lambda phase: 0 if phase is first else 2 if phase.has_hosts else 1)
    free, running = list(lane_list), {}

    def settle(phase):
        if phase.outcome not in ("passed", "prepared"):
            broken.add(phase.name)

    with concurrent.futures.ThreadPoolExecutor(len(lane_list)) as pool:
        try:
            while waiting or running:
                for phase in list(waiting):
                    if missing := [name for name in phase.builds_on if name in broken]:
                        phase.outcome, phase.failed = "skipped", 1
                        phase.note = f"not run: builds on {missing[0]}, which failed"
                        screen.show_phase(phase.name, phase.outcome, 0.0, phase.note)
                        waiting.remove(phase)
                        settle(phase)
                    elif free and not must_wait(phase, builder, waiting, [each for each, _ in running.values()]):
                        waiting.remove(phase)
                        lane = free.pop(0)
                        running[pool.submit(run_phase, phase, lane, pass_fds)] = phase, lane
                done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for job in done:
                    phase, lane = running.pop(job)
                    free.insert(0, lane)
                    job.result()
                    settle(phase)
        except BaseException:
            end_all(running.values())
            raise


def must_wait(phase, builder, waiting, running):
    """Tell whether a phase cannot start yet.

    Args:
        phase: Phase.
        builder: Phase, the scenario that builds the image that all hosts start from; None if none has to.
        waiting, running: list of Phase.

    Returns:
        A bool.
    """
    to_come = {each.name for each in [*waiting, *running]}
    if not phase.has_hosts or phase is builder:
        return False
    return bool(builder and builder.name in to_come) or any(name in to_come for name in phase.builds_on)


def end_all(running):
    """End running phases and remove their hosts (running: iterable of tuples of Phase and lanes.Lane)."""
    for phase, lane in running:
        if phase.child and not phase.outcome:
            processes.end(phase.child)
            if phase.has_hosts:
                command, added = placed(phase, lane, ["molecule", "destroy", "--scenario-name", phase.name])
                subprocess.run(command, cwd=PROJECT, env=os.environ | added, check=False)


def show_recap(phases):
    """Print a table of the phases, and as the last line how many checks passed and failed.

    Args:
        phases: list of Phase.

    Returns:
        The exit code (int).
    """
    table = Table("phase", "outcome", "passed", "failed", "seconds", box=None, pad_edge=False)
    for phase in phases:
        outcome = phase.outcome or "not run"
        table.add_row(phase.name, outcome, str(phase.passed), str(phase.failed), f"{phase.seconds:.0f}")
    screen.console.print()
    screen.console.print(table)
    passed = sum(phase.passed for phase in phases)
    # A phase that did not run because of an interruption has not passed.
    failed = sum(phase.failed or (not phase.outcome) for phase in phases)
    screen.show_phase("all", "failed" if failed else "passed", time.monotonic() - screen.STARTED)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


@contextlib.contextmanager
def hosts_of_tests(options):
    """Lock the test site and create the lanes; at the end remove all hosts, and the snapshots unless they are kept.

    Args:
        options: argparse.Namespace, as from parse.

    Yields:
        A tuple of a list of lanes.Lane and the lock's file descriptor (int).
    """
    site = load_site(TEST_INVENTORIES)
    with processes.lock(site, "scripts/test") as descriptor:
        processes.need(*PACKAGES)
        with lanes.lanes(options.lanes) as lane_list:
            try:
                yield lane_list, descriptor
            finally:
                # The first lane last, because the hosts of the other lanes are based on its snapshots.
                for lane in reversed(lane_list):
                    with lanes.entered(lane):
                        clean_up(lane, load_site(TEST_INVENTORIES), options)


def clean_up(lane, site, options):
    """Remove the remaining hosts of a lane.

    Args:
        lane: lanes.Lane, which has been entered.
        site: Site, as it is in that lane.
        options: argparse.Namespace, as from parse.
    """
    begun = time.monotonic()
    if local.remains(site):
        log = PROJECT / "reports" / "logs" / f"clean-up-{site.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = lane.command(["ansible-playbook", *site.inventory_arguments, "playbooks/destroy.yml"])
        with log.open("w") as file, processes.started(command, stdout=file, stderr=file) as child:
            child.wait()
    if not lane.number:
        local.end_connections(site)
        if not options.keep_snapshots:
            local.remove_snapshots(site)
    local.tidy(site)
    if left := local.remains(site):
        screen.show_phase(f"clean-up {site.name}", "failed", time.monotonic() - begun, ", ".join(left))
    elif not lane.number:
        screen.show_phase(f"clean-up {site.name}", "done", time.monotonic() - begun)


def request(arguments):
    """Run the requested phases.

    Args:
        arguments: list of str, the command line.

    Returns:
        The exit code (int).

    Raises:
        RefusedError: The request cannot be carried out.
    """
    options = parse(arguments)
    known = scenarios()
    processor = pathlib.Path("/proc/cpuinfo").read_text()
    impossible = left_out(known, os.environ.get("OMERO_SERVER_ZIP", ""), processor)
    phases = plan(options, known, impossible, unchanged(known) if options.changed else {})
    if options.list:
        for phase in phases:
            if phase.note != UNCHANGED:
                print(phase.name)
        return 0
    screen.show_setup()
    try:
        if any(phase.has_hosts and not phase.outcome for phase in phases):
            if os.geteuid() != 0:
                raise RefusedError(
                    "The scenarios' hosts are root's containers: run this as root, or with --lint --unit."
                )
            with hosts_of_tests(options) as (lane_list, descriptor):
                run_all(phases, lane_list, [descriptor], local.has_base_image(TEST_INVENTORIES))
        else:
            run_all(phases, [lanes.Lane(0)])
    except processes.InterruptedRunError:
        show_recap(phases)
        raise
    return show_recap(phases)


def main(arguments):
    """Run scripts/test (arguments: list of str; returns the exit code)."""
    return processes.carry_out(request, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
