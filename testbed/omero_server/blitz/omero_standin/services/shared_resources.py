"""SharedResources: the repositories, OMERO.tables and the processors, which are other processes of the server."""

import contextlib
import logging

import Ice
import omero
import omero.rtypes as rtypes

from .. import processors
from ..calls import DONE, apart
from ..errors import ApiUsage, Invalid, Refusal
from ..jobs import check_readable
from ..model import from_rtype
from ..queries import load
from ..schema import entity
from ..stateful import Stateful, create
from ..store import Store
from ..takeover import MIMETYPE
from .repositories import description

log = logging.getLogger(__name__)
# The order in which the real server lists them, and what clients reach each by.
_ORDER = (("scripts", "ScriptRepository"), ("managed", "ManagedRepository"), ("legacy", "LegacyRepository"))
_TABLES = "::omero::grid::Tables"
# So long, in milliseconds, a session waits for its table to be closed.
_CLOSING = 30_000


class SharedResources:
    """Answers for the caller's session; what it opens ends with that."""

    def repositories(self, call):
        """Return the repositories and their proxies; those that this server does not have come last, without one."""
        found, proxies = [], []
        for name, public in _ORDER:
            repository = call.blitz.repositories[name]
            if repository.active:
                found.append(description(call, repository))
                proxies.append(self._proxy(call, public))
        rows = call.connection.execute(
            "select id from originalfile where mimetype = %s order by id", (MIMETYPE,)
        ).fetchall()
        others = load(call, entity("OriginalFile"), {row[0] for row in rows} - {each.id.val for each in found})
        return omero.grid.RepositoryMap(found + others, proxies + [None] * len(others))

    def getScriptRepository(self, call):
        """Return the repository of the official scripts, null where the server does not have it."""
        return self._proxy(call, "ScriptRepository") if call.blitz.repositories["scripts"].active else None

    def _proxy(self, call, public):
        return omero.grid.RepositoryPrx.uncheckedCast(call.blitz.proxy(public, call.session.uuid))

    def areTablesEnabled(self, call):
        """Tell whether OMERO.tables runs and has found the files."""
        for proxy in call.blitz.grid.objects(_TABLES):
            try:
                if omero.grid.TablesPrx.uncheckedCast(proxy).getRepository() is not None:
                    return True
            except Ice.Exception:  # the next
                continue
        return False

    def newTable(self, call, repository_id, path):
        """Make the OriginalFile of a table and open it; whichever repository is asked for, it lies below Files."""
        file = omero.model.OriginalFileI()
        file.name = file.path = rtypes.rstring(path)
        file.mimetype = rtypes.rstring("OMERO.tables")
        with apart(call) as other:
            file = load(other, entity("OriginalFile"), [Store(other).save(file)])[0]
        return self.openTable(call, file)

    def openTable(self, call, file):
        """Open a table that the caller may see."""
        if file is None or file.id is None:
            raise Invalid("file must be a managed instance.")
        with apart(call) as other:
            check_readable(other, from_rtype(file.id))
        factory = omero.api.ServiceFactoryPrx.uncheckedCast(call.blitz.proxy(call.session.uuid, call.session.uuid))
        refusals = []
        for proxy in call.blitz.grid.objects(_TABLES):
            tables = omero.grid.TablesPrx.uncheckedCast(proxy)
            try:
                return create(call, Table(tables.getTable(file, factory, {"omero.group": "-1"})))
            except Ice.Exception as error:
                refusals.append(f"{type(error).__name__}: {getattr(error, 'message', error)}")
        log.warning("no OMERO.tables opens OriginalFile:%d: %s", from_rtype(file.id), "; ".join(refusals))
        # The real server says no more than this.
        raise Refusal("null table as argument")

    def acquireProcessor(self, call, job, seconds):
        """Find a processor for a job of a script and return what runs it there."""
        return create(call, processors.acquire(call, job, seconds))

    def addProcessor(self, call, proxy):
        """Let a processor be asked whether it takes jobs."""
        call.blitz.grid.subscribe(omero.constants.topics.PROCESSORACCEPTS, proxy)
        return DONE

    def removeProcessor(self, call, proxy):
        """Let a processor be asked no longer."""
        call.blitz.grid.unsubscribe(omero.constants.topics.PROCESSORACCEPTS, proxy)
        return DONE


class Table(Stateful):
    """A table that OMERO.tables has opened, as the caller's session sees it.

    Args:
        table: omero.grid.TablePrx.
    """

    name = "Table"
    module = omero.grid

    def __init__(self, table):
        """Begin with the table open."""
        super().__init__()
        if table is None:
            raise ApiUsage("null table as argument")
        # Longer than the opening may take.
        self.table = table.ice_invocationTimeout(-1)

    def __getattr__(self, operation):
        """Return what hands an operation on."""
        if f"_op_{operation}" not in dir(omero.grid.Table):
            raise AttributeError(operation)
        return lambda call, *arguments: self._hand_on(call, operation, arguments)

    def _hand_on(self, call, operation, arguments):
        result = getattr(self.table, operation)(*arguments, call.ice_context)
        return DONE if operation in _WITHOUT_RESULT else result

    def opened(self, call):
        """Let the table end with the session."""
        call.session.endings[self.identity] = self.end

    def end(self):
        """Close the table, which may be closed."""
        with contextlib.suppress(Ice.ObjectNotExistException):
            self.table.ice_invocationTimeout(_CLOSING).close()

    def close(self, call):
        """Close the table and forget it."""
        call.session.endings.pop(self.identity, None)
        try:
            self.end()
        finally:
            super().close(call)
        return DONE


_WITHOUT_RESULT = ("addData", "delete", "initialize", "setAllMetadata", "setMetadata", "update")
