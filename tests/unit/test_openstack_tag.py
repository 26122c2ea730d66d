"""Which of a cloud's resources are tagged; the tagging itself is tested with real services."""

import types

import pytest

from plugins.modules import openstack_tag


def resource(name, *tags):
    """A network, as the library has it."""
    return types.SimpleNamespace(name=name, tags=list(tags))


def test_what_has_the_tag_is_left_alone():
    """A second run changes nothing, and other tags do not matter."""
    first, second = resource("a", "other"), resource("b", "other", "mine")
    assert openstack_tag.untagged([first, second], ["a", "b"], "name", {"mine"}) == [first]


@pytest.mark.parametrize(("names", "number"), [(["none"], 0), (["twice"], 2)])
def test_a_name_that_is_not_of_one_thing_is_refused(names, number):
    """No resource of somebody else is tagged by mistake."""
    found = [resource("twice"), resource("twice")]
    with pytest.raises(LookupError, match=f"{number} are called '{names[0]}'"):
        openstack_tag.untagged(found, names, "name", {"mine"})


def test_every_tag_is_wanted():
    """One of two is not enough."""
    half = resource("a", "site")
    assert openstack_tag.untagged([half], ["a"], "name", {"site", "server"}) == [half]
