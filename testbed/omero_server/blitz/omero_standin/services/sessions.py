"""ISession: who is logged in, and for how long."""

import omero
import omero.rtypes as rtypes

from ..calls import DONE
from ..errors import ApiUsage, Forbidden, SessionGone
from ..model import new_object, permissions_object


def session_object(call, session):
    """Return a session as object of omero.model."""
    built = new_object("Session", session.id, True)
    built._uuid = rtypes.rstring(session.uuid)
    built._owner = new_object("Experimenter", session.user_id, False)
    built._timeToIdle = rtypes.rlong(session.time_to_idle)
    built._timeToLive = rtypes.rlong(session.time_to_live)
    built._started = rtypes.rtime(session.started)
    built._defaultEventType = rtypes.rstring("User")
    built._userAgent = rtypes.rstring(session.agent) if session.agent else None
    built._userIP = rtypes.rstring(session.address) if session.address else None
    if session.sudoer_id is not None:
        built._sudoer = new_object("Experimenter", session.sudoer_id, False)
    details = built._details
    details._owner = new_object("Experimenter", session.user_id, False)
    details._group = new_object("ExperimenterGroup", session.group_id, False)
    details._permissions = permissions_object(call.context, -120)
    return built


def allowed_session(call, identifier):
    """Return a session that the caller may see: their own, for administrators any.

    Raises:
        SessionGone: there is none with this uuid.
        Forbidden: it is another user's.
    """
    session = call.blitz.sessions.find(identifier)
    if session is None:
        raise SessionGone(f"No session with uuid {identifier}")
    if session.user_id != call.session.user_id and not call.context.is_admin:
        raise Forbidden("another user's session")
    return session


class Sessions:
    """Answers for the caller's own sessions; administrators may see and close any."""

    def getSession(self, call, identifier):
        """Return a session by its uuid."""
        return session_object(call, allowed_session(call, identifier))

    def getReferenceCount(self, call, identifier):
        """Return how many clients a session has."""
        return allowed_session(call, identifier).references

    def closeSession(self, call, given):
        """Take one client from a session; return how many are left, -2 where it ends so, -1 where it has ended."""
        if call.blitz.sessions.find(given.uuid.val) is None:
            return -1
        return call.blitz.sessions.release(allowed_session(call, given.uuid.val).uuid, close=True) or -2

    def getMyOpenSessions(self, call):
        """Return the caller's sessions."""
        return [session_object(call, each) for each in call.blitz.sessions.of_user(call.session.user_id)]

    def getMyOpenAgentSessions(self, call, agent):
        """Return the caller's sessions that a kind of client opened."""
        mine = call.blitz.sessions.of_user(call.session.user_id)
        return [session_object(call, each) for each in mine if each.agent == agent]

    def createSessionWithTimeouts(self, call, principal, time_to_live, time_to_idle):
        """Open a session for another user, which is for administrators, or another for the caller."""
        if not call.context.is_admin and principal.name != call.session.user_name:
            raise Forbidden(f"{call.session.user_name} cannot open a session for {principal.name}")
        if call.blitz.sessions.find(principal.name) is not None:
            raise ApiUsage("a session is no user")
        session = call.blitz.sessions.open(
            principal.name,
            group=principal.group or None,
            agent=call.ice_context.get(omero.constants.AGENT),
            time_to_idle=time_to_idle,
            time_to_live=time_to_live,
            sudoer_id=call.session.user_id,
        )
        session.references = 0
        return session_object(call, session)

    def createSessionWithTimeout(self, call, principal, time_to_live):
        """Open a session with the default time to idle; see createSessionWithTimeouts."""
        return self.createSessionWithTimeouts(call, principal, time_to_live, None)

    def createUserSession(self, call, time_to_live, time_to_idle, group):
        """Open another session for the caller."""
        principal = omero.sys.Principal(name=call.session.user_name, group=group)
        return self.createSessionWithTimeouts(call, principal, time_to_live, time_to_idle)

    # What a script is given, and what it gives

    def getInput(self, call, identifier, key):
        """Return what a session's script is given under a name, or null."""
        return allowed_session(call, identifier).inputs.get(key)

    def getInputs(self, call, identifier):
        """Return all that a session's script is given."""
        return dict(allowed_session(call, identifier).inputs)

    def getInputKeys(self, call, identifier):
        """Return the names of what a session's script is given."""
        return sorted(allowed_session(call, identifier).inputs)

    def setInput(self, call, identifier, key, value):
        """Give a session's script something under a name; null takes it away."""
        return _set(allowed_session(call, identifier).inputs, key, value)

    def getOutput(self, call, identifier, key):
        """Return what a session's script gave under a name, or null."""
        return allowed_session(call, identifier).outputs.get(key)

    def getOutputs(self, call, identifier):
        """Return all that a session's script gave."""
        return dict(allowed_session(call, identifier).outputs)

    def getOutputKeys(self, call, identifier):
        """Return the names of what a session's script gave."""
        return sorted(allowed_session(call, identifier).outputs)

    def setOutput(self, call, identifier, key, value):
        """Note what a session's script gives under a name; null takes it away."""
        return _set(allowed_session(call, identifier).outputs, key, value)


def _set(values, key, value):
    if value is None:
        values.pop(key, None)
    else:
        values[key] = value
    return DONE
