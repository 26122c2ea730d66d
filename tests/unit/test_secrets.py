"""Secrets go by standard input or in files that only their user reads: not in a process's arguments or environment."""

import ast
import pathlib
import re

import pytest
import yaml

from vitrine_cli.dependencies import plain

PROJECT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("roles", "playbooks", "molecule", "testbed", "inventories")
SECRET = re.compile(r"password|passphrase|secret|token", re.IGNORECASE)
IDENTIFIER = re.compile(r"\b[a-z_]\w*")
STRINGS = re.compile(r"'[^']*'|\"[^\"]*\"")
TEMPLATE = re.compile(r"{{.*?}}|{%.*?%}", re.DOTALL)
COMMANDS = {"command", "shell", "raw", "script", "expect"}
# Of a command, everything is visible to other accounts or logged by sudo, except for these arguments.
NOT_SEEN = {"stdin", "stdin_add_newline", "creates", "removes"}
# Functions of Testinfra, of Ansible's modules and of Python that start a process, by what comes before the dot.
STARTS = {"run", "check_output", "run_test", "run_expect", "run_command", "Popen", "check_call", "call"}
# A name of a secret, where what a process gets is none: file and text that match, with the reason.
EXCEPTIONS = {
    ("roles/omero_server/tasks/create_schema.yml", "unused"): "the password 'unused' is nobody's",
    ("roles/omero_server/tasks/accounts.yml", "update password set hash"): "a table, and a hash that is empty or null",
    ("playbooks/tasks/rotate_refused.yml", "read -r PGPASSWORD"): "a shell that reads it from its standard input",
    ("roles/jupyterhub/tasks/start.yml", "/cookie_secret"): "the path of a file",
    ("roles/postgresql/tasks/database.yml", "password_encryption="): "a setting of PostgreSQL",
    ("roles/postgresql/tasks/readers.yml", "password_encryption="): "a setting of PostgreSQL",
}


class Loader(yaml.SafeLoader):
    """A loader that ignores Ansible's own tags."""


Loader.add_multi_constructor("!", plain)


def variables_of(path):
    """Return the variables of the role that a file belongs to, of its defaults and vars (dict; empty elsewhere)."""
    found = {}
    parts = path.relative_to(PROJECT).parts
    if "roles" in parts:
        role = PROJECT.joinpath(*parts[: parts.index("roles") + 2])
        for file in [*role.glob("defaults/*.yml"), *role.glob("vars/*.yml")]:
            found |= yaml.load(file.read_text(), Loader) or {}  # noqa: S506 (a safe loader)
    return found


def texts_of(value, variables, seen=frozenset()):
    """List what a value is made of, variables followed.

    Args:
        value: anything from YAML.
        variables: dict of the variables that may be followed.
        seen: frozenset of str, the variables that were followed so far.

    Returns:
        A list of (str, bool): text or the name of a variable or key, and whether it is one of the latter.
    """
    if isinstance(value, dict):
        return [each for key, item in value.items() for each in [(str(key), True), *texts_of(item, variables, seen)]]
    if isinstance(value, list):
        return [each for item in value for each in texts_of(item, variables, seen)]
    found = [(TEMPLATE.sub("", str(value)), False)]
    for template in TEMPLATE.findall(str(value)):
        for name in IDENTIFIER.findall(STRINGS.sub("", template)):
            found.append((name, True))
            if name in variables and name not in seen:
                found += texts_of(variables[name], variables, seen | {name})
    return found


def secrets_in(value, variables):
    """Return the names of secrets in a value, and options such as --password=... (list of str)."""
    return [text for text, _ in texts_of(value, variables) if SECRET.search(text)]


def nodes_of(node, inherited=False):
    """Yield the plays, blocks and tasks in a piece of YAML, each with whether it has no_log (dict, bool)."""
    if isinstance(node, list):
        for item in node:
            yield from nodes_of(item, inherited)
    elif isinstance(node, dict):
        quiet = bool(node.get("no_log", inherited))
        yield node, quiet
        for key in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always", "roles"):
            yield from nodes_of(node.get(key), quiet)


def faults_of_yaml(path, content):
    """Return what processes get of secrets from a file of tasks or plays (list of str)."""
    variables, found = variables_of(path), []
    for node, quiet in nodes_of(content):
        known = variables | (node["vars"] if isinstance(node.get("vars"), dict) else {})
        name = node.get("name", "")
        for text in secrets_in(node.get("environment"), known):
            found.append(f"{name}: environment has {text}")
        for key, given in node.items():
            if str(key).rpartition(".")[2] not in COMMANDS:
                continue
            values = given
            if isinstance(given, dict):
                values = [value for part, value in given.items() if part not in NOT_SEEN]
            for text in secrets_in(values, known):
                found.append(f"{name}: the command has {text}")
            # The module writes its arguments to the journal, standard input among them.
            if isinstance(given, dict) and secrets_in(given.get("stdin"), known) and not quiet:
                found.append(f"{name}: stdin has a secret, which no_log keeps out of the journal")
    return found


def faults_of_unit(text):
    """Return the lines of a unit's template that put a secret into an environment or a command (list of str)."""
    return [
        line
        for line in text.splitlines()
        if re.match(r"(Environment|Exec\w+)=", line) and any(SECRET.search(each) for each in TEMPLATE.findall(line))
    ]


def faults_of_program(text):
    """Return the calls of a program that start a process with a secret in its command or environment (list of str)."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STARTS):
            continue
        given = [*node.args, *[each.value for each in node.keywords if each.arg in ("args", "env", None)]]
        for name in [inner for each in given for inner in ast.walk(each)]:
            # variables["x_password"], x_password, and the text in an f-string; not the text of a command.
            word = getattr(name, "id", None) or getattr(name, "attr", None)
            if isinstance(name, ast.Subscript) and isinstance(name.slice, ast.Constant):
                word = str(name.slice.value)
            if isinstance(name, ast.Subscript) and isinstance(name.slice, ast.JoinedStr):
                word = ast.unparse(name.slice)
            if word and SECRET.search(word):
                found.append(f"line {node.lineno}: {node.func.attr} gets {word}")
    return found


def excepted(path, fault):
    """Tell whether a fault is among the exceptions (path: str; fault: str; bool)."""
    return any(path == file and text in fault for file, text in EXCEPTIONS)


def faults_of(path):
    """Return a file's faults (list of str), exceptions left out."""
    text = path.read_text(errors="replace")
    if path.suffix in (".yml", ".yaml"):
        found = faults_of_yaml(path, yaml.load(text, Loader))  # noqa: S506 (a safe loader)
    elif path.suffix == ".py":
        found = faults_of_program(text)
    else:
        found = faults_of_unit(text)
    name = str(path.relative_to(PROJECT))
    return [f"{name}: {fault}" for fault in found if not excepted(name, fault)]


def files_with(*patterns, folders=FOLDERS):
    """Return the files of the checkout that match a pattern (list of pathlib.Path)."""
    found = {path for folder in folders for pattern in patterns for path in PROJECT.glob(f"{folder}/**/{pattern}")}
    found = {path for path in found if path.is_file() and not path.is_symlink()}
    assert found, f"no file below {folders} matches {patterns}"
    return sorted(path for path in found if "secrets" not in path.relative_to(PROJECT).parts)


def test_tasks():
    """No task puts a secret into an environment, which sudo logs, into a command, or into the journal by stdin."""
    found = [fault for path in files_with("*.yml") for fault in faults_of(path)]
    assert not found, "\n".join(found)


def test_units():
    """No unit has a secret in Environment= or a command: every account can ask systemd for both."""
    found = [fault for path in files_with("*.service.j2", "*.conf.j2", "*.timer.j2") for fault in faults_of(path)]
    assert not found, "\n".join(found)


def test_programs():
    """No check, module or program starts a process with a secret in its command or environment."""
    paths = files_with("*.py", folders=("tests", "plugins", "scripts", "roles", "testbed", "molecule"))
    found = [fault for path in paths if "unit" not in path.parts for fault in faults_of(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "task",
    [
        "{command: {argv: [x]}, environment: {OMERO_PASSWORD: x}}",
        "{command: {argv: [x]}, environment: {PW: '{{ study_login_password }}'}}",
        "{command: {argv: [x]}, environment: '{{ __inner }}'}",
        "{command: {argv: [omero, '--password={{ x }}']}}",
        "{ansible.builtin.shell: 'echo {{ the_token }} | x'}",
        "{block: [{command: {cmd: 'x {{ a.password }}'}}]}",
        "{command: {cmd: x, stdin: '{{ a_secret }}'}}",
    ],
)
def test_sees_tasks(task, monkeypatch):
    """The search finds secrets in environments, also through variables, in commands, and in logged input."""
    monkeypatch.setitem(globals(), "variables_of", lambda _: {"__inner": {"X": "{{ some_password }}"}})
    assert faults_of_yaml(PROJECT / "roles/x/tasks/main.yml", [yaml.safe_load(task)])


@pytest.mark.parametrize(
    "task",
    [
        "{command: {cmd: x, stdin: '{{ a_secret }}'}, no_log: true}",
        "{block: [{command: {cmd: x, stdin: '{{ a_secret }}'}}], no_log: true}",
        "{command: {argv: [x, '{{ user }}']}, environment: {OMERODIR: '{{ dir }}'}}",
        "{omero_user: {password: '{{ a_password }}'}}",
    ],
)
def test_accepts_tasks(task):
    """Input that is not logged, and modules, which get their arguments by standard input, are no faults."""
    assert not faults_of_yaml(PROJECT / "x.yml", [yaml.safe_load(task)])


@pytest.mark.parametrize(
    ("line", "faulty"),
    [
        ("host.run(f'x {password}')", True),
        ("host.check_output('x %s', variables['database_password'])", True),
        ("host.check_output('x %s', variables[f'omero_{who}_password'])", True),
        ("subprocess.run(['x'], env={'A': options.token})", True),
        ("subprocess.run(['x'], input=password)", False),
        ("run_with_input(host, 'x', variables['database_password'])", False),
    ],
)
def test_sees_programs(line, faulty):
    """The search finds secrets that Python passes to processes, except by standard input."""
    assert bool(faults_of_program(line)) == faulty
