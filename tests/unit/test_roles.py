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
    """Tell whether a template (str) can be empty: it has no fixed text outside of loops and conditions."""
    if "{%" not in content:
        return False
    while (shorter := BLOCK.sub("", content)) != content:
        content = shorter
    return not content.strip()


def test_no_loop_prints_a_secret():
    """Passwords are looked up in the task, or the task is not logged."""
    seen = [f"{path}: {task['name']}" for path, task in every_task() if shows_secret(task)]
    assert not seen


def test_no_reload_is_hidden():
    """A task or handler that reloads or restarts a service says that it changed something."""
    handlers = [path for folder in ("roles", "testbed/roles") for path in (PROJECT / folder).glob("*/handlers/*.yml")]
    tasks = [*every_task(), *((path, task) for path in handlers for task in yaml.safe_load(path.read_text()))]
    hidden = []
    for path, task in tasks:
        service = task.get("ansible.builtin.systemd_service") or task.get("ansible.builtin.service") or {}
        if service.get("state") in ("reloaded", "restarted") and task.get("changed_when") is False:
            hidden.append(f"{path}: {task['name']}")
    assert hidden == []


def test_no_file_is_written_from_nothing():
    """The copy module refuses empty content, and a list may be empty on some sites."""
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


ROLES = sorted(path.parents[1] for path in (PROJECT / "roles").glob("*/meta/argument_specs.yml"))
# Of one playbook: nobody uses it elsewhere, and it may know the site.
OF_THE_SITE = {"study"}
USABLE_ELSEWHERE = [folder for folder in ROLES if folder.name not in OF_THE_SITE]
SITE = re.compile(r"(?<![\w.])(groups|hostvars)\s*[\[.]|\| difference\(groups|, groups\)")
COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)
EXPRESSION = re.compile(r"{{.*?}}|{%.*?%}", re.DOTALL)
# Servers that were created in this run are in the inventory under the names that the inventory itself gave to the role.
KNOWS_HOSTS = {"roles/provision_openstack/tasks/main.yml"}


def read(path):
    """Read a file of YAML (pathlib.Path; a dict), which may be missing."""
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def options_of(folder):
    """Return the inputs of a role by name (dict of dicts), those of all its entry points."""
    specs = read(folder / "meta/argument_specs.yml")["argument_specs"].values()
    return {name: option for spec in specs for name, option in spec.get("options", {}).items()}


def is_template(value):
    """Tell whether a value (any of YAML) is computed from others."""
    return "{{" in str(value) or "{%" in str(value)


@pytest.mark.parametrize("folder", USABLE_ELSEWHERE, ids=lambda folder: folder.name)
def test_inputs_have_defaults(folder):
    """Exactly the inputs that are not required have a default in defaults/main.yml."""
    options, defaults = options_of(folder), read(folder / "defaults/main.yml")
    assert set(defaults) == {name for name, option in options.items() if not option.get("required")}


@pytest.mark.parametrize("folder", USABLE_ELSEWHERE, ids=lambda folder: folder.name)
def test_defaults_are_those_of_the_argument_spec(folder):
    """The spec repeats a default that is not computed, for those who read it and for Ansible."""
    options, defaults = options_of(folder), read(folder / "defaults/main.yml")
    for name, option in options.items():
        assert "default" not in option or option["default"] == defaults[name], name
        known = is_template(defaults.get(name)) or option.get("required") or len(str(defaults.get(name))) > 60
        assert known or "default" in option, name


@pytest.mark.parametrize("folder", USABLE_ELSEWHERE, ids=lambda folder: folder.name)
def test_no_role_looks_into_the_group_model(folder):
    """Names and addresses of other hosts are inputs, composed in group_vars."""
    files = [
        path for part in ("defaults", "vars", "tasks", "handlers", "templates") for path in (folder / part).rglob("*.*")
    ]
    paths = [path for path in files if str(path.relative_to(PROJECT)) not in KNOWS_HOSTS]
    assert [path.name for path in paths if SITE.search(COMMENT.sub("", path.read_text()))] == []


def shared_settings():
    """Return the names of the variables of group_vars (set of str) that are no role's inputs."""
    names = {name for path in (PROJECT / "group_vars").rglob("*.yml") for name in read(path)}
    return names - {name for folder in ROLES for name in options_of(folder)}


@pytest.mark.parametrize("folder", USABLE_ELSEWHERE, ids=lambda folder: folder.name)
def test_no_role_reads_the_settings_of_the_site(folder):
    """Outside of messages, a role uses only its own inputs and Ansible's own variables about a host."""
    words = shared_settings() | {"internal_address", "site_network", "site_name"}
    texts = []
    for path in (path for part in ("defaults", "vars", "templates") for path in (folder / part).rglob("*.*")):
        texts += [(path.name, expression) for expression in EXPRESSION.findall(path.read_text())]
    for path in sorted((folder / "tasks").rglob("*.yml")):
        tasks = tasks_of(yaml.safe_load(path.read_text()))
        texts += [(path.name, yaml.safe_dump(without_words(task), width=10**6)) for task in tasks]
    names = re.compile(rf"(?<![\w.'/-])({'|'.join(sorted(words))})\b(?!['-])")
    assert [(name, match[0]) for name, text in texts for match in names.finditer(text)] == []


def without_words(node):
    """Return a task without names and messages, which are for people."""
    if isinstance(node, dict):
        return {key: without_words(value) for key, value in node.items() if key not in ("name", "fail_msg", "msg")}
    return [without_words(each) for each in node] if isinstance(node, list) else node


def test_every_role_has_its_metadata():
    """For those who use it elsewhere, and for its README."""
    minimum = re.search(r"^ansible-core==(\d+\.\d+)", (PROJECT / "requirements.lock").read_text(), re.MULTILINE)[1]
    for folder in USABLE_ELSEWHERE:
        info = read(folder / "meta/main.yml")["galaxy_info"]
        assert info["license"] == "GPL-3.0-or-later"
        assert info["min_ansible_version"] == minimum, folder.name
        assert info["description"].rstrip(".") == read(folder / "meta/argument_specs.yml")["argument_specs"]["main"][
            "short_description"
        ].rstrip("."), folder.name
        assert (folder / "README.md").exists(), folder.name


def test_every_role_of_a_layer_has_its_tag():
    """`--tags firewall` applies one role."""
    seen = set()
    for layer in read(PROJECT / "group_vars/all/site.yml")["layers"]:
        for play in yaml.safe_load((PROJECT / f"playbooks/{layer}.yml").read_text()):
            for entry in play.get("roles", []):
                assert entry["tags"] == [entry["role"]], layer
                seen.add(entry["role"])
            for task in play.get("tasks", []):
                if include := task.get("ansible.builtin.include_role"):
                    assert task["tags"] == include["apply"]["tags"] == [include["name"]], layer
    assert len(seen) > 15
