"""Names of tasks stand alone and begin with a plain verb; messages have the required form (CONTRIBUTING.md)."""

import pathlib
import re

import pytest
import yaml

PROJECT = pathlib.Path(__file__).resolve().parents[2]
TASK_FILES = (
    "roles/*/tasks/**/*.yml",
    "roles/*/handlers/*.yml",
    "testbed/**/tasks/**/*.yml",
    "playbooks/**/*.yml",
    "molecule/**/*.yml",
    "scripts/**/*.yml",
)
# Words that refer to the previous task, or replace the name of the object. `one` is allowed as a number.
HANGING = r"\b(it|them|(?<!only )(?<!exactly )(?<!at most )one|ones|way|whatever|somebody|nobody|mend\w*|anew)\b"
# The form of messages; messages about commands that are missing on the controller have another form.
EXPECTATION = r"\bexpected\b|\brequires root\b|\bmissing on this machine\b"
# Verbs that do not say what happens, and beginnings that are not imperatives.
VAGUE = r"(Be|Bring|Do|Give|Have|Keep|Know|Lead|Let|Make|Mend|Note|Say|See|Tell)\b"
STATEMENT = r"(A|All|An|Each|Every|Everything|It|No|Nothing|Something|That|The|They|Those|What)\b"
SECTIONS = ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers")


class Loader(yaml.SafeLoader):
    """Reads Ansible's own tags, such as !unsafe, as plain values."""


Loader.add_multi_constructor("!", lambda loader, _suffix, node: getattr(node, "value", None))


def task_files():
    """Return the files of tasks and plays (list of pathlib.Path), without links to others."""
    found = {path for pattern in TASK_FILES for path in PROJECT.glob(pattern)}
    return sorted(path for path in found if not any(each.is_symlink() for each in (path, *path.parents)))


def tasks(entries):
    """Yield every play and task of a list, and those inside of them (dict)."""
    for entry in entries:
        if isinstance(entry, dict):
            yield entry
            for section in SECTIONS:
                yield from tasks(entry.get(section) or [])


def read(path):
    """Return the plays and tasks of a file (list of dict); none if the file is no list."""
    content = yaml.load(path.read_text(), Loader)  # noqa: S506 (a SafeLoader)
    return list(tasks(content)) if isinstance(content, list) else []


def faults_of_name(name, is_play=False):
    """List what is wrong with a name.

    Args:
        name: str.
        is_play: bool, whether it names a play, which need not begin with a verb.

    Returns:
        A list of str.
    """
    found = [f"has the word '{match[0]}'" for match in re.finditer(HANGING, name, re.IGNORECASE)]
    if is_play:
        return found
    first = name.split()[0]
    if re.match(VAGUE, name):
        found.append(f"begins with '{first}', which does not say what happens")
    elif re.match(STATEMENT, name):
        found.append(f"begins with '{first}', and is not an imperative")
    if not first[0].isupper():
        found.append("begins with a small letter")
    return found


def faults_of_file(path):
    """List what is wrong with the names in a file (list of str)."""
    found = []
    for entry in read(path):
        is_play = "hosts" in entry or "ansible.builtin.import_playbook" in entry
        name = entry.get("name")
        problems = faults_of_name(name, is_play) if name else ["has no name"]
        found += [f"{path.relative_to(PROJECT)}: '{name}' {problem}" for problem in problems]
    return found


def assertions(path):
    """Yield (name, fail_msg) of the assertions in a file."""
    for task in read(path):
        arguments = task.get("ansible.builtin.assert")
        if arguments and "fail_msg" in arguments:
            yield task["name"], arguments["fail_msg"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Start it", "has the word 'it'"),
        ("Write the way", "has the word 'way'"),
        ("Let HAProxy listen where the site wants it", "begins with 'Let'"),
        ("Know what the distribution calls things", "begins with 'Know'"),
        ("Have no other firewall beside it", "begins with 'Have'"),
        ("The database keeps its promises", "begins with 'The'"),
        ("start PostgreSQL", "small letter"),
    ],
)
def test_bad_names_are_found(name, problem):
    """Names that a reader of the output cannot understand without context."""
    assert any(problem in each for each in faults_of_name(name)), faults_of_name(name)


@pytest.mark.parametrize(
    "name",
    ["Install PostgreSQL", "Load distribution-specific variables", "Remove HAProxy when only one web host exists"],
)
def test_good_names_pass(name):
    """Imperatives that stand alone."""
    assert faults_of_name(name) == []


def test_names_of_tasks_stand_alone():
    """Every name of a task says what happens and to which object, without reference to the previous task."""
    files = task_files()
    assert len(files) > 100
    found = [problem for path in files for problem in faults_of_file(path)]
    assert not found, "\n" + "\n".join(found)


def test_messages_say_what_is_expected():
    """A message about a variable has the form: variable, its value, what is expected, what to do."""
    files = [path for path in task_files() if path.name == "validate.yml"]
    assert len(files) > 10
    found = [
        f"{path.relative_to(PROJECT)}: '{name}'"
        for path in files
        for name, message in assertions(path)
        if not re.search(EXPECTATION, message)
    ]
    assert not found, "\n" + "\n".join(found)
