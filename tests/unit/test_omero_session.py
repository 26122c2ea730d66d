"""Sessions of modules with OMERO.server: they wait for a server that has just started, and for nothing else."""

import pytest

from plugins.module_utils import omero_session


class Client:
    """A client whose logins end as they are told to."""

    def __init__(self, *outcomes):
        """Take what comes of each login: an exception, or a session."""
        self.outcomes = list(outcomes)

    def createSession(self, user, password):
        """Return the next session, or raise."""
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Let time pass by sleeping alone."""
    now = [0.0]
    monkeypatch.setattr(omero_session.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(omero_session.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))


NOT_READY = RuntimeError("Obtained null object proxy")


def test_waits_for_a_server_that_has_just_started():
    """The null proxy of the first seconds is asked again."""
    assert omero_session.create_session(Client(NOT_READY, NOT_READY, "session"), "root", "x") == "session"


def test_gives_up():
    """A server that never gets there is not waited for without end."""
    client = Client(*[NOT_READY] * 100)
    with pytest.raises(RuntimeError, match="null object"):
        omero_session.create_session(client, "root", "x")
    assert 60 < len(client.outcomes) < 75


def test_other_refusals_are_not_repeated():
    """A wrong password stays wrong."""
    client = Client(PermissionError("Password check failed"), "session")
    with pytest.raises(PermissionError):
        omero_session.create_session(client, "root", "x")
    assert client.outcomes == ["session"]
