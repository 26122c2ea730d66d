"""What holds for the tasks of every role."""

import re

import pytest
import yaml

from vitrine_cli.site import PROJECT

FILES = sorted(path for folder in ("roles", "testbed/roles") for path in (PROJECT / folder).glob("*/tasks/**/*.yml"))
# As a variable's name ends that holds one, and not in what is said of it, such as its length.
SECRET = re.compile(r"(password|secret|token)\s*\}\}")
BLOCK = re.compile(r"\{%-?\s*(for|if)\b(?:(?!\{%-?\s*(?:for|if)\b).)*?\{%-?\s*end\1\s*-?%\}", re.DOTALL)


def tasks_of(entries):
    """Yield every task of a file's entries (list), those in blocks too, with what the blocks say of all in them."""
    for entry in entries or []:
        inner = [task for part in ("block", "rescue", "always") for task in entry.get(part, [])]
        if inner:
            inherited = {key: entry[key] for key in ("no_log", "loop") if key in entry}
            yield from tasks_of([inherited | task for task in inner])
        else:
            yield entry


def every_task():
    """Yield (file, task) for all tasks of all roles."""
    for path in FILES:
        for task in tasks_of(yaml.safe_load(path.read_text())):
            yield path.relative_to(PROJECT), task


def shows_secret(task):
    """Tell whether Ansible prints a secret with a task (dict): it prints each item of a loop, whatever the label."""
    if "loop" not in task or task.get("no_log"):
        return False
    rest = yaml.safe_dump({key: value for key, value in task.items() if key not in ("loop", "name")}, width=10**6)
    return bool(SECRET.search(yaml.safe_dump(task["loop"], width=10**6)) or re.search(r"\bitem\.\w*password\b", rest))


def can_be_empty(content):
    """Tell whether nothing may be left of a template (str): no fixed text is in it outside of loops and conditions."""
    if "{%" not in content:
        return False
    while (shorter := BLOCK.sub("", content)) != content:
        content = shorter
    return not content.strip()


def test_no_loop_prints_a_secret():
    """Passwords are looked up in the task, or the task is not logged."""
    seen = [f"{path}: {task['name']}" for path, task in every_task() if shows_secret(task)]
    assert not seen


def test_no_file_is_written_from_nothing():
    """The copy module refuses a content that is empty, as a list is on some site."""
    copies = [(path, task, task.get("ansible.builtin.copy") or {}) for path, task in every_task()]
    contents = [(path, task["name"], copy["content"]) for path, task, copy in copies if "content" in copy]
    assert len(contents) > 20
    seen = [f"{path}: {name}" for path, name, content in contents if can_be_empty(str(content))]
    assert not seen


@pytest.mark.parametrize(
    ("task", "shown"),
    [
        ({"loop": "{{ users }}", "user": {"password": "{{ item.password }}"}}, True),
        ({"loop": "{{ users }}", "user": {"password": "{{ item.password }}"}, "no_log": True}, False),
        ({"loop": [{"name": "a", "value": "{{ site_password }}"}], "debug": {}}, True),
        ({"loop": [{"name": "a", "value": "{{ site_password | length }}"}], "debug": {}}, False),
        ({"user": {"password": "{{ password }}"}}, False),
    ],
)
def test_what_shows_a_secret(task, shown):
    """As Ansible prints it."""
    assert shows_secret(task) == shown


@pytest.mark.parametrize(
    ("content", "empty"),
    [
        ("{% for a in b %}{{ a }}\n{% endfor %}", True),
        ("{% for a in b %}{% if a %}{{ a }}{% endif %}{% endfor %}\n", True),
        ("# From b.\n{% for a in b %}{{ a }}\n{% endfor %}", False),
        ("{{ a }}", False),
    ],
)
def test_what_can_be_empty(content, empty):
    """Loops within loops too."""
    assert can_be_empty(content) == empty
