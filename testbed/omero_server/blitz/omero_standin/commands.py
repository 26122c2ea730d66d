"""Requests of omero.cmd: `ServiceFactory.submit` answers four, and any other with an error that names it.

Slice lets submit raise nothing, so the error travels as the response, as in the real server.
"""

import logging
import uuid

import Ice
import omero
import psycopg

from .deletion import Deletion
from .errors import Refusal, Unsupported
from .model import from_rtype
from .services.admin import event_context
from .services.sessions import allowed_session, session_object
from .sessions import context_of
from .usage import Usage

log = logging.getLogger(__name__)


class Handle(omero.cmd.Handle):
    """A request that is done, or that never will be: then its response is None."""

    def __init__(self, session, name, request, response):
        """Take the request and its response."""
        self.session = session
        self.name = name
        self.request = request
        self.response = response

    def addCallback(self, callback, current=None):
        """Do nothing: the client polls, and finds the response."""

    def removeCallback(self, callback, current=None):
        """Do nothing."""

    def getRequest(self, current=None):
        """Return the request."""
        return self.request

    def getResponse(self, current=None):
        """Return the response, null for one that is not done."""
        return self.response

    def getStatus(self, current=None):
        """Return that one step of one is done, or that it failed."""
        flags = [omero.cmd.State.FAILURE] if isinstance(self.response, omero.cmd.ERR) else []
        return omero.cmd.Status(steps=1, currentStep=1, flags=flags)

    def cancel(self, current=None):
        """Return that it is too late."""
        return False

    def close(self, current=None):
        """Forget the request."""
        self.session.handles.pop(self.name, None)


def submit(call, request):
    """Run a request.

    Args:
        call: calls.Call.
        request: omero.cmd.Request.

    Returns:
        omero.cmd.HandlePrx of a request that is done. One that writes never is where the database is read-only: the
        real server refuses the transaction before the request has begun, fails at telling so, and clients wait until
        they give up.
    """
    try:
        response = None if call.blitz.database.read_only and _writes(request) else _answer(call, request)
    except Refusal as refusal:
        log.info("%s refused: %s", type(request).__name__, refusal)
        response = _error(request, refusal.ice_name, refusal)
    except psycopg.Error as error:  # its transaction is void, nothing was written
        log.error("%s failed", type(request).__name__, exc_info=error)
        response = _error(request, "InternalException", error)
    name = f"handle-{uuid.uuid4()}"
    call.session.handles[name] = Handle(call.session, name, request, response)
    return omero.cmd.HandlePrx.uncheckedCast(call.blitz.proxy(name, call.session.uuid))


def _error(request, name, error):
    return omero.cmd.ERR(category=request.ice_id(), name=name, parameters={"message": str(error)})


def _answer(call, request):
    match request:
        case omero.cmd.CurrentSessionsRequest():
            return _current_sessions(call)
        case omero.cmd.UpdateSessionTimeoutRequest():
            session = allowed_session(call, request.session)
            if request.timeToIdle is not None:
                session.time_to_idle = from_rtype(request.timeToIdle)
            if request.timeToLive is not None:
                session.time_to_live = from_rtype(request.timeToLive)
            return omero.cmd.OK()
        case omero.cmd.Delete2():
            return _delete(call, request)
        case omero.cmd.DiskUsage2():
            return _usage(call, request)
    raise Unsupported(f"the request {request.ice_id()}")


def _writes(request):
    match request:
        case omero.cmd.UpdateSessionTimeoutRequest():
            return True
        case omero.cmd.Delete2():
            return not request.dryRun
    return False


def _current_sessions(call):
    """List the open sessions: every one for administrators, their own for others."""
    response = omero.cmd.CurrentSessionsResponse(sessions=[], contexts=[], data=[])
    for session in call.blitz.sessions.open_sessions():
        if call.context.is_admin or session.user_id == call.session.user_id:
            response.sessions.append(session_object(call, session))
            response.contexts.append(event_context(call, session, context_of(call.connection, session)))
            response.data.append({})
    return response


def _delete(call, request):
    """Delete objects, or only say which."""
    if request.typesToIgnore:
        raise Unsupported("Delete2 with typesToIgnore")
    left = {name for option in request.childOptions or [] for name in option.excludeType or []}
    along = {name for option in request.childOptions or [] for name in option.includeType or []}
    deletion = Deletion(call, left, along)
    for name, identifiers in request.targetObjects.items():
        deletion.add(name.strip("/"), identifiers)
    response = omero.cmd.Delete2Response(deletedObjects=deletion.objects())
    if not request.dryRun:
        deletion.run()
    return response


def _usage(call, request):
    """Say how much space objects take."""
    usage = Usage(call)
    for name, identifiers in (request.targetObjects or {}).items():
        usage.add(name, identifiers)
    for name in request.targetClasses or []:
        usage.add(name, None)
    return usage.response()


def servant_for(session, name):
    """Return the Handle of a session by the name of its identity, or None."""
    servant = session.handles.get(name)
    return servant if isinstance(servant, Ice.Object) else None
