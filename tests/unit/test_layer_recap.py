"""The recap: what it reports about a layer, and that a missing result never counts as success."""

import json
from types import SimpleNamespace

import pytest

from plugins.callback import layer_recap


@pytest.fixture
def recap():
    """Return the callback, before a run."""
    return layer_recap.CallbackModule()


def play(*tags, check_mode=False):
    """Return a play with these tags."""
    return SimpleNamespace(tags=list(tags), check_mode=check_mode)


def result(action="ansible.builtin.command", name="task", **values):
    """Return a task's result on database01."""
    return SimpleNamespace(
        host=SimpleNamespace(get_name=lambda: "database01"),
        task=SimpleNamespace(action=action, get_name=lambda: name),
        result=values,
        is_changed=lambda: values.get("changed", False),
    )


def gate_report(outcome, passed=0, failed=0, reason="", **more):
    """Return a gate's result."""
    report = {"layer": "database", "outcome": outcome, "passed": passed, "failed": failed, "reason": reason}
    return result("verify_layer", report=report | {"not_verified_on": [], "seconds": 2.0} | more)


def test_a_layer_begins_unverified():
    """A layer without any result counts as not verified."""
    line = layer_recap.describe(layer_recap.new_layer("database"))
    assert line.split()[:5] == ["database", "not", "applied", "not", "verified"]


def test_a_verified_layer(recap):
    """Applied, changed, checks and outcome come from the plays of the layer."""
    recap.v2_playbook_on_play_start(play("database", "apply"))
    recap.v2_runner_on_ok(result(changed=True))
    recap.v2_runner_on_ok(result())
    recap.v2_playbook_on_play_start(play("database", "verify"))
    recap.v2_runner_on_ok(gate_report("verified", passed=9))
    line = layer_recap.describe(recap._layers["database"])
    assert "applied (1 changed)" in line
    assert " verified" in line
    assert "9 checks passed" in line


def test_check_mode_applies_nothing(recap):
    """The recap says how much would change, not that it was applied."""
    recap.v2_playbook_on_play_start(play("database", "apply", check_mode=True))
    recap.v2_runner_on_ok(result(changed=True))
    line = layer_recap.describe(recap._layers["database"])
    assert "compared (1 to change)" in line
    assert "applied" not in line


def test_what_a_gate_left_out_is_shown(recap):
    """How many promises, and why."""
    recap.v2_playbook_on_play_start(play("database", "verify"))
    recap.v2_runner_on_ok(gate_report("verified", passed=3, left_out={"the site is closed": 9, "one host": 2}))
    lines = layer_recap.describe(recap._layers["database"]).splitlines()
    assert "3 checks passed, 11 left out" in lines[0]
    assert [line.strip() for line in lines[1:]] == ["9 left out: the site is closed", "2 left out: one host"]


def test_a_failed_gate_is_shown_with_its_reason(recap):
    """The first line of the reason is enough for the recap."""
    recap.v2_playbook_on_play_start(play("database", "verify"))
    recap.v2_runner_on_failed(gate_report("failed", passed=8, failed=1, reason="1 of 9 promises not kept\noutput"))
    line = layer_recap.describe(recap._layers["database"])
    assert "failed" in line
    assert "8 checks passed, 1 failed" in line
    assert line.endswith("1 of 9 promises not kept")


def test_a_failed_task_names_host_and_task(recap):
    """The recap names the host and the task of the failure; ignored errors are not failures."""
    recap.v2_playbook_on_play_start(play("database", "apply"))
    recap.v2_runner_on_failed(result(name="Ignored"), ignore_errors=True)
    assert recap._layers["database"]["outcome"] == "not verified"
    recap.v2_runner_on_failed(result(name="Install"))
    assert recap._layers["database"]["outcome"] == "failed"
    assert recap._layers["database"]["reason"] == "database01: Install"


def test_a_gate_without_hosts_is_not_verified(recap):
    """With a --limit that leaves no host, nothing was verified."""
    recap.v2_playbook_on_play_start(play("database", "verify"))
    recap.v2_playbook_on_no_hosts_matched()
    layer = recap._layers["database"]
    assert layer["outcome"] == "not verified"
    assert "no host" in layer_recap.describe(layer)


def test_a_limit_names_the_hosts_it_left_out(recap):
    """Hosts of the layer's group that took no part are named."""
    recap.v2_playbook_on_play_start(play("database", "verify"))
    recap.v2_runner_on_ok(gate_report("verified", passed=9, not_verified_on=["database02"]))
    assert "not verified on database02" in layer_recap.describe(recap._layers["database"])


def test_an_unreachable_host_fails_its_layer(recap):
    """A host that is not there has not been verified."""
    recap.v2_playbook_on_play_start(play("database", "apply"))
    recap.v2_runner_on_unreachable(result())
    assert recap._layers["database"]["outcome"] == "failed"
    assert "cannot be reached" in recap._layers["database"]["reason"]


def layers(applied=(), asked=()):
    """Return the layers of a run by name, some of them applied, some of them with their gates asked."""
    names = dict.fromkeys([*applied, *asked])
    return {name: layer_recap.new_layer(name) | {"applied": name in applied, "asked": name in asked} for name in names}


@pytest.mark.parametrize(
    ("order", "applied", "asked", "missing"),
    [
        # A layer's playbook alone, or its tag.
        (["hosts", "storage", "web"], ["web"], ["web"], ["hosts", "storage"]),
        (["hosts", "storage", "web"], ["web"], ["web", "storage"], ["hosts"]),
        # scripts/deploy --layer web: the layers below it are the run's only layers. A study is no layer.
        (["hosts", "storage"], ["web"], ["hosts", "storage", "web"], []),
        (["hosts", "storage", "web"], ["hosts", "storage", "web"], ["hosts", "storage", "web"], []),
        # All layers without their gates: nothing below the highest was verified.
        (["hosts", "storage", "web"], ["hosts", "storage", "web"], [], ["hosts", "storage"]),
        # The lowest layer builds on none, and the health check applies none.
        (["hosts", "storage", "web"], ["hosts"], ["hosts"], []),
        (["hosts", "storage", "web"], [], ["web"], []),
    ],
)
def test_gates_that_were_not_asked(order, applied, asked, missing):
    """A layer that is applied without the gates below it builds on what nobody looked at."""
    assert layer_recap.not_asked(order, layers(applied, asked))[1] == missing


def test_the_recap_says_which_gates_were_not_asked(recap, monkeypatch):
    """And which command asks them."""
    shown = []
    monkeypatch.setattr(
        recap, "_display", SimpleNamespace(banner=shown.append, display=lambda text, **_: shown.append(text))
    )
    inventory = [str(layer_recap.PROJECT / "inventories/demo")]
    site = {"url": None, "inventory": inventory, "layers": ["hosts", "storage", "database"], "reports_dir": None}
    monkeypatch.setattr(recap, "_site", lambda: site)
    recap.v2_playbook_on_play_start(play("database", "apply"))
    recap.v2_runner_on_ok(result(changed=True))
    recap.v2_playbook_on_play_start(play("database", "verify"))
    recap.v2_runner_on_ok(gate_report("verified", passed=9))
    recap.v2_playbook_on_stats(SimpleNamespace(failures={}, dark={}))
    [line] = [text for text in shown if "not run" in text]
    assert "The gates of hosts, storage, below database, were not run" in line
    assert "scripts/deploy inventories/demo --layer database runs them first" in line


def test_plays_of_no_layer_are_left_out(recap):
    """Provisioning has no gate and no line."""
    recap.v2_playbook_on_play_start(play("provision"))
    recap.v2_runner_on_ok(result(changed=True))
    assert recap._layers == {}


@pytest.mark.parametrize("notice", ["", "This is a demonstration."])
def test_the_notice_of_a_site_is_shown(recap, monkeypatch, notice):
    """Last, below the addresses; a site without one has no empty line."""
    shown = []
    monkeypatch.setattr(
        recap, "_display", SimpleNamespace(banner=shown.append, display=lambda text, **_: shown.append(text))
    )
    monkeypatch.setattr(recap, "_site", lambda: {"url": "https://192.0.2.1/", "jupyterhub_url": None, "notice": notice})
    recap.v2_playbook_on_play_start(play("database", "apply"))
    recap.v2_playbook_on_stats(SimpleNamespace(failures={}, dark={}))
    assert shown[-1] == (notice or "\nThe site:   https://192.0.2.1/\nJupyterHub: none")


def test_the_report_file(tmp_path):
    """site.json has the addresses and every layer."""
    site = {"url": "https://192.0.2.1/", "jupyterhub_url": None, "inventory": ["inventories/demo"]}
    layer_recap.write_report(tmp_path / "reports", site, [layer_recap.new_layer("database")], 12.34)
    report = json.loads((tmp_path / "reports" / "site.json").read_text())
    assert report["url"] == "https://192.0.2.1/"
    assert report["seconds"] == 12.3
    assert report["layers"][0]["outcome"] == "not verified"
