"""What the preflight of an OpenStack counts and reports; its queries are tested with real services."""

import types

from plugins.modules import openstack_preflight as preflight

FLAVORS = {"small": types.SimpleNamespace(vcpus=1, ram=1024), "big": types.SimpleNamespace(vcpus=8, ram=32768)}


# A site's network is there.
COMPLETE = {"networks": 0, "subnets": 0, "routers": 0}


def server(name, flavor="small", boot_volume=None):
    """A wanted server."""
    return {"name": name, "flavor": flavor, "floating_ip": False, "boot_volume": boot_volume}


def thing(identity, name, size):
    """A volume or snapshot of the cloud."""
    return types.SimpleNamespace(id=identity, name=name, size=size)


def test_missing_things_are_counted_as_quotas_do():
    """Cores and memory come from each server's own flavor, boot volumes are volumes, and a router has a port."""
    volumes = [{"name": "a", "size": 100}, {"name": "b", "size": 50}]
    network = {"networks": 1, "subnets": 1, "routers": 1}
    assert preflight.count([server("a"), server("b", "big", 20)], volumes, FLAVORS, 1, 8, network) == {
        "instances": 2,
        "cores": 9,
        "ram": 33792,
        "volumes": 3,
        "gigabytes": 170,
        "ports": 3,
        "floating IPs": 1,
        "security groups": 8,
        **network,
    }


def test_a_flavor_that_is_missing_counts_nothing():
    """The missing flavor is a separate problem, and the rest is still counted."""
    assert preflight.count([server("a", "none"), server("b")], [], FLAVORS, 0, 0, COMPLETE)["cores"] == 1


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
    """The message lists the names that exist, so that a typing error is easy to find."""
    problems = preflight.absences(["small", "smal", "tiny"], FLAVORS, "flavor", "servers")
    assert problems == [
        "flavor 'smal' (servers) is not in this cloud; it has big, small.",
        "flavor 'tiny' (servers) is not in this cloud; it has big, small.",
    ]


def test_a_server_without_floating_ip_is_seen():
    """A fixed address does not count as a floating IP."""
    fixed, floating = {"OS-EXT-IPS:type": "fixed"}, {"OS-EXT-IPS:type": "floating"}
    assert not preflight.has_floating_ip(None)
    assert not preflight.has_floating_ip(types.SimpleNamespace(addresses={"n": [fixed]}))
    assert preflight.has_floating_ip(types.SimpleNamespace(addresses={"n": [fixed, floating]}))


def test_a_volume_that_would_shrink_is_told():
    """A volume that is missing, of the same size or smaller is not reported."""
    wanted = [{"name": name, "size": 10} for name in ("missing", "same", "smaller", "larger")]
    (problem,) = preflight.shrinking(wanted, {"same": 10, "smaller": 5, "larger": 11})
    assert problem.startswith("volume 'larger' has 11 GiB, expected 10;")


def test_a_source_is_found_by_name_or_id():
    """As OpenStack's own clients do."""
    for source in ("old", "id-1"):
        wanted = [{"name": "new", "size": 10, "volume": source}]
        assert preflight.unfit_sources(wanted, "volume", [thing("id-1", "old", 10), thing("id-2", "other", 20)]) == []


def test_a_source_that_is_no_source_is_told():
    """No source has the name, two sources have it, or the source is larger than the volume."""
    offered = [thing("1", "twice", 1), thing("2", "twice", 1), thing("3", "large", 20)]
    wanted = [{"name": "new", "size": 10, "snapshot": source} for source in ("none", "twice", "large")]
    problems = preflight.unfit_sources(wanted, "snapshot", offered)
    assert ["are 0" in problems[0], "are 2" in problems[1], "has 20" in problems[2], len(problems)] == [
        True,
        True,
        True,
        3,
    ]
