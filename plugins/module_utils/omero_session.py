"""A session with OMERO.server for Ansible modules, which run with an interpreter that has omero-py."""

from __future__ import annotations

import contextlib
import time

# What a server says while it is starting: first nothing listens; then Glacier2 cannot ask Blitz whether the password
# is right (SessionRouterI.cpp of Ice 3.6); then, for some seconds, there is no session to give: the client gets a null
# proxy.
NOT_READY = (
    "ConnectionRefusedException",
    "internal server error",
    "Obtained null object prox",
    "Server not fully initialized",
)

ARGUMENTS = {
    "login_host": {"type": "str", "default": "localhost"},
    "login_port": {"type": "int", "default": 4064},
    "login_user": {"type": "str", "default": "root"},
    "login_password": {"type": "str", "required": True, "no_log": True},
    "login_timeout": {"type": "int", "default": 30},
}


@contextlib.contextmanager
def session(module):
    """Log in to OMERO.server, if need be once it has started, and log out at the end.

    Args:
        module: AnsibleModule with the arguments ARGUMENTS.

    Yields:
        omero.client with a session over TLS.

    The module fails if omero-py is missing, or, with the server's message and the time of the wait, if the login fails.
    """
    try:
        import Glacier2
        import Ice
        import omero
    except ImportError as problem:
        module.fail_json(
            msg=f"omero-py is missing for {module._name}: {problem}. Set ansible_python_interpreter to the Python of a "
            "virtualenv with omero-py, such as /opt/omero/server/venv/bin/python."
        )
    host, port, user = (module.params[name] for name in ("login_host", "login_port", "login_user"))
    timeout = module.params["login_timeout"]
    client = omero.client(host=host, port=port)
    start = time.monotonic()
    try:
        create_session(client, user, module.params["login_password"], timeout)
    except (Glacier2.PermissionDeniedException, Glacier2.CannotCreateSessionException) as problem:
        waited = _waited(start, timeout)
        module.fail_json(msg=f"{user} cannot log in to OMERO.server on {host}:{port}{waited}: {problem.reason}")
    except (Ice.Exception, omero.ClientError) as problem:
        module.fail_json(msg=f"OMERO.server on {host}:{port} does not answer{_waited(start, timeout)}: {problem}")
    try:
        yield client
    except omero.ServerError as problem:
        module.fail_json(msg=f"OMERO.server refused the request: {type(problem).__name__}: {problem.message}")
    finally:
        client.closeSession()


def _waited(start, timeout):
    """Return for how long a login was tried (str), for its failure; empty if it failed at once.

    Args:
        start: float, when the first login began, as of time.monotonic.
        timeout: int, the argument login_timeout.
    """
    seconds = round(time.monotonic() - start)
    return f" after {seconds} s (login_timeout: {timeout} s)" if seconds else ""


def create_session(client, user, password, timeout):
    """Log in; wait for a server that is starting.

    Args:
        client: omero.client.
        user: str.
        password: str.
        timeout: int, for how many seconds the login is tried again while the server is starting; 0 for a single try.

    Returns:
        omero.api.ServiceFactoryPrx.

    Raises:
        Exception: as of omero.client.createSession.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            return client.createSession(user, password)
        except Exception as problem:
            words = f"{problem} {getattr(problem, 'reason', '')}"
            if time.monotonic() >= end or not any(each in words for each in NOT_READY):
                raise
        time.sleep(1)


def can_log_in(module, user, password):
    """Check whether a user can log in with a password.

    Args:
        module: AnsibleModule with the arguments ARGUMENTS, within its session.
        user: str.
        password: str.

    Returns:
        A bool.
    """
    import Glacier2
    import omero

    client = omero.client(host=module.params["login_host"], port=module.params["login_port"])
    try:
        create_session(client, user, password, module.params["login_timeout"])
    except (Glacier2.PermissionDeniedException, Glacier2.CannotCreateSessionException):
        return False
    client.closeSession()
    return True
