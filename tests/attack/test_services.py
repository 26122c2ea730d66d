"""What the services that listen or run users' code could do on their hosts, by systemd's own measure."""

import fnmatch
import pathlib
import re

import pytest
import yaml

testinfra_hosts = ["ansible://hosts"]

# From 0 (nothing) to 10 (everything).
LIMIT = 3.0
REASONS = yaml.safe_load(pathlib.Path(__file__).with_name("services.yml").read_text())
# The roles' services that listen or run what users write, beside whatever else listens: in a container, not even root
# sees the sockets of every process.
NAMED = [
    *(
        "nginx*",
        "omero-*",
        "postgresql@*",
        "postgresql.*",
        "postgresql-[0-9]*",
        "nfs-ganesha*",
        "nfs-server*",
        "redis*",
    ),
    *("web-sessions*", "haproxy*", "jupyter*", "*exporter*"),
]
# The site's own settings of units, which the roles write last.
SETTINGS = ["nginx_cache", "omero_server", "omero_web", "jupyterhub", "postgresql"]


def exposures(text):
    """Read the table of `systemd-analyze security`.

    Args:
        text: str, the command's output.

    Returns:
        dict from names of units to float.
    """
    return {unit: float(level) for unit, level in re.findall(r"^(\S+\.service)\s+(\d+\.\d)\s", text, re.MULTILINE)}


def is_named(unit):
    """Tell whether a unit (str) is one of the roles' services that listen or run users' code."""
    return any(fnmatch.fnmatch(unit, pattern) for pattern in NAMED)


def too_exposed(seen, reasons):
    """Find services above their limit.

    Args:
        seen: dict from names of units to float.
        reasons: dict from patterns to dicts with limit and reason.

    Returns:
        list of str, a sentence for each.
    """
    found = []
    for unit, level in sorted(seen.items()):
        limits = [float(each["limit"]) for pattern, each in reasons.items() if fnmatch.fnmatch(unit, pattern)]
        limit = max(limits, default=LIMIT)
        if level > limit:
            found.append(f"{unit} is at {level}, the limit is {limit}")
    return found


def test_exposure(host, variables):
    """What listens or runs users' code is confined (systemd-analyze security), or it is written why not."""
    own = [name for name in SETTINGS if variables.get(f"{name}_service_settings")]
    if own:
        pytest.skip(f"the site has settings of its own for units ({own[0]}_service_settings)")
    lines = host.check_output("ss --no-header --listening --tcp --udp --processes --numeric")
    processes = sorted(set(re.findall(r"pid=(\d+)", lines)))
    units = set(host.run("ps --no-headers -o unit:99 -p %s", ",".join(processes)).stdout.split())
    table = exposures(host.check_output("systemd-analyze security --no-pager"))
    assert table, "systemd-analyze says nothing"
    chosen = {unit: level for unit, level in table.items() if unit in units or is_named(unit)}
    assert chosen, "no service listens, so that nothing was seen"
    assert not (found := too_exposed(chosen, REASONS)), "; ".join(found)
