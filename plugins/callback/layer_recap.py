"""A recap of the layers after the run, and reports/site.json for other programs."""

from __future__ import annotations

import json
import pathlib
import time

from ansible.parsing.ajson import AnsibleJSONEncoder
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar
from ansible.vars.hostvars import HostVars

DOCUMENTATION = """
name: layer_recap
type: aggregate
short_description: One line per layer at the end of a run
description:
  - Shows for every layer in the run what was applied, how many checks passed and how long it took, and the addresses of
    the site. Writes the same to C(<reports_dir>/site.json).
"""

PHASES = ("apply", "verify")
PROJECT = pathlib.Path(__file__).resolve().parents[2]


class CallbackModule(CallbackBase):
    """Listens to plays tagged with a layer and `apply` or `verify`, and to the results of verify_layer."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "layer_recap"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        """Start without layers."""
        super().__init__()
        self._layers: dict[str, dict] = {}
        self._current: dict | None = None
        self._since = time.monotonic()
        self._started = time.monotonic()
        self._play = None
        self._host = None

    def v2_playbook_on_play_start(self, play):
        """Find out to which layer the play belongs."""
        self._close()
        self._play = play
        phase = next((tag for tag in play.tags if tag in PHASES), None)
        name = next((tag for tag in play.tags if tag not in PHASES), None)
        if phase and name:
            self._current = self._layers.setdefault(name, new_layer(name))
            self._current["check_mode"] = bool(play.check_mode)

    def v2_playbook_on_no_hosts_matched(self):
        """Record that a gate without hosts has verified nothing."""
        if self._current is not None and "verify" in self._play.tags:
            self._current["reason"] = "no host of its group takes part in this run"

    def v2_runner_on_ok(self, result):
        """Count changes, and store the gate's report."""
        self._host = result.host
        if self._current is not None and "apply" in self._play.tags:
            self._current["applied"] = True
            self._current["changed"] += bool(result.is_changed())
        self._take_report(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        """Record where the run failed, and store the gate's report."""
        self._host = result.host
        if not ignore_errors and self._current is not None and "apply" in self._play.tags:
            self._current["outcome"] = "failed"
            self._current["reason"] = f"{result.host.get_name()}: {result.task.get_name()}"
        self._take_report(result)

    def v2_runner_on_unreachable(self, result):
        """Record that the layer of an unreachable host has failed."""
        if self._current is not None:
            self._current["outcome"] = "failed"
            self._current["reason"] = f"{result.host.get_name()} cannot be reached"

    v2_runner_item_on_ok = v2_runner_on_ok
    v2_runner_item_on_failed = v2_runner_on_failed

    def v2_playbook_on_stats(self, stats):
        """Print the recap and write site.json."""
        self._close()
        if not self._layers:
            return
        site = self._site()
        total = time.monotonic() - self._started
        self._display.banner("LAYERS")
        for layer in self._layers.values():
            self._display.display(describe(layer), color=COLOURS[layer["outcome"]])
        if not any(layer["outcome"] == "verified" for layer in self._layers.values()):
            self._display.display("Nothing was verified in this run.", color="bright yellow")
        top, site["not_asked"] = not_asked(site.pop("layers", []), self._layers)
        if site["not_asked"]:
            text = describe_not_asked(top, site["not_asked"], site["inventory"])
            self._display.display(text, color="bright yellow")
        self._display.display(f"total {total:.0f} s")
        failed = bool(stats.failures or stats.dark)
        if not failed and site.get("url"):
            self._display.display(f"\nThe site:   {site['url']}\nJupyterHub: {site['jupyterhub_url'] or 'none'}")
            if site["notice"]:
                self._display.display(site["notice"], color="bright yellow")
        if site.get("reports_dir"):
            write_report(pathlib.Path(site.pop("reports_dir")), site, list(self._layers.values()), total)

    def _close(self):
        """Add the time since the last play to its layer."""
        now = time.monotonic()
        if self._current is not None:
            self._current["seconds"] = round(self._current["seconds"] + now - self._since, 1)
        self._since = now
        self._current = None

    def _take_report(self, result):
        """Add the report of a gate to the recap."""
        report = result.result.get("report") if result.task.action.endswith("verify_layer") else None
        if not isinstance(report, dict) or "outcome" not in report:
            return
        layer = self._layers.setdefault(report["layer"], new_layer(report["layer"]))
        layer["asked"] = True
        layer["outcome"] = report["outcome"]
        layer["checks"] = {"passed": report["passed"], "failed": report["failed"]}
        layer["left_out"] = report.get("left_out", {})
        layer["reason"] = report["reason"].splitlines()[0] if report["reason"] else ""
        layer["not_verified_on"] = report["not_verified_on"]
        if self._current is not layer:
            layer["seconds"] = round(layer["seconds"] + report["seconds"], 1)

    def _site(self):
        """Return the site's addresses, from the variables of the last host that answered."""
        manager = self._play.get_variable_manager()
        # If no host took part, any host has the site's common variables; Ansible has no public API for the hosts.
        host = self._host or next(iter(manager._inventory.get_hosts(ignore_limits=True)), None)
        if host is None:
            return {}
        values = manager.get_vars(play=self._play, host=host)
        # Ansible sets this only in runs with hosts.
        values.setdefault("hostvars", HostVars(manager._inventory, manager, self._play.get_loader()))
        templar = Templar(loader=self._play.get_loader(), variables=values)
        groups = values.get("groups", {})
        site = {"inventory": [str(source) for source in values.get("ansible_inventory_sources") or []]}
        site["layers"] = list(templar.template(values.get("layers", [])))
        for key, name in (
            ("url", "site_url"),
            ("notice", "site_notice"),
            ("jupyterhub_url", "site_jupyterhub_url"),
            ("reports_dir", "reports_dir"),
        ):
            wanted = name in values and (key == "reports_dir" or groups.get("proxy"))
            site[key] = str(templar.template(values[name])) if wanted else None
        if not groups.get("jupyterhub"):
            site["jupyterhub_url"] = None
        return site


COLOURS = {"verified": "green", "failed": "red", "not verified": "bright yellow"}


def new_layer(name):
    """Return the initial record of a layer (name: str)."""
    return {
        "layer": name,
        "applied": False,
        "check_mode": False,
        "changed": 0,
        "asked": False,
        "outcome": "not verified",
        "checks": {"passed": 0, "failed": 0},
        "left_out": {},
        "not_verified_on": [],
        "reason": "",
        "seconds": 0.0,
    }


def not_asked(order, layers):
    """Find the gates below the highest applied layer that were not part of this run.

    Args:
        order: list of str, the site's layers, lowest first.
        layers: dict of dict, as from new_layer, by name.

    Returns:
        A tuple of the highest applied layer (str, empty if there is none) and the gates (list of str).
    """
    # A study is not a layer. With scripts/deploy --layer, `order` has only the layers below, whose gates are run.
    top = next((name for name in reversed(order) if layers.get(name, {}).get("applied")), "")
    below = order[: order.index(top)] if top else []
    return top, [name for name in below if not layers.get(name, {}).get("asked")]


def describe_not_asked(top, gates, sources):
    """Describe which gates were not run, and which commands run them.

    Args:
        top: str, the layer above them.
        gates: list of str.
        sources: list of str, paths of the run's inventory.

    Returns:
        A str.
    """
    place = pathlib.Path(sources[-1] if sources else "INVENTORY")
    place = place.relative_to(PROJECT) if place.is_relative_to(PROJECT) else place
    return (
        f"The gates of {', '.join(gates)}, below {top}, were not run this time.\n"
        f"scripts/deploy {place} --layer {top} runs them first; scripts/run verify {place} runs all gates."
    )


def describe(layer):
    """Return a layer's line of the recap (layer: dict as from new_layer)."""
    applied = "not applied"
    if layer["applied"]:
        applied = (
            f"compared ({layer['changed']} to change)"
            if layer["check_mode"]
            else f"applied ({layer['changed']} changed)"
        )
    checks = f"{layer['checks']['passed']} checks passed"
    if layer["checks"]["failed"]:
        checks += f", {layer['checks']['failed']} failed"
    if layer["left_out"]:
        checks += f", {sum(layer['left_out'].values())} left out"
    line = f"{layer['layer']:<16}{applied:<24}{layer['outcome']:<14}{checks:<32}{layer['seconds']:>6.0f} s"
    if layer["not_verified_on"]:
        line += f"   not verified on {', '.join(layer['not_verified_on'])}"
    if layer["reason"]:
        line += f"   {layer['reason']}"
    for reason, number in layer["left_out"].items():
        line += f"\n{'':<16}{number} left out: {reason}"
    return line


def write_report(folder, site, layers, seconds):
    """Write site.json.

    Args:
        folder: pathlib.Path of the reports.
        site: dict with url, jupyterhub_url and inventory.
        layers: list of dict, as from new_layer.
        seconds: float, the whole run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    report = {**site, "seconds": round(seconds, 1), "layers": layers}
    (folder / "site.json").write_text(json.dumps(report, indent=2, cls=AnsibleJSONEncoder) + "\n")
