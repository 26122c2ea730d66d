"""From an Ice operation to a method of a service: one session, one transaction, a log line when refused."""

import logging
from contextlib import ExitStack, contextmanager
from functools import cached_property

import omero
import psycopg

from .database import PoolTimeout
from .errors import Invalid, Refusal, Unsupported
from .permissions import ALL_GROUPS
from .read_only import ReadOnly, check
from .sessions import context_of

log = logging.getLogger(__name__)

# What a method returns whose operation has no result: Ice tells that from a result that is null.
DONE = object()


class Call:
    """What a service may know of the call that it answers.

    Attributes:
        blitz: server.Blitz.
        session: sessions.Session of the caller.
        ice_context: dict of str to str that came with the call; omero.group names the group to work in.
        afterwards: list of functions without arguments, run when the transaction has ended well.
    """

    def __init__(self, blitz, session, ice_context, stack):
        """Take what the servant knows; `stack` ends the transaction."""
        self.blitz = blitz
        self.session = session
        self.ice_context = ice_context
        self.afterwards = []
        self._stack = stack

    @cached_property
    def connection(self):
        """The psycopg connection of this call's transaction."""
        return self._stack.enter_context(self.blitz.database.transaction())

    @cached_property
    def context(self):
        """The permissions.Context of this call."""
        group = self.ice_context.get("omero.group", "")
        # A login that names its group sends the name along with every call: the session works in it already.
        is_id = group.removeprefix("-").isdigit()
        return context_of(self.connection, self.session, int(group) if is_id else None)

    def context_for_all(self):
        """Return the call's permissions.Context as if it had asked for every group of the user."""
        return context_of(self.connection, self.session, ALL_GROUPS)


@contextmanager
def apart(call):
    """Give another Call of the same caller, whose transaction ends with the block: others see what it wrote then.

    The call itself must not have used its own connection before.
    """
    with work_of(call.blitz, call.session, call.ice_context) as other:
        yield other


@contextmanager
def work_of(blitz, session, ice_context=None):
    """Give a Call of a sessions.Session that no client made, with a transaction of its own."""
    with ExitStack() as stack:
        call = Call(blitz, session, ice_context or {}, stack)
        yield call
    for each in call.afterwards:
        each()


def exception_of(error, what):
    """Return the omero exception that tells a client of an error, and log the error.

    Args:
        error: Exception.
        what: str, the service and operation.
    """
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        error = ReadOnly()
    elif isinstance(error, psycopg.errors.IntegrityError):
        # Clients look for this Java class to tell a name that is taken.
        error = Invalid(f"org.hibernate.exception.ConstraintViolationException: {error}")
    elif isinstance(error, psycopg.errors.DataError):
        error = Invalid(str(error))
    more = {}
    if isinstance(error, omero.ServerError):  # another process said so
        log.info("%s refused: %s: %s", what, type(error).__name__, error.message)
        return error
    if isinstance(error, Refusal):
        log.info("%s refused: %s: %s", what, error.ice_name, error)
        name, message, more = error.ice_name, str(error), error.more or {}
    elif isinstance(error, PoolTimeout):
        log.error("%s: no database connection was free", what)
        name, message = "DatabaseBusyException", "no database connection was free"
    else:
        log.error("%s failed", what, exc_info=error)
        name, message = "InternalException", f"{type(error).__name__}: {error}"
    return getattr(omero, name)(serverExceptionClass=f"ome.conditions.{name}", message=message, **more)


def answer(blitz, service, name, operation, arguments, current):
    """Run one operation of a service in a transaction of its own.

    Raises:
        omero.ServerError: the operation is refused, unknown to the stand-in, or failed; nothing was written.
    """
    what = f"{name}.{operation}"
    try:
        if blitz.database.read_only:
            check(name, operation)
        method = getattr(service, operation, None)
        if method is None:
            raise Unsupported(what)
        with ExitStack() as stack:
            # What does not bear its session's name knows it; `acts_as` is the server's own.
            uuid = getattr(service, "session_uuid", None) or current.id.category.removeprefix("session-")
            session = getattr(service, "acts_as", None) or blitz.sessions.get(uuid)
            call = Call(blitz, session, current.ctx, stack)
            result = method(call, *arguments)
        for each in call.afterwards:
            each()
        return result
    except Exception as error:
        raise exception_of(error, what) from error


def make_servant(blitz, interface, service, name):
    """Return an Ice servant whose every operation is answered by the method of that name of `service`.

    Args:
        blitz: server.Blitz.
        interface: class, generated from Slice, omero.api.IAdmin for example.
        service: object; an operation that it has no method for is refused by name.
        name: str, the interface's name for messages.
    """
    members = {}
    for attribute in dir(interface):
        operation = attribute.removeprefix("_op_")
        if not attribute.startswith("_op_") or operation.startswith("ice_"):
            continue
        if hasattr(interface, f"{operation}_async"):
            members[f"{operation}_async"] = _asynchronous(blitz, service, name, operation)
        else:
            members[operation] = _synchronous(blitz, service, name, operation)
    return type(f"{name}Servant", (interface,), members)()


def _synchronous(blitz, service, name, operation):
    def run(self, *arguments, current=None):
        *arguments, current = arguments if current is None else (*arguments, current)
        result = answer(blitz, service, name, operation, arguments, current)
        return None if result is DONE else result

    return run


def _asynchronous(blitz, service, name, operation):
    def run(self, callback, *arguments, current=None):
        *arguments, current = arguments if current is None else (*arguments, current)
        try:
            result = answer(blitz, service, name, operation, arguments, current)
        except omero.ServerError as error:
            return callback.ice_exception(error)
        return callback.ice_response() if result is DONE else callback.ice_response(result)

    return run
