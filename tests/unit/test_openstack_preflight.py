"""What the preflight of an OpenStack counts and says; the questions themselves are asked of real services."""

import types

from plugins.modules import openstack_preflight as preflight

FLAVORS = {"small": types.SimpleNamespace(vcpus=1, ram=1024), "big": types.SimpleNamespace(vcpus=8, ram=32768)}


def server(name, flavor="small"):
    """A wanted server."""
    return {"name": name, "flavor": flavor, "floating_ip": False}


def test_missing_things_are_counted_as_quotas_do():
    """Cores and memory come from each server's own flavor."""
    volumes = [{"name": "a", "size": 100}, {"name": "b", "size": 50}]
    assert preflight.count([server("a"), server("b", "big")], volumes, FLAVORS, 1, 8) == {
        "instances": 2,
        "cores": 9,
        "ram": 33792,
        "volumes": 2,
        "gigabytes": 150,
        "ports": 2,
        "floating IPs": 1,
        "security groups": 8,
    }


def test_a_flavor_that_is_missing_counts_nothing():
    """It is a problem of its own, and the rest is still counted."""
    assert preflight.count([server("a", "none"), server("b")], [], FLAVORS, 0, 0)["cores"] == 1


def test_a_quota_that_just_suffices_is_none():
    """The last unit may be used."""
    assert preflight.shortages({"cores": 2}, {"cores": (18, 20)}) == []


def test_a_quota_that_is_too_small_by_one_is_told():
    """Need, rest, and what is in use are in the sentence, with their unit."""
    (problem,) = preflight.shortages({"ram": 3}, {"ram": (18, 20)})
    assert "3 MiB more are needed, and 2 MiB are left (18 of 20 in use)" in problem


def test_a_negative_limit_is_no_limit():
    """OpenStack writes unlimited as -1."""
    assert preflight.shortages({"cores": 1000}, {"cores": (18, -1)}) == []


def test_a_quota_that_is_exceeded_already_does_not_matter_to_whom_needs_nothing():
    """A second run of a site that is complete goes on when an operator has lowered the quota."""
    assert preflight.shortages({"cores": 0}, {"cores": (30, 20)}) == []


def test_every_absence_is_told_with_what_there_is():
    """A name that was mistyped is found by looking at the others."""
    problems = preflight.absences(["small", "smal", "tiny"], FLAVORS, "flavor", "servers")
    assert problems == [
        "flavor 'smal' (servers) is not in this cloud; it has big, small.",
        "flavor 'tiny' (servers) is not in this cloud; it has big, small.",
    ]


def test_a_server_without_floating_ip_is_seen():
    """Its fixed address is none."""
    fixed, floating = {"OS-EXT-IPS:type": "fixed"}, {"OS-EXT-IPS:type": "floating"}
    assert not preflight.has_floating_ip(None)
    assert not preflight.has_floating_ip(types.SimpleNamespace(addresses={"n": [fixed]}))
    assert preflight.has_floating_ip(types.SimpleNamespace(addresses={"n": [fixed, floating]}))
