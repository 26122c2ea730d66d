"""The gate's judgement, on report logs as pytest really writes them."""

import pathlib
import re
import subprocess
import sys

import pytest

from plugins.action import verify_layer
from vitrine_cli.site import read_inventory

TESTS = pathlib.Path(__file__).parents[1]


@pytest.fixture
def gate(tmp_path):
    """Return a function that runs checks (str, Python), on this machine unless told otherwise.

    It returns a tuple of the checks, the problems and pytest's exit status.
    """

    def run(source, hosts="--hosts=local://"):
        (tmp_path / "test_it.py").write_text(source)
        log = tmp_path / "log.jsonl"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "conftest"]
        command += [hosts, f"--report-log={log}", f"--rootdir={tmp_path}", "--tb=short", str(tmp_path)]
        code = subprocess.run(
            command,
            cwd=tmp_path,
            env={"PATH": f"{pathlib.Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(TESTS)},
            capture_output=True,
            check=False,
        ).returncode
        return *verify_layer.parse_report_log(log.read_text().splitlines()), code

    return run


def report_of(checks, outcome=("failed", "1 of 2 promises not kept")):
    """Return the report of a gate that found `checks` (list of dict)."""
    return {"layer": "database", "outcome": outcome[0], "reason": outcome[1], "checks": checks}


def test_kept_promises_verify_the_layer(gate):
    """A check that passes counts with its host and what it promises."""
    checks, problems, code = gate('def test_it(host):\n    """Water is wet."""\n    assert host.run("true").rc == 0\n')
    assert verify_layer.judge(checks, problems, code) == ("verified", "")
    assert [(check["outcome"], check["promise"]) for check in checks] == [("passed", "Water is wet")]
    assert checks[0]["host"] == "local"


def test_a_failed_check_says_host_promise_and_what_was_seen(gate):
    """What the operator reads names all three, and not pytest's introspection."""
    source = 'def test_it(host):\n    """The light is on."""\n    assert 1 == 2, "it was off"\n'
    checks, problems, code = gate(source + "def test_other(host):\n    pass\n")
    outcome = verify_layer.judge(checks, problems, code)
    assert outcome == ("failed", "1 of 2 promises not kept")
    text = verify_layer.describe_failure(report_of(checks, outcome))
    assert "Nothing above it was applied" in text
    assert "local: promised: The light is on" in text
    assert "seen:     it was off" in text
    assert "assert 1 == 2" not in text
    assert "test_other" not in text


def test_the_journal_is_part_of_the_failure():
    """The last lines of the unit's journal follow what was seen."""
    check = {"host": "database01", "outcome": "failed", "promise": "p", "seen": "s", "journal": "one\ntwo"}
    text = verify_layer.describe_failure(report_of([check]))
    assert text.splitlines()[-2:] == ["      | one", "      | two"]


@pytest.mark.parametrize(
    ("seen", "explained"),
    [
        ("sudo: a password is required", True),
        ("sudo: a terminal is required to read the password; either use the -S option", True),
        ("it was off", False),
    ],
)
def test_sudo_that_asks_is_explained(seen, explained):
    """The gates get no password for sudo, and say so."""
    check = {"host": "database01", "outcome": "failed", "promise": "p", "seen": seen, "journal": ""}
    text = verify_layer.describe_failure(report_of([check]))
    assert ("Allow NOPASSWD" in text) == explained


def test_skipped_checks_alone_do_not_verify(gate):
    """If every check was skipped, nothing was verified."""
    checks, problems, code = gate("import pytest\n@pytest.mark.skip\ndef test_it():\n    pass\n")
    assert [check["outcome"] for check in checks] == ["skipped"]
    assert verify_layer.judge(checks, problems, code) == ("failed", "no check ran")


def test_what_is_left_out_is_counted_with_its_reason(gate):
    """A gate that leaves promises out does not hide that."""
    source = "import pytest\ndef test_it():\n    pass\n"
    for name in ("a", "b"):
        source += f"def test_{name}():\n    pytest.skip('the site is closed')\n"
    source += "def test_c():\n    pytest.skip('there is one host')\n"
    checks, problems, code = gate(source)
    assert verify_layer.judge(checks, problems, code) == ("verified", "")
    assert verify_layer.count_left_out(checks) == {"the site is closed": 2, "there is one host": 1}


def test_an_empty_group_is_left_out_by_its_name(gate, tmp_path):
    """Pytest's own reason names a fixture of Testinfra; the operator reads which group has no hosts."""
    inventory = tmp_path / "inventory.json"
    inventory.write_text('{"all": {"children": {"omero": {"hosts": {"omero01": {}}}, "omero_readonly": {}}}}')
    source = 'testinfra_hosts = ["ansible://omero_readonly"]\ndef test_it(host):\n    """Nothing is written."""\n'
    checks, problems, code = gate(source, f"--ansible-inventory={inventory}")
    assert (problems, code) == ([], 0)
    assert [check["promise"] for check in checks] == ["Nothing is written"]
    assert verify_layer.count_left_out(checks) == {"the site has no host in the group omero_readonly": 1}


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        (["omero_readonly"], "the site has no host in the group omero_readonly"),
        (["web", "proxy"], "the site has no host in the group web or proxy"),
        ([], "the site has no such hosts"),
    ],
)
def test_reasons_of_checks_without_hosts(groups, reason):
    """Any other reason stays as the check gave it."""
    assert verify_layer.reason_of("Skipped: got empty parameter set for (_testinfra_host)", groups) == reason
    assert verify_layer.reason_of("Skipped: the site is closed", groups) == "the site is closed"


def test_gates_get_the_inputs_of_roles():
    """The value that a role takes where the run has no other, and no name of the role's own."""
    loader = read_inventory(["inventories/demo/hosts.yml"])[2]
    inputs, others = verify_layer.role_inputs(loader)
    assert inputs["omero_web_gunicorn_port"] == 4080
    assert inputs["nginx_cache_exporter"] is True
    assert not any(name.startswith("__") for name in inputs)
    assert "__nginx_cache_exporter_port" in others


def test_no_check_has_a_default_of_a_role():
    """Whoever sets another value in the inventory would fail the gate."""
    loader = read_inventory(["inventories/demo/hosts.yml"])[2]
    inputs, _ = verify_layer.role_inputs(loader)
    asked = re.compile(r"""\.get\(["'](\w+)["'],""")
    for path in TESTS.glob("*/*.py"):
        if path.parent.name != "unit":
            assert not set(asked.findall(path.read_text())) & inputs.keys(), path


def test_no_check_does_not_verify(gate):
    """A gate without checks must not let a deploy pass."""
    assert verify_layer.judge(*gate("")) == ("failed", "no check ran")


def test_checks_that_cannot_be_read_fail_the_gate(gate):
    """An error in the checks themselves does not count as success."""
    outcome, reason = verify_layer.judge(*gate("import no_such_module\n"))
    assert outcome == "failed"
    assert "no_such_module" in reason


def test_a_failing_fixture_fails_the_check(gate):
    """What a check needs and does not get is a failure with its cause, not a pass."""
    source = 'import pytest\n@pytest.fixture\ndef it():\n    raise OSError("no route")\ndef test_it(it):\n    pass\n'
    checks, problems, code = gate(source)
    assert verify_layer.judge(checks, problems, code)[0] == "failed"
    assert "no route" in checks[0]["seen"]


def test_an_unexpected_end_fails_the_gate():
    """Checks that passed before pytest broke down are not enough."""
    outcome, reason = verify_layer.judge([{"outcome": "passed"}], [], 3)
    assert outcome == "failed"
    assert "3" in reason


@pytest.mark.parametrize(
    ("longrepr", "seen"),
    [
        (None, "None"),
        ("text", "text"),
        ({"reprcrash": {"message": "AssertionError: it was off\nassert 1 == 2"}}, "it was off"),
        ({"reprcrash": {"message": "OSError: no route"}}, "OSError: no route"),
    ],
)
def test_what_was_seen(longrepr, seen):
    """The message of an assertion stands for itself; of anything else, its kind too."""
    assert verify_layer.seen_of(longrepr) == seen


def test_secrets_are_found_within_variables():
    """A password of a list of users or of a map of settings is one too; what is short would be found everywhere."""
    users = [{"name": "somebody", "password": "s3cret.x"}, {"name": "another", "password": "short"}]
    assert verify_layer.secrets_of("users", users) == {"s3cret.x"}
    assert verify_layer.secrets_of("config", {"omero.mail.password": "s3cret.y", "a": {"b": 1}}) == {"s3cret.y"}
    assert verify_layer.secrets_of("database_password", "s3cret.z") == {"s3cret.z"}
    assert verify_layer.secrets_of("reset_passwords", ["somebody"]) == set()


def test_secrets_are_blotted_out():
    """Every secret is masked, longer ones first if one contains another; special characters are taken literally."""
    hide = verify_layer.redactor({"s3cret.x", "s3cret.xy"})
    assert hide("a s3cret.xy b s3cret.x c s3cretzx") == "a ******** b ******** c s3cretzx"
    assert verify_layer.redactor(set())("as it is") == "as it is"


@pytest.mark.parametrize("name", ["database_password", "api_token", "SECRET_KEY"])
def test_names_of_secrets(name):
    """Variables with such names hold secrets."""
    assert verify_layer.SECRET_NAME.search(name)


@pytest.mark.parametrize(("name", "kept"), [("ansible_host", True), ("ansible_become", True), ("ansible_facts", False)])
def test_only_connection_variables_reach_the_checks(name, kept):
    """The checks get the variables for connecting to a host, but no other ansible_* variables of the run."""
    assert bool(verify_layer.CONNECTION.match(name)) == kept
