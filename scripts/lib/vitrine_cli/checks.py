"""scripts/test: linters, unit tests and Molecule scenarios. What it takes is described in that file."""

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

from vitrine_cli import dependencies, local, processes, screen
from vitrine_cli.site import BESIDE_INVENTORIES, PROJECT, TEST_INVENTORIES, RefusedError, load_site

LINTERS = {
    "ansible-lint": ["ansible-lint", "--offline", "--strict"],
    "yamllint": ["yamllint", "--strict", "."],
    "ruff-check": ["ruff", "check", "--no-cache"],
    "ruff-format": ["ruff", "format", "--no-cache", "--check"],
    "docs": ["mkdocs", "build", "--strict", "--site-dir", ".vitrine/site"],
}
# What scenarios need on this machine: sets of packages, as scripts/setup.sh knows them.
PACKAGES = ("containers", "cloud", "browser")
LINES_SHOWN = 60
# As Molecule says that it begins with one of its steps.
STEP = re.compile(r"INFO +\[\S+ > (\w+)\] Executing$")
# As it says that one has failed; what follows is how the scenario takes its hosts down.
FAILED_STEP = re.compile(r"(ERROR|CRITICAL) +\[\S+ > \w+\]")
UNIT_SUMMARY = re.compile(r"(\d+) (passed|failed|errors?)\b")
UNCHANGED = "unchanged since it passed"
# Two rows of scenarios write records.
RECORDS_LOCK = threading.Lock()


@dataclasses.dataclass
class Phase:
    """What is run at a time.

    Attributes:
        name: str.
        kind: str: lint, unit or scenario.
        command: list of str.
        builds_on: list of str, scenarios without whose success it makes no sense.
        beside: bool, whether it shares no host with any other, and runs beside them.
        mitogen: str, what mitogen's strategy runs: all of the scenario's tasks, or those that apply the layers below
            (prepare); empty for none.
        outcome: str: passed, failed, skipped or left out; empty before it ran.
        passed, failed: int, how many checks it counts for.
        seconds: float.
        note: str, what else there is to say.
        child: subprocess.Popen, what runs or ran it.
    """

    name: str
    kind: str
    command: list[str]
    builds_on: list[str] = dataclasses.field(default_factory=list)
    beside: bool = False
    mitogen: str = ""
    outcome: str = ""
    passed: int = 0
    failed: int = 0
    seconds: float = 0.0
    note: str = ""
    child: subprocess.Popen | None = None


def parse(arguments):
    """Parse the command line (list of str); returns an argparse.Namespace."""
    parser = argparse.ArgumentParser(
        "scripts/test",
        usage="scripts/test [--changed] [--lint] [--unit] [--scenario NAME]... [--plain] [--keep-snapshots] [--list]   "
        "(--help says more)",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("--changed", action="store_true")
    parser.add_argument("--lint", action="store_true")
    parser.add_argument("--unit", action="store_true")
    parser.add_argument("--scenario", action="append", default=[])
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--keep-snapshots", action="store_true")
    parser.add_argument("--list", action="store_true")
    return parser.parse_args(arguments)


def scenarios(project=PROJECT):
    """Find the scenarios.

    Args:
        project: pathlib.Path of the checkout.

    Returns:
        A dict from the names, in the order in which they run, to lists of str: the layers that each builds on.
    """
    layers = yaml.safe_load((project / "group_vars/all/site.yml").read_text())["layers"]
    found = {path.parent.name for path in (project / "molecule").glob("*/molecule.yml")}
    order = [name for name in layers if name in found] + sorted(found - set(layers))
    return {name: below(name, traits(project), layers) for name in order}


def traits(project=PROJECT):
    """Return what molecule/scenarios.yml says of scenarios.

    Args:
        project: pathlib.Path of the checkout.

    Returns:
        A dict from their names to dicts; those of which nothing is said are missing.
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
    """Tell which scenarios passed at the state that all they depend on has now.

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
    """Compose the phases that a request asks for.

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
            raise RefusedError(f"There is no scenario '{name}': wanted is one of {', '.join(known)}.")
        if name in impossible:
            raise RefusedError(f"The scenario '{name}' cannot be run here: {impossible[name]}.")
    everything = not (options.lint or options.unit or options.scenario)
    phases = []
    if options.lint or everything:
        phases += [Phase(name, "lint", command, beside=True) for name, command in LINTERS.items()]
    if options.unit or everything:
        phases.append(Phase("unit", "unit", ["pytest", "-p", "no:cacheprovider", "tests/unit"]))
    phases += [
        Phase(
            name,
            "scenario",
            ["molecule", "test", "--scenario-name", name],
            builds_on,
            beside=known_traits.get(name, {}).get("hosts_of_its_own", False),
            mitogen="" if options.plain else "all" if known_traits.get(name, {}).get("mitogen") else "prepare",
        )
        for name, builds_on in known.items()
        if everything or name in options.scenario
    ]
    reasons = (same or {}) | impossible
    for phase in phases:
        if phase.kind == "scenario" and phase.name in reasons:
            phase.outcome, phase.note = "left out", reasons[phase.name]
    return phases


def run_phase(phase, pass_fds=()):
    """Run a phase, its output to reports/logs, and print its line.

    Args:
        phase: Phase; its outcome is noted in it.
        pass_fds: iterable of int, file descriptors that programs shall hold.

    Raises:
        InterruptedRunError: A signal told us to end.
    """
    log = PROJECT / "reports" / "logs" / f"{phase.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    used = log.with_suffix(".used")
    used.write_text("")
    # Those that somebody has set to run Molecule by hand are about another scenario.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MOLECULE_")}
    environment |= {"NO_COLOR": "1", "COLUMNS": "200"}
    if phase.kind == "scenario":
        # Molecule's own choice of a folder is the same for all checkouts of this name.
        environment["MOLECULE_EPHEMERAL_DIRECTORY"] = str(PROJECT / ".vitrine" / "molecule" / phase.name)
        environment["VITRINE_FILES_USED"] = str(used)
        environment |= strategy(phase.mitogen)
    else:
        # ansible-lint checks the playbooks' syntax, and ansible.cfg does not let them start without an inventory.
        environment["ANSIBLE_INVENTORY"] = str(PROJECT / "inventories" / "demo")
    checkout = dependencies.Checkout() if phase.kind == "scenario" else None
    before = checkout.state(phase.name) if checkout else ""
    begun = time.monotonic()
    steps: list[tuple[str, float]] = []
    with (
        log.open("w") as file,
        screen.working(phase.name, alone=not phase.beside) as show,
        processes.started(
            phase.command,
            pass_fds,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
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
        keep_record(phase, before, dependencies.Checkout().state(phase.name))
    screen.show_phase(phase.name, phase.outcome, phase.seconds, phase.note)
    if phase.outcome == "failed":
        show_end(log)


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
    # molecule/prepare.yml reads it.
    return {"VITRINE_MITOGEN": plugins} | (everything if mitogen == "all" else {})


def check_used(phase, checkout, used):
    """Fail a scenario that used a file on which it is not known to depend: a change there would not make it run.

    Args:
        phase: Phase, which has ended.
        checkout: dependencies.Checkout.
        used: list of str, paths of files and folders relative to the checkout, as the callback files_used lists them.
    """
    known = set(checkout.dependencies(phase.name))
    strays = {path for each in used for path in checkout.below(each)} - known
    if strays and phase.outcome == "passed":
        phase.outcome, phase.passed, phase.failed = "failed", 0, 1
        phase.note = f"used what it is not known to depend on (molecule/scenarios.yml): {', '.join(sorted(strays))}"


def keep_record(phase, before, after):
    """Note in molecule/passed.txt how a scenario ended.

    Args:
        phase: Phase, which has ended.
        before, after: str, the states of all that it depends on, before and after the run.
    """
    if dependencies.unusual():
        return
    # Files that changed meanwhile: nobody knows at which of the two states it passed.
    passed_at = after if phase.outcome == "passed" and before == after else None
    with RECORDS_LOCK:
        dependencies.record(phase.name, passed_at)


def describe_steps(steps, ended):
    """Say how long Molecule's steps took.

    Args:
        steps: list of (name, time of its begin).
        ended: float, the time when the last one ended.

    Returns:
        A str such as `create 8, converge 30`, empty without steps.
    """
    pairs = itertools.pairwise([*steps, ("", ended)])
    return ", ".join(f"{name} {end - begun:.0f}" for (name, begun), (_, end) in pairs)


def conclude(phase, code, output):
    """Note how a phase ended.

    Args:
        phase: Phase.
        code: int, the exit status.
        output: str.
    """
    phase.outcome = "failed" if code else "passed"
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
        phase.passed, phase.failed = (0, 1) if code else (1, 0)


def show_end(log):
    """Print what a log (pathlib.Path) has last before the failure, and where the rest is."""
    for line in before_failure(log.read_text().splitlines()):
        screen.console.print(f"    | {line}", markup=False)
    screen.console.print(f"    the whole output: {log}", markup=False)


def before_failure(lines):
    """Return the last of the lines (list of str) up to the first that says that a step failed, else up to the end."""
    end = next((number for number, line in enumerate(lines, 1) if FAILED_STEP.match(line)), len(lines))
    return lines[max(0, end - LINES_SHOWN) : end]


def run_all(phases, pass_fds=()):
    """Run phases one after the other, except those that build on what has failed; beside them those that may.

    Args:
        phases: list of Phase; outcomes are noted in them.
        pass_fds: iterable of int, file descriptors that programs shall hold.

    Raises:
        InterruptedRunError: A signal told us to end.
    """
    broken: set[str] = set()
    beside = [phase for phase in phases if phase.beside]

    def run(phase):
        if phase.outcome == "left out":
            screen.show_phase(phase.name, phase.outcome, 0.0, phase.note)
            return
        missing = [name for name in phase.builds_on if name in broken]
        if missing:
            phase.outcome, phase.failed, phase.note = "skipped", 1, f"not run: builds on {missing[0]}, which failed"
            screen.show_phase(phase.name, phase.outcome, 0.0, phase.note)
        else:
            run_phase(phase, pass_fds)
        if phase.outcome != "passed":
            broken.add(phase.name)

    with lane(run) as put:
        put(phase for phase in beside if phase.kind != "scenario")
        for phase in (phase for phase in phases if not phase.beside):
            ran = not phase.outcome
            run(phase)
            # Not earlier: the first scenario makes the image that all hosts start from.
            if phase.kind == "scenario" and ran:
                put(beside)
        put(beside)


@contextlib.contextmanager
def lane(run):
    """Run phases beside others, one after the other.

    Args:
        run: function that takes a Phase.

    Yields:
        A function that takes an iterable of Phase, and puts those of them into the lane that are not in it.

    Raises:
        InterruptedRunError: A signal told us to end; the one that ran has ended, and what it had is taken down.
    """
    jobs = {}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        def put(phases):
            for phase in phases:
                if phase.name not in jobs:
                    jobs[phase.name] = phase, pool.submit(run, phase)

        try:
            yield put
            for _, job in jobs.values():
                job.result()
        except BaseException:
            for _, job in jobs.values():
                job.cancel()
            for phase, _ in jobs.values():
                if phase.child and not phase.outcome:
                    processes.end(phase.child)
                    if phase.kind == "scenario":
                        command = ["molecule", "destroy", "--scenario-name", phase.name]
                        subprocess.run(command, cwd=PROJECT, check=False)
            raise


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
    # What an interruption kept from running has not passed.
    failed = sum(phase.failed or (not phase.outcome) for phase in phases)
    screen.show_phase("all", "failed" if failed else "passed", time.monotonic() - screen.STARTED)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


@contextlib.contextmanager
def hosts_of_tests(site, options):
    """Take a test site's hosts down at the end, and its snapshots unless they shall be kept.

    Args:
        site: Site.
        options: argparse.Namespace, as from parse.

    Yields:
        The lock's file descriptor (int).
    """
    with processes.lock(site, "scripts/test") as descriptor:
        try:
            yield descriptor
        finally:
            begun = time.monotonic()
            if local.remains(site):
                log = PROJECT / "reports" / "logs" / f"clean-up-{site.name}.log"
                log.parent.mkdir(parents=True, exist_ok=True)
                command = ["ansible-playbook", *site.inventory_arguments, "playbooks/destroy.yml"]
                with log.open("w") as file, processes.started(command, stdout=file, stderr=file) as child:
                    child.wait()
            local.end_connections(site)
            if not options.keep_snapshots:
                local.remove_snapshots(site)
            local.tidy(site)
            left = local.remains(site)
            outcome = "failed" if left else "done"
            screen.show_phase(f"clean-up {site.name}", outcome, time.monotonic() - begun, ", ".join(left))


def main(arguments):
    """Carry out a request.

    Args:
        arguments: list of str, the command line.

    Returns:
        The exit code (int).
    """
    processes.catch_signals()
    options = parse(arguments)
    phases: list[Phase] = []
    try:
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
        if any(phase.kind == "scenario" and not phase.outcome for phase in phases):
            if os.geteuid() != 0:
                raise RefusedError(
                    "The scenarios' hosts are root's containers: run this as root, or with --lint --unit."
                )
            sites = [load_site(sources) for sources in (TEST_INVENTORIES, BESIDE_INVENTORIES)]
            with contextlib.ExitStack() as stack:
                descriptors = [stack.enter_context(hosts_of_tests(site, options)) for site in sites]
                processes.need(*PACKAGES)
                run_all(phases, descriptors)
        else:
            run_all(phases)
    except RefusedError as problem:
        screen.complain(problem)
        return 2
    except processes.InterruptedRunError as interruption:
        screen.complain(f"Ended by {interruption}.")
        show_recap(phases)
        return 128 + interruption.number
    return show_recap(phases)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
