"""Sessions of modules with OMERO.server: they wait only for a server that has just started."""

import sys
import types

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


class Refused(Exception):
    """As Ice's: nothing listens at the port yet."""

    def __str__(self):
        """Return Ice's words."""
        return "Ice.ConnectionRefusedException:\nConnection refused"


class Denied(Exception):
    """As Glacier2's: the words are an attribute of its own."""

    def __init__(self, reason):
        """Take the router's words."""
        super().__init__()
        self.reason = reason


NOT_READY = RuntimeError("Obtained null object proxy")
# The router listens before it can ask Blitz for a password.
NO_VERIFIER = Denied("internal server error")


@pytest.mark.parametrize("problem", [NOT_READY, Refused(), NO_VERIFIER])
def test_waits_for_a_server_that_has_just_started(problem):
    """The login is tried again while nothing listens, and while the server has no session to give."""
    client = Client(problem, problem, "session")
    assert omero_session.create_session(client, "root", "x", timeout=30) == "session"


@pytest.mark.parametrize("problem", [NOT_READY, Refused(), NO_VERIFIER])
@pytest.mark.parametrize(("timeout", "tries"), [(0, 1), (30, 31)])
def test_gives_up(problem, timeout, tries):
    """The wait for a server that never becomes ready ends after the timeout."""
    client = Client(*[problem] * 100)
    with pytest.raises(type(problem)):
        omero_session.create_session(client, "root", "x", timeout)
    assert len(client.outcomes) == 100 - tries


@pytest.mark.parametrize("problem", [PermissionError("Password check failed"), Denied("Password check failed")])
def test_other_refusals_are_not_repeated(problem):
    """A login with a wrong password is not repeated."""
    client = Client(problem, "session")
    with pytest.raises(type(problem)):
        omero_session.create_session(client, "root", "x", timeout=30)
    assert client.outcomes == ["session"]


# The session of a module


class Failed(Exception):
    """The exception that ends a failing module."""


class Module:
    """As AnsibleModule, with the arguments of a login."""

    _name = "omero_study"

    def __init__(self, timeout):
        """Take for how many seconds the login is tried."""
        login = {"login_host": "omero01", "login_port": 4064, "login_user": "curator", "login_password": "x"}
        self.params = login | {"login_timeout": timeout}

    def fail_json(self, msg):
        """Raise the message."""
        raise Failed(msg)


@pytest.fixture
def log_in(monkeypatch):
    """Return a function that opens a session whose logins end as they are told to, and returns the failure's message.

    Its arguments are the timeout (int) and what comes of each login.
    """
    glacier2, ice, omero = types.ModuleType("Glacier2"), types.ModuleType("Ice"), types.ModuleType("omero")
    glacier2.PermissionDeniedException, glacier2.CannotCreateSessionException = Denied, KeyError
    ice.Exception = Refused
    omero.ClientError, omero.ServerError = RuntimeError, OSError
    for name, stub in (("Glacier2", glacier2), ("Ice", ice), ("omero", omero)):
        monkeypatch.setitem(sys.modules, name, stub)

    def run(timeout, *outcomes):
        omero.client = lambda host, port: Client(*outcomes)
        with pytest.raises(Failed) as failure, omero_session.session(Module(timeout)):
            pass
        return str(failure.value)

    return run


def test_says_how_long_it_waited(log_in):
    """The message says how long the module waited, and which variable to set."""
    assert log_in(120, *[Refused()] * 200) == (
        "OMERO.server on omero01:4064 does not answer after 120 s (login_timeout: 120 s): "
        "Ice.ConnectionRefusedException:\nConnection refused"
    )
    message = log_in(120, *[NO_VERIFIER] * 200)
    assert message.endswith("omero01:4064 after 120 s (login_timeout: 120 s): internal server error")


def test_says_nothing_of_a_wait_that_was_none(log_in):
    """An immediate refusal is reported without a waiting time."""
    message = log_in(120, Denied("Password check failed"))
    assert message == "curator cannot log in to OMERO.server on omero01:4064: Password check failed"
