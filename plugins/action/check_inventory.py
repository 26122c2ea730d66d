"""Checks an inventory for mistakes that Ansible itself accepts: misspelled names, wrong addresses, a wrong public name.

Runs on the controller, once for the play, and connects to no host.
"""

from __future__ import annotations

import difflib
import ipaddress
import pathlib
import re
import socket

import yaml
from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.vars.plugins import get_vars_from_inventory_sources

display = Display()

PROJECT = pathlib.Path(__file__).resolve().parents[2]
MOST_LINES = 10
# Prefixes of shared settings (group_vars/all); each role's name is a prefix too.
SHARED_PREFIXES = ("site_", "omero_", "database_", "study_", "storage_", "provision_")
# Settings without a default, which only an inventory can set.
WITHOUT_DEFAULT = {"site_network"}
VARIABLE = re.compile(r"^(\w+):", re.MULTILINE)
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def read(path):
    """Read a YAML file (pathlib.Path) of the checkout; returns its content."""
    return yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (both are safe)


def known_groups(path=PROJECT / "groups.yml"):
    """Return the names of the group model (set of str) from its file (pathlib.Path)."""

    def names(tree):
        for name, content in tree.items():
            yield name
            yield from names((content or {}).get("children") or {})

    return set(names(read(path)))


def known_variables(folders, settings=PROJECT / "group_vars"):
    """Collect the variables that roles and shared settings define.

    Args:
        folders: list of pathlib.Path, each a folder of roles.
        settings: pathlib.Path of the shared settings.

    Returns:
        A tuple of two sets of str: names of variables, and prefixes that belong to roles and shared settings.
    """
    names, prefixes = set(WITHOUT_DEFAULT), set(SHARED_PREFIXES)
    for role in (role for folder in folders if folder.is_dir() for role in folder.iterdir()):
        prefixes.add(f"{role.name}_")
        for path in [*role.glob("defaults/*.yml"), *role.glob("vars/*.yml")]:
            names |= set(VARIABLE.findall(path.read_text()))
        specs = role / "meta/argument_specs.yml"
        if specs.exists():
            for entry in read(specs)["argument_specs"].values():
                names |= set(entry.get("options") or {})
    for path in settings.rglob("*.yml"):
        names |= set(VARIABLE.findall(path.read_text()))
    return names, prefixes


def nearest(name, known, prefix="", cutoff=0.75):
    """Find the known name that a name was probably meant to be.

    Args:
        name: str.
        known: iterable of str.
        prefix: str, the part that both names have in common and that is not compared.
        cutoff: float from 0 to 1, how similar the rest has to be.

    Returns:
        A str, or None if nothing is close.
    """
    rest = [each.removeprefix(prefix) for each in known if each.startswith(prefix)]
    close = difflib.get_close_matches(name.removeprefix(prefix), rest, n=1, cutoff=cutoff)
    return prefix + close[0] if close else None


def judge_groups(groups, known, own=()):
    """Find groups whose names are nearly those of the group model.

    Args:
        groups: dict from the name of a group to the names of its hosts (iterable of str).
        known: set of str, the group model.
        own: iterable of str, further groups of the site.

    Returns:
        A list of str, a message for each.
    """
    found = []
    for name, hosts in sorted(groups.items()):
        if name in known or name in own or name in ("all", "ungrouped") or not hosts:
            continue
        near = nearest(name, known - {"all"}, cutoff=0.8)
        # A group of the site's own may well be named after one that all its hosts are in.
        if near and not set(hosts) <= set(groups.get(near, ())):
            found.append(
                f"The inventory has a group '{name}' ({', '.join(sorted(hosts))}); expected a group of groups.yml, "
                f"probably '{near}'. Correct the name, or list it in site_own_groups if the group is the site's own."
            )
    return found


def judge_variables(places, known, prefixes, own=()):
    """Find variables that nothing reads.

    Args:
        places: dict from the name of a variable to where it is set (str).
        known: set of str, names of variables.
        prefixes: set of str, prefixes that belong to roles and shared settings.
        own: iterable of str, further variables of the site.

    Returns:
        A tuple of two lists of str: refusals and warnings.
    """
    refusals, warnings = [], []
    for name, place in sorted(places.items()):
        if name in known or name in own or name.startswith(("ansible_", "__")):
            continue
        prefix = max((each for each in prefixes if name.startswith(each)), key=len, default="")
        # A name without a prefix of Vitrine is the site's own, unless it is very similar to one of Vitrine's.
        near = nearest(name, known, prefix) if prefix else nearest(name, known, cutoff=0.92)
        text = f"{name} is set in {place}, and no role uses the variable; "
        remedy = "list it in site_own_variables if the variable is the site's own."
        if near and prefix:
            refusals.append(f"{text}expected a known variable, probably {near}. Correct the name, or {remedy}")
        elif near:
            warnings.append(f"{text}the name is similar to {near}. Correct the name, or {remedy}")
        elif prefix:
            warnings.append(
                f"{text}expected one of docs/variables.md, since the name begins with {prefix}. "
                f"Remove the variable, or {remedy}"
            )
    return refusals, warnings


def judge_addresses(addresses):
    """Check the hosts' addresses.

    Args:
        addresses: dict from the name of a host to its internal_address (any value; None if unset).

    Returns:
        A list of str, a message for each wrong one.
    """
    found = []
    for host, value in sorted(addresses.items()):
        wanted = None
        try:
            address = ipaddress.IPv4Address(str(value))
        except ValueError:
            wanted = "the host's IPv4 address on the site's network"
        else:
            if address.is_unspecified or address.is_multicast or address == ipaddress.IPv4Address("255.255.255.255"):
                wanted = "the address of a host"
            others = [other for other, its in addresses.items() if other != host and str(its) == str(value)]
            if others:
                wanted = f"an address that no other host has ({', '.join(sorted(others))} has the same)"
        if wanted:
            shown = "not set" if value is None else f"'{value}'"
            found.append(f"internal_address of {host} is {shown}; expected {wanted}. Set it in the inventory.")
    return found


def judge_public_name(name):
    """Check the site's public name.

    Args:
        name: str, a host name or an IPv4 address.

    Returns:
        A message (str), or None.
    """
    text = str(name)
    wanted = None
    if re.fullmatch(r"[0-9.]+", text):
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            wanted = "a name or an IPv4 address"
    elif "://" in text:
        wanted = "the name alone, without http:// or https://"
    elif "{{" in text or "{%" in text:
        wanted = "a name, not an unresolved template"
    elif "/" in text:
        wanted = "the name alone, without a path"
    elif ":" in text:
        wanted = "the name alone, without a port"
    elif len(text) > 253 or not all(LABEL.fullmatch(part) for part in text.split(".")):
        wanted = "a name of letters, digits, hyphens and dots"
    if wanted is None:
        return None
    return (
        f"site_public_name is '{text}'; expected {wanted}, such as images.example.org, or an IPv4 address. "
        "Correct it in the inventory."
    )


def judge_lookup(name):
    """Check that the controller can resolve the site's public name.

    Args:
        name: str, a host name or an IPv4 address.

    Returns:
        A message (str), or None.
    """
    try:
        socket.getaddrinfo(name, 443, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except OSError as problem:
        return (
            f"site_public_name is '{name}', which the controller cannot resolve ({problem.strerror}); expected the "
            "proxy's address, since gates connect to that name. Create the DNS record, or add the name to /etc/hosts "
            "here, or leave site_public_name unset to use the proxy's internal_address. If this controller cannot see "
            "the site's DNS, set site_resolves_on_controller to false."
        )
    return None


def shorten(messages, most=MOST_LINES):
    """Join messages (list of str), at most that many (int) lines; returns a str."""
    if len(messages) <= most:
        return "\n".join(messages)
    return "\n".join([*messages[: most - 1], f"... and {len(messages) - most + 1} more."])


class ActionModule(ActionBase):
    """Check the inventory of the run."""

    BYPASS_HOST_LOOP = True
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """Run all checks; the result is failed if there is a refusal."""
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            {
                "own_variables": {"type": "list", "elements": "str", "default": []},
                "own_groups": {"type": "list", "elements": "str", "default": []},
                "resolve": {"type": "bool", "default": True},
            }
        )
        hostvars = task_vars["hostvars"]
        refusals = judge_groups(task_vars["groups"], known_groups(), arguments["own_groups"])
        folders = [pathlib.Path(path) for path in constants.DEFAULT_ROLES_PATH]
        known, prefixes = known_variables(folders)
        wrong, warnings = judge_variables(own_variables(hostvars), known, prefixes, arguments["own_variables"])
        refusals += wrong
        hosts = task_vars["groups"].get("hosts", [])
        refusals += judge_addresses({host: self._ask(hostvars, host, "internal_address") for host in hosts})
        proxies = task_vars["groups"].get("proxy", [])
        if proxies and not refusals:
            name = self._ask(hostvars, proxies[0], "site_public_name")
            problem = judge_public_name(name) or (judge_lookup(str(name)) if arguments["resolve"] else None)
            refusals += [problem] if problem else []
        for warning in warnings:
            display.warning(warning)
        if refusals:
            result["failed"] = True
            result["msg"] = shorten(refusals)
        return result

    def _ask(self, hostvars, host, name):
        """Return the value of a host's variable: None if it is unset, the template itself if it cannot be resolved."""
        raw = hostvars.raw_get(host)
        templar = self._templar.copy_with_new_env(available_variables={**raw, "hostvars": hostvars})
        try:
            return templar.template(raw.get(name))
        except AnsibleError:
            return raw[name]


def own_variables(hostvars):
    """List the variables that the inventory and the command line set, and where.

    Args:
        hostvars: Ansible's HostVars.

    Returns:
        A dict from names to places (both str).
    """
    inventory, manager, loader = hostvars._inventory, hostvars._variable_manager, hostvars._loader
    places = {}
    entities = [(group, f"the group {group.name}") for group in inventory.groups.values()]
    # Ungrouped hosts are servers listed by a cloud's inventory, with the cloud's variables.
    listed = [host for host in inventory.get_hosts("all", ignore_limits=True) if host.groups and not ungrouped(host)]
    entities += [(host, f"the host {host.name}") for host in listed]
    for entity, place in entities:
        beside = get_vars_from_inventory_sources(loader, inventory._sources, [entity], "task")
        for name in [*entity.vars, *beside]:
            if name not in ("inventory_file", "inventory_dir"):
                places.setdefault(str(name), f"{place} (inventory)")
    for name in manager.extra_vars:
        places.setdefault(str(name), "--extra-vars")
    return places


def ungrouped(host):
    """Tell whether a host (Ansible's Host) is in no group but all and ungrouped."""
    return {group.name for group in host.get_groups()} <= {"all", "ungrouped"}
