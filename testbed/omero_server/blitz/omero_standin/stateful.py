"""Services that belong to one client and remember something: made by ServiceFactory.create*, ended by close()."""

import uuid

import omero

from .calls import DONE, make_servant
from .errors import ApiUsage


class Stateful:
    """What these services share. A method bears the name of its operation, as in services/."""

    name = None
    # The module of Slice that has it.
    module = omero.api

    def __init__(self):
        """Begin without an object."""
        self.identity = f"{type(self).name}-{uuid.uuid4()}"

    def opened(self, call):
        """Do nothing: what ends with the session is forgotten with it."""

    def activate(self, call):
        """Do nothing: there is nothing to bring back."""
        return DONE

    def passivate(self, call):
        """Do nothing: there is nothing to put aside."""
        return DONE

    def close(self, call):
        """End the service."""
        call.session.handles.pop(self.identity, None)
        return DONE

    def getCurrentEventContext(self, call):
        """Return what the caller is."""
        from .services.admin import event_context

        return event_context(call, call.session, call.context)


def create(call, service):
    """Let a new service answer for the caller's session.

    Args:
        call: calls.Call.
        service: Stateful.

    Returns:
        Its proxy.
    """
    interface = getattr(service.module, service.name)
    call.session.handles[service.identity] = make_servant(call.blitz, interface, service, service.name)
    service.opened(call)
    proxy = call.blitz.proxy(service.identity, call.session.uuid)
    return getattr(service.module, f"{service.name}Prx").uncheckedCast(proxy)


def wanted(value, what):
    """Return a value; ApiUsage says to call `what` (str) first where it is None."""
    if value is None:
        raise ApiUsage(f"call {what} first")
    return value
