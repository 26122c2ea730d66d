"""Blitz: the Ice side of the server, started by IceGrid."""

import logging
import signal
import threading
import traceback
from pathlib import Path

import Glacier2
import Ice
import omero
import omero.all
import omero.clients
import omero.ObjectFactoryRegistrar
import omero.rtypes

from .calls import make_servant
from .commands import servant_for
from .database import Database
from .factory import GETTERS, Factory
from .services import SERVICES
from .services.repositories import ManagedRepository, SharedResources
from .sessions import SessionTable
from .settings import VERSION, is_read_only, merged, read_defaults

log = logging.getLogger(__name__)
# The real server's own name for what starts Blitz: whoever waits for a start looks for its words.
entry_log = logging.getLogger("ome.services.blitz.Entry")
_SECONDS_BETWEEN_CHECKS = 10


class Blitz:
    """What all servants share.

    Attributes:
        defaults: dict of str to str, the release's settings.
        settings: dict of str to str, these with OMERO's configuration over them.
        database: database.Database.
        sessions: sessions.SessionTable.
    """

    def __init__(self, defaults, configured):
        """Prepare everything that needs no connection."""
        self.defaults = defaults
        self.settings = merged(defaults, configured)
        for what in ("db", "repo"):
            read_only = str(is_read_only(self.settings, what)).lower()
            self.settings[f"omero.cluster.read_only.runtime.{what}"] = read_only
        self.database = Database(self.settings)
        self.sessions = SessionTable(self.database, self.settings)
        self.adapter = None

    def proxy(self, name, session_uuid):
        """Return the proxy of one of a session's objects."""
        return self.adapter.createProxy(Ice.Identity(name=name, category=f"session-{session_uuid}"))


class Verifier(Glacier2.PermissionsVerifier):
    """Tells the router who may log in."""

    def __init__(self, blitz):
        """Take what all servants share."""
        self.blitz = blitz

    def checkPermissions(self, name, password, current=None):
        """Return whether to admit a user, and why not."""
        try:
            admitted = self.blitz.sessions.admits(name, password)
        except Exception:
            log.exception("cannot check a password")
            return False, "the server cannot check passwords now"
        if not admitted:
            log.info("login of %s refused", name)
        return admitted, "" if admitted else "Password check failed"


class AsynchronousVerifier(Verifier):
    """The same where Slice marks the operation asynchronous."""

    def checkPermissions_async(self, callback, name, password, current=None):
        """Answer through the callback."""
        callback.ice_response(*self.checkPermissions(name, password))


class Manager(Glacier2.SessionManager):
    """Opens sessions for the router."""

    def __init__(self, blitz):
        """Take what all servants share."""
        self.blitz = blitz

    def create(self, name, control, current=None):
        """Open a session, or join the one whose uuid `name` is; give its client nothing but its own objects."""
        context = current.ctx
        try:
            session = self.blitz.sessions.open(
                name,
                group=context.get("omero.group") or None,
                agent=context.get(omero.constants.AGENT),
                address=context.get(omero.constants.IP),
            )
        except Exception as error:
            raise omero.WrappedCreateSessionException(
                reason=str(error), concurrency=False, backOff=-1, type=type(error).__name__
            ) from error
        if control is not None:
            control.categories().add([f"session-{session.uuid}"])
        return Glacier2.SessionPrx.uncheckedCast(self.blitz.proxy(session.uuid, session.uuid))


class Locator(Ice.ServantLocator):
    """Finds the servant of a session's object: its factory, named as the session, or a service."""

    def __init__(self, blitz):
        """Take what all servants share."""
        self.blitz = blitz
        self.factory = make_servant(blitz, omero.api.ServiceFactory, Factory(), "ServiceFactory")
        self.services = {
            name: make_servant(blitz, getattr(omero.api, name), SERVICES.get(name, object)(), name)
            for name in GETTERS.values()
        }
        for service in (SharedResources, ManagedRepository):
            name = service.__name__
            self.services[name] = make_servant(blitz, getattr(omero.grid, name), service(), name)

    def locate(self, current):
        """Return the servant for an identity, none where the session is over."""
        category = current.id.category
        uuid = category.removeprefix("session-")
        session = None if uuid == category else self.blitz.sessions.find(uuid)
        if session is None:
            return None
        if current.id.name == uuid:
            return self.factory, None
        servant = self.services.get(current.id.name) or servant_for(session, current.id.name)
        return None if servant is None else (servant, None)

    def finished(self, current, servant, cookie):
        """Do nothing."""

    def deactivate(self, category):
        """Do nothing."""


def run(arguments):
    """Serve until IceGrid ends it.

    Args:
        arguments: list of str, the command line; Ice takes its --Ice.* options from it.

    Returns:
        int, the exit code: 1 when the database is unusable.
    """
    _log_to(Path("var/log/Blitz-0.log"))
    initialization = Ice.InitializationData()
    initialization.properties = Ice.createProperties(arguments)
    communicator = Ice.initialize(arguments, initialization)
    try:
        return _serve(communicator)
    except Exception as error:
        entry_log.error("Error on startup.\n%s", "\n".join(trace_of(error)))
        return 2
    finally:
        communicator.destroy()


def trace_of(error):
    """Return an error (Exception) and its causes as lines (list of str), as Java writes a trace."""
    lines = traceback.format_tb(error.__traceback__)
    while error is not None:
        words = next(iter(str(error).strip().splitlines()), "no words")
        lines.append(f"Caused by: {type(error).__module__}.{type(error).__qualname__}: {words}")
        error = error.__cause__
    return lines


def _serve(communicator):
    configured = communicator.getProperties().getPropertiesForPrefix("omero.")
    blitz = Blitz(read_defaults("."), configured)
    entry_log.info("Creating OMERO.blitz. Please wait...")
    log.info("stand-in OMERO.server %s starts", blitz.settings[VERSION])
    blitz.database.open()
    blitz.sessions.close_leftovers()
    omero.ObjectFactoryRegistrar.registerObjectFactory(communicator, None)
    for factory in omero.rtypes.ObjectFactories.values():
        factory.register(communicator)
    blitz.adapter = communicator.createObjectAdapter("BlitzAdapter")
    verifier = AsynchronousVerifier if hasattr(Glacier2.PermissionsVerifier, "checkPermissions_async") else Verifier
    blitz.adapter.add(verifier(blitz), Ice.Identity(name="BlitzVerifier"))
    blitz.adapter.add(Manager(blitz), Ice.Identity(name="BlitzManager"))
    blitz.adapter.addServantLocator(Locator(blitz), "")
    blitz.adapter.activate()
    over = threading.Event()
    threading.Thread(target=_close_idle, args=(blitz, over), daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: communicator.shutdown())
    log.info("ready, database %s", blitz.database.where)
    communicator.waitForShutdown()
    over.set()
    blitz.database.close()
    log.info("stand-in OMERO.server ended")
    return 0


def _close_idle(blitz, over):
    while not over.wait(_SECONDS_BETWEEN_CHECKS):
        try:
            blitz.sessions.close_idle()
        except Exception:
            log.exception("cannot close idle sessions")


def _log_to(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=path,
        level=logging.INFO,
        format="%(asctime)s %(levelname)-5s [%(name)s] (%(threadName)s) %(message)s",
    )
    logging.getLogger("psycopg.pool").setLevel(logging.WARNING)
