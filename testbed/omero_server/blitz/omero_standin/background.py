"""Indexer and PixelData: processes beside Blitz that look into the database now and then, started by IceGrid."""

import logging
import signal
import sys
import threading
from pathlib import Path

import Ice

from . import pyramids
from .database import Database, Unusable
from .logs import log_to
from .settings import is_read_only, merged, read_defaults

log = logging.getLogger(__name__)

_SECONDS = 4
_ADAPTERS = {"ome.fulltext": "IndexerAdapter", "ome.pixeldata": "PixelDataAdapter"}


def run(kind, name, arguments):
    """Work until IceGrid ends it.

    Args:
        kind: str, `ome.fulltext` or `ome.pixeldata`.
        name: str, the server's in IceGrid.
        arguments: list of str, the command line; Ice takes its --Ice.* options from it.

    Returns:
        int, the exit code: 1 when the database is unusable.
    """
    log_to(Path("var/log") / f"{name}.log")
    initialization = Ice.InitializationData()
    initialization.properties = Ice.createProperties(arguments)
    communicator = Ice.initialize(arguments, initialization)
    try:
        return _work(communicator, kind, name)
    except Exception:
        log.exception("%s of the stand-in OMERO.server ends on an error", name)
        return 1
    finally:
        communicator.destroy()


def _work(communicator, kind, name):
    configured = communicator.getProperties().getPropertiesForPrefix("omero.")
    settings = merged(read_defaults("."), configured)
    database = Database(settings)
    try:
        database.open()
    except Unusable as error:
        log.error("%s", error)
        print(f"stand-in OMERO.server: {error}", file=sys.stderr)
        return 1
    # By it IceGrid sees that the process runs.
    communicator.createObjectAdapter(_ADAPTERS[kind]).activate()
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: communicator.shutdown())
    if kind == "ome.pixeldata":
        log.info("%s stands in for what makes pyramids of large images, and looks for such images", name)
        threading.Thread(target=_make_pyramids, args=(database, settings, over), daemon=True).start()
    else:
        log.info("%s stands in for what fills the index for searches, and waits: the stand-in has no search", name)
    communicator.waitForShutdown()
    over.set()
    database.close()
    log.info("%s ended", name)
    return 0


def _make_pyramids(database, settings, over):
    if is_read_only(settings, "db") or is_read_only(settings, "repo"):
        return
    while not over.wait(_SECONDS):
        try:
            pyramids.make(database, settings)
        except Exception:
            log.exception("cannot make pyramids")
