"""Compares the variables of roles with the roles' meta/argument_specs.yml before anything is changed.

Ansible also compares them, but only when a role starts, and its message contains the whole specification. Here,
each mistake is reported once for all hosts, in a line or two. Runs on the controller, once for the play, and connects
to no host.
"""

from __future__ import annotations

import json
import pathlib
import re

from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.ajson import AnsibleJSONEncoder
from ansible.plugins.action import ActionBase

MOST_LINES = 10
MOST_LETTERS = 100
# OMERO has names such as omero.db.pass.
SECRET_NAME = re.compile(r"pass|secret|token", re.IGNORECASE)
WORD = re.compile(r"\w+")
KINDS = {
    "str": "text",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "list": "a list",
    "dict": "a dictionary",
}
# Markup of argument specs: C(code), O(option), V(value), M(module), E(variable).
CODE = re.compile(r"\b[COVME]\(([^)]*)\)")


def needs_facts(name, variables, seen=()):
    """Tell whether a variable is computed from facts of its host, which the preflight does not have.

    Args:
        name: str.
        variables: dict from names to values, templates unresolved.
        seen: tuple of str, the variables that led to this one.

    Returns:
        bool.
    """
    if name in seen:
        return False
    text = json.dumps(variables.get(name), default=str)
    words = set(WORD.findall(text)) if "{{" in text or "{%" in text else set()
    return "ansible_facts" in words or any(
        needs_facts(word, variables, (*seen, name)) for word in words & variables.keys()
    )


def show(name, value):
    """Show a value in a message.

    Args:
        name: str, the variable or key.
        value: any value.

    Returns:
        A str: at most MOST_LETTERS characters, no secret.
    """
    if SECRET_NAME.search(name):
        return "hidden"
    text = (
        json.dumps(hide(value), cls=AnsibleJSONEncoder, ensure_ascii=False)
        if not isinstance(value, str)
        else f"'{value}'"
    )
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}..."


def hide(value):
    """Return a value with every secret in it replaced by a word."""
    if isinstance(value, dict):
        return {key: "hidden" if SECRET_NAME.search(str(key)) else hide(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [hide(each) for each in value]
    return value


def without_secrets(value, option):
    """Hide everything in a value that may be a password.

    Args:
        value: any value.
        option: dict of the argument spec; its own options say whether there are secrets.

    Returns:
        The value. If a key of the option is a secret, everything is hidden that is not under another key of the
        option, because a password may be under a misspelled key, or without a key.
    """
    known = option.get("options", {})
    if not any(SECRET_NAME.search(key) for key in known):
        return value
    if isinstance(value, list):
        return [without_secrets(each, option) for each in value]
    if isinstance(value, dict):
        return {key: each if key in known else "hidden" for key, each in value.items()}
    return "hidden"


def wanted(option):
    """Describe what an option of an argument spec (dict) takes (str)."""
    kind = option.get("type", "str")
    if kind == "list":
        elements = option.get("elements", "str")
        kind = "a list of " + {"dict": "dictionaries", "str": "strings", "path": "paths"}.get(elements, elements)
        keys = [
            key + (" (required)" if each.get("required") else "") for key, each in option.get("options", {}).items()
        ]
        kind += f" with {', '.join(keys)}" if keys else ""
    else:
        kind = KINDS.get(kind, f"a {kind}")
    return kind + (f", of {', '.join(map(str, option['choices']))}" if "choices" in option else "")


def judge(name, value, option):
    """Compare a value with an option of an argument spec.

    Args:
        name: str, the variable.
        value: any value, templates resolved.
        option: dict of the argument spec.

    Returns:
        A str, what is wrong; empty if nothing is.
    """
    # Ansible would split a string into a list and read a dictionary from one; the roles get the string itself.
    if option.get("type") in ("list", "dict") and value is not None:
        if not isinstance(value, list if option["type"] == "list" else dict):
            return f"it is {kind_of(value)}"
        if option.get("elements") == "dict":
            wrong = next((each for each in value if not isinstance(each, dict)), None)
            if wrong is not None:
                return f"it has {show(name, without_secrets(wrong, option))}, which is {kind_of(wrong)}"
    errors = (
        ArgumentSpecValidator({name: option}).validate({name: value}, validate_role_argument_spec=True).error_messages
    )
    if not errors:
        return ""
    # Ansible's own message contains the value.
    return "it is of another type" if SECRET_NAME.search(name) else " ".join(str(errors[0]).split())


def kind_of(value):
    """Describe the type of a value in words (str)."""
    # Ansible's own classes are derived from Python's.
    names = [each.__name__ for each in type(value).__mro__]
    return next((words for kind, words in KINDS.items() if kind in names), "empty")


def meaning(option):
    """Return the first sentence of an option's (dict) description (str)."""
    text = option.get("description", "")
    text = " ".join((text if isinstance(text, str) else text[0]).split())
    return CODE.sub(r"\1", re.split(r"(?<=[.;])\s", text)[0]).rstrip(".;")


def merge(faults):
    """Merge the faults of all hosts.

    Args:
        faults: list of tuples (host, message), the message with {hosts} where the hosts belong.

    Returns:
        A list of str, each message once.
    """
    found = {}
    for host, message in faults:
        found.setdefault(message, []).append(host)
    return [message.replace("{hosts}", ", ".join(dict.fromkeys(hosts))) for message, hosts in found.items()]


def shorten(messages, most=MOST_LINES):
    """Join messages (list of str), at most that many (int) lines; returns a str."""
    if len(messages) <= most:
        return "\n".join(messages)
    return "\n".join([*messages[: most - 1], f"... and {len(messages) - most + 1} more."])


def examine(spec, variables, resolve, role):
    """Compare a host's variables with a role's argument spec.

    Args:
        spec: dict of options.
        variables: dict, the host's variables and the role's defaults, templates unresolved.
        resolve: function from a raw value to the resolved one; raises AnsibleError.
        role: str.

    Returns:
        A list of str, messages with {hosts} where the host belongs.
    """
    wrong, unresolved = [], []
    for name, option in spec.items():
        if name not in variables:
            if option.get("required"):
                wrong.append(
                    f"{name} of {{hosts}} is not set; expected {wanted(option)}: {meaning(option)}. "
                    "Set it in the inventory."
                )
            continue
        try:
            value = resolve(variables[name])
        except AnsibleError as problem:
            if variables.get("ansible_facts") or not needs_facts(name, variables):
                reason = " ".join(str(problem).split())[: 2 * MOST_LETTERS]
                unresolved.append(
                    f"{name} of {{hosts}} cannot be computed: {reason.rstrip('.')}; expected {wanted(option)}. "
                    f"Correct the variables from which it is computed, in the inventory (roles/{role}/README.md)."
                )
            continue
        detail = judge(name, value, option)
        if detail:
            wrong.append(
                f"{name} of {{hosts}} is {show(name, without_secrets(value, option))}; expected {wanted(option)}: "
                f"{detail.rstrip('.')}. "
                f"Correct it in the inventory (roles/{role}/README.md)."
            )
    # A value of the wrong type also breaks the variables that are computed from it.
    return wrong or unresolved


class ActionModule(ActionBase):
    """Compare the variables of all hosts of the play with the argument specs of the roles."""

    BYPASS_HOST_LOOP = True
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """Compare; the result is failed if anything is wrong."""
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec({"roles": {"type": "dict", "required": True}})
        hostvars, groups = task_vars["hostvars"], task_vars["groups"]
        faults = []
        parts = {}
        for host in task_vars["ansible_play_hosts"]:
            # Unresolved, together with `hostvars`, from which templates of the settings read variables of other hosts.
            own = {**hostvars.raw_get(host), "hostvars": hostvars}
            for group, roles in arguments["roles"].items():
                if host not in groups.get(group, []):
                    continue
                for role in roles:
                    spec, defaults = parts.setdefault(role, self._read(role))
                    variables = {**defaults, **own}
                    templar = self._templar.copy_with_new_env(available_variables=variables)
                    faults += [(host, message) for message in examine(spec, variables, templar.template, role)]
        messages = merge(faults)
        if messages:
            result["failed"] = True
            result["msg"] = shorten(messages)
        return result

    def _read(self, role):
        """Read a role (str): the options of its entry `validate` or `main` (dict), and its defaults and vars (dict)."""
        folder = next(
            (path for path in map(pathlib.Path, constants.DEFAULT_ROLES_PATH) if (path / role).is_dir()), None
        )
        if folder is None:
            raise AnsibleActionFail(
                f"check_arguments: there is no role '{role}'; expected one in {constants.DEFAULT_ROLES_PATH}"
            )
        specs = self._loader.load_from_file(str(folder / role / "meta/argument_specs.yml"))["argument_specs"]
        defaults = {}
        for part in ("vars", "defaults"):
            path = folder / role / part / "main.yml"
            if path.exists():
                defaults |= self._loader.load_from_file(str(path), trusted_as_template=True) or {}
        return (specs.get("validate") or specs["main"]).get("options") or {}, defaults
