"""A session with OMERO.server for Ansible modules, which run with an interpreter that has omero-py."""

from __future__ import annotations

import contextlib
import time

# For some seconds after its start OMERO.server takes logins and has no session to give: the client gets a null proxy.
NOT_READY = ("Obtained null object prox", "Server not fully initialized")
READY_TIMEOUT = 30  # seconds

ARGUMENTS = {
    "login_host": {"type": "str", "default": "localhost"},
    "login_port": {"type": "int", "default": 4064},
    "login_user": {"type": "str", "default": "root"},
    "login_password": {"type": "str", "required": True, "no_log": True},
}


@contextlib.contextmanager
def session(module):
    """Log in to OMERO.server, and log out at the end.

    Args:
        module: AnsibleModule with the arguments ARGUMENTS.

    Yields:
        omero.client with a session over TLS.

    The module fails if omero-py is missing, or, with the server's message, if the login fails.
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
    client = omero.client(host=host, port=port)
    try:
        create_session(client, user, module.params["login_password"])
    except (Glacier2.PermissionDeniedException, Glacier2.CannotCreateSessionException) as problem:
        module.fail_json(msg=f"{user} cannot log in to OMERO.server on {host}:{port}: {problem.reason}")
    except (Ice.Exception, omero.ClientError) as problem:
        module.fail_json(msg=f"OMERO.server on {host}:{port} does not answer: {problem}")
    try:
        yield client
    except omero.ServerError as problem:
        module.fail_json(msg=f"OMERO.server refused the request: {type(problem).__name__}: {problem.message}")
    finally:
        client.closeSession()


def create_session(client, user, password):
    """Log in; wait for a server that has just started.

    Args:
        client: omero.client.
        user: str.
        password: str.

    Raises:
        Exception: as of omero.client.createSession.
    """
    end = time.monotonic() + READY_TIMEOUT
    while True:
        try:
            return client.createSession(user, password)
        except Exception as problem:
            words = f"{problem} {getattr(problem, 'reason', '')}"
            if time.monotonic() > end or not any(each in words for each in NOT_READY):
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
        create_session(client, user, password)
    except (Glacier2.PermissionDeniedException, Glacier2.CannotCreateSessionException):
        return False
    client.closeSession()
    return True
