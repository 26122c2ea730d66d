"""Blitz: the Ice side of the server, started by IceGrid."""

import logging
import signal
import socket
import threading
import time
import traceback
import urllib.parse
from pathlib import Path

import Glacier2
import Ice
import omero
import omero.all
import omero.clients
import omero.ObjectFactoryRegistrar
import omero.rtypes

from . import scripts
from .calls import make_servant, work_of
from .commands import servant_for
from .database import Database, Unusable
from .factory import GETTERS, Factory
from .grid import Grid
from .images import repository
from .logs import log_to
from .queries import load
from .schema import entity
from .services import SERVICES
from .services.repositories import InternalRepository, ManagedRepository, PublicRepository
from .services.shared_resources import SharedResources
from .sessions import SessionTable, root_session
from .settings import VERSION, is_read_only, merged, read_defaults
from .store import Store
from .takeover import MIMETYPE, NoRepository, Repository

log = logging.getLogger(__name__)
# The real server's own name for what starts Blitz: whoever waits for a start looks for its words.
entry_log = logging.getLogger("ome.services.blitz.Entry")
database_log = logging.getLogger("ome.services.util.SelfCorrectingDataSource")
upgrade_log = logging.getLogger("ome.system.UpgradeCheck")
_SECONDS_BETWEEN_CHECKS = 10
_SECONDS_BETWEEN_TAKEOVERS = 60
# For so long the real server lets nobody in who comes right after its start, be it ever so idle.
_SECONDS_OF_INITIALIZATION = 1


class Blitz:
    """What all servants share.

    Attributes:
        defaults: dict of str to str, the release's settings.
        settings: dict of str to str, these with OMERO's configuration over them.
        database: database.Database.
        sessions: sessions.SessionTable.
        repositories: dict from `scripts`, `managed` and `legacy` to takeover.Repository.
        parameters: dict from id and hash of a script to the omero.grid.JobParams that it takes.
        grid: grid.Grid, None before there is a communicator.
        adapter: Ice.ObjectAdapter, None before there is a communicator.
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
        read_only = any(is_read_only(self.settings, what) for what in ("db", "repo"))
        folders = {
            "scripts": Path("lib/scripts"),
            "managed": repository(self.settings),
            "legacy": Path(self.settings["omero.data.dir"]),
        }
        self.repositories = {name: Repository(name, folder, read_only) for name, folder in folders.items()}
        self.parameters = {}
        self.adapter = None
        self.grid = None
        self._scripts = threading.Lock()

    def official_scripts(self, mimetypes=scripts.RUNNABLE):
        """Note which scripts came, changed or went on the disk; return the OriginalFiles of those of some kinds."""
        with self._scripts, work_of(self, root_session()) as call:
            folder = self.repositories["scripts"].folder
            read_only = self.database.read_only
            found = scripts.synchronise(
                call.connection, folder, lambda: Store(call).event, mimetypes, read_only=read_only
            )
            return load(call, entity("OriginalFile"), found)

    def take_over(self, name):
        """Take one of the repositories over, and let the other processes find it."""
        taken = self.repositories[name]
        with work_of(self, root_session()) as call:
            taken.take_over(call.connection, lambda *place: _note_repository(call, *place))
        internal = InternalRepository(self, taken)
        for identity, interface, service in (
            (internal.public, omero.grid.Repository, internal),
            (internal.identity, omero.grid.InternalRepository, internal),
        ):
            servant = make_servant(self, interface, service, interface.__name__)
            self.grid.register(self.adapter.add(servant, identity))
        log.info("Repository now active")

    def proxy(self, name, session_uuid):
        """Return the proxy of one of a session's objects."""
        return self.adapter.createProxy(Ice.Identity(name=name, category=f"session-{session_uuid}"))


def _note_repository(call, uuid, name, path):
    file = omero.model.OriginalFileI()
    file.hash, file.name, file.path, file.mimetype = map(omero.rtypes.rstring, (uuid, name, path, MIMETYPE))
    file.size = omero.rtypes.rlong(0)
    return Store(call, importing=True).save(file)


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
        self.opens = time.monotonic() + _SECONDS_OF_INITIALIZATION

    def create(self, name, control, current=None):
        """Open a session, or join the one whose uuid `name` is; give its client nothing but its own objects.

        Who comes without the router, and so without a control, is another process of the server, and not asked for
        a password.
        """
        if time.monotonic() < self.opens:
            raise omero.WrappedCreateSessionException(
                reason="Server not fully initialized", concurrency=True, backOff=1000, type="ApiUsageException"
            )
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
            session.controls.append(control)
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
        for name, interface, service in (
            ("SharedResources", omero.grid.SharedResources, SharedResources()),
            ("ManagedRepository", omero.grid.ManagedRepository, ManagedRepository(blitz.repositories["managed"])),
            ("LegacyRepository", omero.grid.Repository, PublicRepository(blitz.repositories["legacy"])),
            ("ScriptRepository", omero.grid.Repository, PublicRepository(blitz.repositories["scripts"])),
        ):
            self.services[name] = make_servant(blitz, interface, service, name)

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
    log_to(Path("var/log/Blitz-0.log"))
    initialization = Ice.InitializationData()
    initialization.properties = Ice.createProperties(arguments)
    communicator = Ice.initialize(arguments, initialization)
    try:
        return _serve(communicator)
    except Exception as error:
        log_start_error(error)
        return 2
    finally:
        communicator.destroy()


def log_start_error(error):
    """Log why Blitz does not start (Exception), in the real server's order.

    What the database says comes first, and the error of the start does not have it for a cause. The message of a wrong
    schema begins after an empty line and a row of asterisks.
    """
    words = str(error).strip() or type(error).__name__
    if isinstance(error, Unusable) and "FATAL:" in words:
        said = " ".join(words[words.index("FATAL:") :].splitlines()[0].split())
        database_log.error("Failed to acquire connection after retries=3\norg.postgresql.util.PSQLException: %s", said)
        words = "Cannot acquire connection"
        cause = f"ome.conditions.DatabaseBusyException: {words}"
    elif isinstance(error, Unusable):
        cause = f"ome.conditions.InternalException: \n{'*' * 100}\n{words}\n{'*' * 100}"
    else:
        cause = f"{type(error).__module__}.{type(error).__qualname__}: {words}"
    trace = "".join(traceback.format_tb(error.__traceback__))
    entry_log.error("Error on startup.\norg.springframework.beans.FatalBeanException\n%sCaused by: %s", trace, cause)


def check_for_upgrades(url):
    """Ask an address for newer versions, as the real server does at each start; an answer without text is none.

    The stand-in asks nobody but the host itself.

    Args:
        url: str, of omero.upgrades.url.
    """
    place = urllib.parse.urlsplit(url)
    try:
        if place.scheme == "file":
            Path(place.path).read_bytes()
        elif place.hostname in ("127.0.0.1", "localhost"):
            socket.create_connection((place.hostname, place.port or 80), 1).close()
        upgrade_log.info("no update needed")
    except OSError as error:
        upgrade_log.error('Error reading from url: %s "%s"', url, error)


def _serve(communicator):
    configured = communicator.getProperties().getPropertiesForPrefix("omero.")
    blitz = Blitz(read_defaults("."), configured)
    entry_log.info("Creating OMERO.blitz. Please wait...")
    log.info("stand-in OMERO.server %s starts", blitz.settings[VERSION])
    check_for_upgrades(blitz.settings["omero.upgrades.url"])
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
    blitz.grid = Grid(communicator)
    blitz.adapter.activate()
    over = threading.Event()
    threading.Thread(target=_close_idle, args=(blitz, over), daemon=True).start()
    for name in blitz.repositories:
        threading.Thread(target=_take_over, args=(blitz, name, over), daemon=True, name=name).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: communicator.shutdown())
    entry_log.info("OMERO.blitz now accepting connections.")
    log.info("ready, database %s", blitz.database.where)
    communicator.waitForShutdown()
    over.set()
    for each in blitz.repositories.values():
        each.close()
    blitz.database.close()
    log.info("stand-in OMERO.server ended")
    return 0


def _close_idle(blitz, over):
    while not over.wait(_SECONDS_BETWEEN_CHECKS):
        try:
            blitz.sessions.close_idle()
        except Exception:
            log.exception("cannot close idle sessions")


def _take_over(blitz, name, over):
    """Try to take a repository over until that succeeds, as the real server does; another server may hold it."""
    if name == "scripts":
        try:
            blitz.official_scripts()
        except Exception:
            log.exception("cannot note the scripts")
    while not over.is_set():
        try:
            blitz.take_over(name)
            break
        except NoRepository as error:
            # Scripts are of no use to a server that only reads.
            expected = name == "scripts" and is_read_only(blitz.settings, "repo")
            log.log(logging.INFO if expected else logging.ERROR, "Failed during repository takeover: %s", error)
        except Exception:
            log.exception("Failed during repository takeover")
        over.wait(_SECONDS_BETWEEN_TAKEOVERS)
