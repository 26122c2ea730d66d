"""The rules that the test cloud derives from neutron's; their effect on packets is tested on its servers."""

import importlib.util
import pathlib
import sys

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "testbed/roles/test_cloud/files"


@pytest.fixture(scope="module")
def router():
    """Return the module, which loads its neighbours by name."""
    sys.path.insert(0, str(FOLDER))
    try:
        specification = importlib.util.spec_from_file_location("router", FOLDER / "router.py")
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(FOLDER))


def policy(router, **changes):
    """A rule of the group `own` for incoming TCP, with changes."""
    given = {
        "group": "own",
        "direction": "ingress",
        "remote_group": None,
        "remote_range": None,
        "protocol": "tcp",
        "low": 5432,
        "high": 5432,
    }
    return router.Rule(**given | changes)


def test_a_remote_group_is_each_of_its_addresses(router):
    """A remote group without addresses results in no rule."""
    addresses = {"others": {"10.0.0.3", "10.0.0.2"}, "none": set()}
    assert router.matches(policy(router, remote_group="others"), addresses) == [
        " -s 10.0.0.2/32 -p tcp --dport 5432:5432",
        " -s 10.0.0.3/32 -p tcp --dport 5432:5432",
    ]
    assert router.matches(policy(router, remote_group="none"), addresses) == []


def test_a_range_is_itself_and_none_is_everybody(router):
    """What goes out has its remote as the destination."""
    assert router.matches(policy(router, remote_range="10.0.0.0/24"), {}) == [
        " -s 10.0.0.0/24 -p tcp --dport 5432:5432"
    ]
    everything = policy(router, direction="egress", protocol=None, low=None, high=None)
    assert router.matches(everything, {}) == [""]


def test_a_rule_that_is_not_known_is_refused(router):
    """No packet is accepted or dropped by accident."""
    with pytest.raises(ValueError, match="this stand-in supports only ports of tcp and udp"):
        router.matches(policy(router, protocol="sctp"), {})


def test_what_no_rule_lets_through_is_dropped(router):
    """For each port in each direction, after its own rules; from outside only by a floating IP."""
    port = router.Port("0123456789abcdef", "10.0.0.2", ["own"])
    text = router.rules("10.214", [], [router.Floating("10.214.1.5", "10.0.0.2")], [port], [policy(router)])
    lines = text.splitlines()
    assert "-A PREROUTING -d 10.214.1.5/32 -j DNAT --to-destination 10.0.0.2" in lines
    chain = [line for line in lines if line.startswith("-A ingress-0123456789a ")]
    assert chain == [
        "-A ingress-0123456789a -p tcp --dport 5432:5432 -j RETURN",
        "-A ingress-0123456789a -j DROP",
    ]
    assert [line for line in lines if line.startswith("-A egress-0123456789a ")] == ["-A egress-0123456789a -j DROP"]
    assert "-A FORWARD -i eth0 -m conntrack ! --ctstate DNAT -j DROP" in lines
