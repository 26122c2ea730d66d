"""The gate: nothing is built on a layer unless the hosts keep its promises.

Runs the Testinfra checks below tests/<layer> once for the play, on the controller. They get the data of the run,
including resolved variables, in an inventory file that only its owner can read and that is removed afterwards.
"""

from __future__ import annotations

import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from ansible.errors import AnsibleActionFail
from ansible.parsing.ajson import AnsibleJSONEncoder
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

PROJECT = pathlib.Path(__file__).resolve().parents[2]
SECRET_NAME = re.compile(r"password|secret|token", re.IGNORECASE)
SUDO_ASKS = re.compile(r"sudo: a (password|terminal) is required")
# Ansible's connection variables; all other ansible_* variables describe the run.
CONNECTION = re.compile(
    r"ansible_(host|port|user|become(_user|_method)?|connection|ssh_.*|private_key_file|python_interpreter)$"
)
# Pytest skips a check of hosts if Testinfra finds none.
NO_HOSTS = "Skipped: got empty parameter set for (_testinfra_host"
# A single SSH connection per host for all checks.
SSH_CONFIGURATION = """\
[ssh_connection]
ssh_args = -o ControlMaster=auto -o ControlPersist=60s -o ControlPath={folder}/gate-%%C
"""


def parse_report_log(lines):
    """Collect the checks of a pytest report log.

    Args:
        lines: Iterable of str, the lines of a pytest-reportlog file.

    Returns:
        A list of dicts with the keys host, check, promise, outcome (passed, failed or skipped), seconds (float),
        reason (str, empty unless it was skipped), seen and journal (both str, empty unless it failed), and a list of
        str: errors while collecting.
    """
    checks: dict[str, dict] = {}
    problems = []
    for line in lines:
        entry = json.loads(line)
        kind = entry.get("$report_type")
        if kind == "CollectReport" and entry["outcome"] == "failed":
            problems.append(str(entry["longrepr"]).strip())
        if kind != "TestReport":
            continue
        properties = dict(entry["user_properties"])
        check = checks.setdefault(
            entry["nodeid"],
            {
                "host": properties.get("host", "localhost"),
                "check": entry["nodeid"].partition("::")[2],
                "promise": properties.get("promise", ""),
                "outcome": "passed",
                "seconds": 0.0,
                "reason": "",
                "seen": "",
                "journal": "",
            },
        )
        check["promise"] = properties.get("promise") or check["promise"]  # a check may have counted by now
        check["seconds"] = round(check["seconds"] + entry["duration"], 2)
        if entry["outcome"] == "skipped" and check["outcome"] == "passed":
            check["outcome"] = "skipped"
            # The file, the line and the reason.
            check["reason"] = reason_of(str(entry["longrepr"][-1]), properties.get("groups", []))
        if entry["outcome"] == "failed":
            check["outcome"] = "failed"
            check["seen"] = check["seen"] or seen_of(entry["longrepr"])
            check["journal"] = properties.get("journal", "")
    return list(checks.values()), problems


def reason_of(skipped, groups):
    """Describe why a check was skipped.

    Args:
        skipped: str, pytest's text.
        groups: list of str, the groups on whose hosts the check runs.

    Returns:
        A str: the reason that the check gave, or that no host is in the check's groups.
    """
    if not skipped.startswith(NO_HOSTS):
        return skipped.removeprefix("Skipped: ")
    return f"the site has no host in the group {' or '.join(groups)}" if groups else "the site has no such hosts"


def seen_of(longrepr):
    """Describe in a line what a failed check saw.

    Args:
        longrepr: pytest's representation of the failure: a dict with reprcrash, a str, or None.

    Returns:
        A str: the message of the assertion without pytest's own introspection below it.
    """
    if isinstance(longrepr, dict) and longrepr.get("reprcrash"):
        message = longrepr["reprcrash"]["message"]
    else:
        message = str(longrepr)
    message = re.sub(r"^AssertionError: ", "", message)
    return message.split("\nassert ")[0].strip()


def count_left_out(checks):
    """Count the checks that were left out.

    Args:
        checks: list of dict, as from parse_report_log.

    Returns:
        A dict from reasons (str) to numbers (int).
    """
    return dict(collections.Counter(check["reason"] for check in checks if check["outcome"] == "skipped"))


def role_inputs(loader, roles=PROJECT / "roles"):
    """Read what the roles take where the run has no other value.

    Args:
        loader: Ansible's DataLoader.
        roles: pathlib.Path of the folder of roles.

    Returns:
        Two dicts from names to values: the roles' inputs, and the variables to which those may refer.
    """
    inputs: dict = {}
    others: dict = {}
    for part, found in (("defaults", inputs), ("vars", others)):
        for path in sorted(roles.glob(f"*/{part}/main.yml")):
            found |= loader.load_from_file(str(path), trusted_as_template=True) or {}
    return inputs, others


def judge(checks, problems, exit_code):
    """Decide on the outcome of a gate.

    Args:
        checks: list of dict, as from parse_report_log.
        problems: list of str, errors while collecting.
        exit_code: int, pytest's exit status.

    Returns:
        A tuple (outcome, reason): outcome is verified or failed; reason is a str, empty if verified. A gate that ran
        no check, skipped all of them or ended unexpectedly has failed.
    """
    failed = [check for check in checks if check["outcome"] == "failed"]
    passed = [check for check in checks if check["outcome"] == "passed"]
    if problems:
        return "failed", "the checks could not be read: " + "; ".join(problems)
    if failed:
        return "failed", f"{len(failed)} of {len(checks)} promises not kept"
    if not passed:
        return "failed", "no check ran"
    if exit_code != 0:
        return "failed", f"the checks ended with pytest's exit status {exit_code}"
    return "verified", ""


def own_checks(folder, layer):
    """Find the site's own checks for a gate.

    Args:
        folder: str, the folder with a folder for each gate.
        layer: str.

    Returns:
        A list of pathlib.Path: the folder of the gate, if it has checks.
    """
    own = pathlib.Path(folder, layer)
    return [own] if list(own.glob("test_*.py")) else []


def pytest_command(tests, inventory, log):
    """Compose the command that runs the checks of a folder.

    Args:
        tests: pathlib.Path of the folder.
        inventory, log: pathlib.Path of the run's inventory and of the report log to write.

    Returns:
        A list of str.
    """
    # Checks outside of tests/ need tests/conftest.py as a plugin; inside, pytest finds the file itself.
    fixtures = [] if tests.is_relative_to(PROJECT / "tests") else ["-p", "conftest"]
    return [
        *(sys.executable, "-m", "pytest", "--quiet", "--tb=short", "-p", "no:cacheprovider", *fixtures),
        *(f"--rootdir={PROJECT}", f"--config-file={PROJECT / 'pyproject.toml'}"),
        *(f"--ansible-inventory={inventory}", f"--report-log={log}", str(tests)),
    ]


class ActionModule(ActionBase):
    """Verify a layer once for all hosts of the play."""

    BYPASS_HOST_LOOP = True
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Run the gate; the result carries `report` for the recap."""
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            {"layer": {"type": "str", "required": True}, "group": {"type": "str"}}
        )
        layer = arguments["layer"]
        group = arguments["group"] or layer
        tests = PROJECT / "tests" / layer
        if not tests.is_dir():
            raise AnsibleActionFail(f"verify_layer: layer is '{layer}'; expected a layer with checks in {tests}")

        wanted = list(task_vars["groups"].get(group, []))
        present = [host for host in wanted if host in task_vars["ansible_play_hosts"]]
        # Not excluded by --limit, but lost during the run: failed or unreachable in an earlier play.
        dropped = [host for host in wanted if host in task_vars["ansible_play_hosts_all"] and host not in present]
        report = {
            "layer": layer,
            "outcome": "not verified",
            "reason": "",
            "hosts": present,
            "not_verified_on": [host for host in wanted if host not in present],
            "passed": 0,
            "failed": 0,
            "left_out": {},
            "seconds": 0.0,
            "checks": [],
        }
        if self._task.check_mode:
            report["reason"] = "check mode changes nothing, so there was nothing new to verify"
        elif dropped:
            report["outcome"] = "failed"
            report["reason"] = f"{', '.join(dropped)} dropped out of this run, failed or unreachable"
        elif not present:
            report["reason"] = f"no host of the group {group} takes part in this run"
        else:
            started = time.monotonic()
            folders = [tests, *own_checks(self._templar.template(task_vars["site_tests_dir"]), layer)]
            checks, problems, exit_code, output = self._run_checks(folders, group, present, task_vars)
            report["seconds"] = round(time.monotonic() - started, 1)
            report["checks"] = checks
            report["passed"] = sum(check["outcome"] == "passed" for check in checks)
            report["failed"] = sum(check["outcome"] == "failed" for check in checks)
            report["left_out"] = count_left_out(checks)
            report["outcome"], report["reason"] = judge(checks, problems, exit_code)
            if report["outcome"] == "failed" and not report["failed"]:
                report["reason"] += "\n" + output

        folder = pathlib.Path(self._templar.template(task_vars["reports_dir"]))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{layer}.json").write_text(json.dumps(report, indent=2) + "\n")

        result["report"] = {key: value for key, value in report.items() if key != "checks"}
        result["report"]["folder"] = str(folder)
        if report["outcome"] == "failed":
            result["failed"] = True
            result["msg"] = describe_failure(report)
        else:
            result["msg"] = f"{layer}: {report['outcome']}, {report['passed']} checks passed"
            for reason, number in report["left_out"].items():
                result["msg"] += f", {number} left out ({reason})"
            if report["reason"]:
                result["msg"] += f" ({report['reason']})"
        return result

    def _run_checks(self, folders, group, present, task_vars):
        """Run pytest in each folder; returns (checks, problems, exit status, output), with secrets removed from all.

        The exit status is the first that is not zero.
        """
        checks, problems, exit_code, output = [], [], 0, ""
        with tempfile.TemporaryDirectory(prefix="vitrine-gate.") as folder:  # mode 0700
            inventory, secrets = self._describe_run(group, present, task_vars)
            inventory_file = pathlib.Path(folder, "inventory.json")
            inventory_file.touch(mode=0o600)
            inventory_file.write_text(json.dumps(inventory, cls=AnsibleJSONEncoder, preprocess_unsafe=False))
            # The gate has its own ansible.cfg, so that no unresolved group_vars are read again.
            configuration = pathlib.Path(folder, "ansible.cfg")
            connections = os.environ.get("ANSIBLE_SSH_CONTROL_PATH_DIR", "~/.ansible/cp")
            configuration.write_text(SSH_CONFIGURATION.format(folder=connections))
            environment = dict(os.environ, ANSIBLE_CONFIG=str(configuration))
            environment["PATH"] = f"{pathlib.Path(sys.executable).parent}:{environment['PATH']}"
            # The gate's inventory is complete: one from the environment must not be mixed in.
            environment.pop("ANSIBLE_INVENTORY", None)
            hide = redactor(secrets)
            for number, tests in enumerate(folders):
                log = pathlib.Path(folder, f"report-{number}.jsonl")
                run = subprocess.run(
                    pytest_command(tests, inventory_file, log),
                    cwd=PROJECT,
                    # For checks outside of tests/, which import conftest.
                    env=environment | {"PYTHONPATH": str(PROJECT / "tests")},
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                lines = log.read_text().splitlines() if log.exists() else []
                more_checks, more_problems = parse_report_log(map(hide, lines))
                checks += more_checks
                problems += more_problems
                exit_code = exit_code or run.returncode
                output += hide(run.stdout + run.stderr)
        return checks, problems, exit_code, output

    def _describe_run(self, verified, present, task_vars):
        """Return the run's inventory with every variable resolved, and the secret values among them."""
        hostvars = task_vars["hostvars"]
        inputs, others = role_inputs(self._loader)
        secrets = set()
        resolved = {}
        # Without ungrouped hosts: those are servers listed by a cloud's inventory, under their names in the cloud.
        for host in set(task_vars["groups"]["all"]) - set(task_vars["groups"].get("ungrouped", [])):
            resolved[host] = {}
            own = hostvars.raw_get(host)
            # No role runs in the gate's play, so that the roles' defaults are not among the host's variables.
            raw = {**others, **inputs, **own, "hostvars": hostvars}
            templar = self._templar.copy_with_new_env(available_variables=raw)
            for name in dict.fromkeys([*inputs, *own]):
                if name.startswith(("ansible_", "molecule_")) and not CONNECTION.match(name):
                    continue
                if name in ("groups", "group_names", "hostvars", "omit", "environment", "vars"):
                    continue
                # Provisioning variables are slow: for each host, they are composed from the variables of all hosts.
                if name.startswith("provision_"):
                    continue
                try:
                    value = templar.template(raw[name])
                    json.dumps(value, cls=AnsibleJSONEncoder)
                except Exception as problem:  # no promise depends on a variable that cannot be resolved
                    # Most roles do not run on the host, and their defaults refer to what it does not have.
                    if name in own:
                        display.warning(f"verify_layer: {host}: {name} left out: {problem}")
                    continue
                resolved[host][name] = value
                secrets |= secrets_of(name, value)
        inventory = {
            group: {"hosts": dict.fromkeys(hosts if group != verified else present)}
            for group, hosts in task_vars["groups"].items()
            if group not in ("all", "ungrouped")
        }
        return {"all": {"hosts": resolved, "children": inventory}}, secrets


def secrets_of(name, value):
    """Find the secrets in a variable.

    Args:
        name: str, the variable or key.
        value: any value, templates resolved.

    Returns:
        A set of str: texts of eight characters or more under names of secrets, also within lists and dictionaries.
    """
    if isinstance(value, dict):
        return {secret for key, each in value.items() for secret in secrets_of(str(key), each)}
    if isinstance(value, list):
        return {secret for each in value if isinstance(each, dict) for secret in secrets_of(name, each)}
    return {value} if SECRET_NAME.search(name) and isinstance(value, str) and len(value) > 7 else set()


def redactor(secrets):
    """Return a function that replaces all `secrets` (an iterable of str) in a text by asterisks."""
    if not secrets:
        return lambda text: text
    pattern = re.compile("|".join(re.escape(secret) for secret in sorted(secrets, key=len, reverse=True)))
    return lambda text: pattern.sub("********", text)


def describe_failure(report):
    """Describe a failed gate, with a paragraph per promise: host, promise, what was seen, last lines of the journal.

    Args:
        report: dict, as written to the report file.

    Returns:
        A str for the operator.
    """
    lines = [f"Layer {report['layer']}: {report['reason']}. Nothing above it was applied."]
    for check in report["checks"]:
        if check["outcome"] == "failed":
            lines.append(f"  {check['host']}: promised: {check['promise']}")
            lines.append(f"  {' ' * len(check['host'])}  seen:     {check['seen']}")
            lines.extend(f"      | {line}" for line in check["journal"].splitlines())
    if any(SUDO_ASKS.search(check["seen"]) for check in report["checks"] if check["outcome"] == "failed"):
        lines.append(
            "sudo asks for a password, but the gates do not get one, not even with --ask-become-pass or "
            "ansible_become_password. Allow NOPASSWD for Ansible's user on the hosts (docs/before-you-start.md)."
        )
    return "\n".join(lines)
