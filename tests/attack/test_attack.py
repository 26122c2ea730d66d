"""Attempts to get in, as somebody from anywhere makes them, a user of the hub, and an account on a host."""

import pytest
from attack import network, notebook, public  # noqa: F401 (they register their kinds)
from attack.attempts import KINDS
from jupyterhub.test_jupyterhub import names, settings

testinfra_hosts = ["ansible://proxy"]
# As the hub's gate finds names that the controller does not know.
__all__ = ["names", "settings"]


@pytest.mark.parametrize("kind", KINDS)
def test_attempts(rows, kind):
    """Nobody gets in by: {kind}."""
    row = rows(kind)
    assert not row.void, "the attempts prove nothing: " + "; ".join(row.void)
    shown = "; ".join(row.through[:5])
    assert not row.through, f"{len(row.through)} of {row.attempts} got through: {shown}"
