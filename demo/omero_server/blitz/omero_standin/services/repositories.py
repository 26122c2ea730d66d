"""SharedResources and ManagedRepository: where imported files lie. What would write there is refused by name."""

import uuid

import omero

from ..images import repository
from ..queries import load
from ..schema import entity
from ..store import Store

_MIMETYPE = "Repository"


def managed_repository(call):
    """Return the OriginalFile (omero.model) that stands for the managed repository, noted when first asked for."""
    path = repository(call.blitz.settings)
    row = call.connection.execute("select id from originalfile where mimetype = %s", (_MIMETYPE,)).fetchone()
    if row is None:
        event = Store(call).event
        row = call.connection.execute(
            "insert into originalfile (version, name, path, mimetype, hash, owner_id, group_id, creation_id, update_id)"
            " values (0, %s, %s, %s, %s, 0, 1, %s, %s) returning id",
            (path.name, f"{path.parent}/", _MIMETYPE, str(uuid.uuid4()), event, event),
        ).fetchone()
    return load(call, entity("OriginalFile"), [row[0]])[0]


class SharedResources:
    """Answers which repositories there are; there are no tables and no processors."""

    def repositories(self, call):
        """Return the one repository and its proxy."""
        proxy = omero.grid.RepositoryPrx.uncheckedCast(call.blitz.proxy("ManagedRepository", call.session.uuid))
        return omero.grid.RepositoryMap([managed_repository(call)], [proxy])

    def areTablesEnabled(self, call):
        """Tell that there are no tables."""
        return False


class ManagedRepository:
    """Answers what it is; the stand-in's importer puts files into it itself."""

    def root(self, call):
        """Return the OriginalFile that stands for it."""
        return managed_repository(call)
