"""What large images need before they are shown. Nothing here needs Ice."""

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

# Import makes rendering settings of each image that needs no pyramid first.
_WAITING = (
    "select id from pixels where sizex::int8 * sizey > %s and not exists"
    " (select from renderingdef where pixels = pixels.id) order by id"
)
_PYRAMID = (
    "This stands in for the pyramid of resolutions that OMERO.server makes of a large image.\n"
    "The stand-in OMERO.server reads the image's own file at every resolution.\n"
)


def make(database, settings):
    """Make the pyramid of every large image that has neither one nor rendering settings.

    Args:
        database: database.Database.
        settings: dict of str to str, OMERO's.
    """
    width, height = (int(settings[f"omero.pixeldata.max_plane_{side}"]) for side in ("width", "height"))
    with database.transaction() as connection:
        identifiers = [row[0] for row in connection.execute(_WAITING, (width * height,)).fetchall()]
    for identifier in identifiers:
        path = path_of(settings, identifier)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f".{path.name}.{os.getpid()}")
            unfinished.write_text(_PYRAMID, encoding="utf-8")
            unfinished.replace(path)
            log.info("made the pyramid of Pixels:%d", identifier)


def path_of(settings, identifier):
    """Return the Path of the pyramid of Pixels, by their id (int): no more than a thousand are in one folder."""
    folders, remaining = [], identifier
    while remaining > 999:
        remaining //= 1000
        folders.insert(0, f"Dir-{remaining % 1000:03d}")
    return Path(settings["omero.data.dir"], "Pixels", *folders, f"{identifier}_pyramid")
