"""Pyramids: images of large planes are shown from a file of several resolutions, which a process of its own makes.

Until that file is there nobody gets a picture of such an image, and nobody its numbers. No part of this needs Ice.
"""

import logging
import os
from pathlib import Path

from .settings import is_true

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

# OMERO's defaults, which the release has inside its jars.
_LONGEST_SIDE = "3192"
_TILE = 256
# Milliseconds that a tile is thought to take.
_A_TILE_TAKES = 10
_FRACTIONS = ("float", "double")


def long_to_path(number):
    """Return the path (str) that OMERO gives a number's file: 1234 is `Dir-001/1234`."""
    folders, left = "", number
    while left > 999:
        left //= 1000
        if left:
            folders = f"Dir-{left % 1000:03d}/{folders}"
    return f"{folders}{number}"


def path_of(settings, pixels_id):
    """Return where an image's pyramid is, or will be.

    Args:
        settings: dict of str to str, OMERO's.
        pixels_id: int.
    """
    return Path(settings["omero.data.dir"]) / "Pixels" / f"{long_to_path(pixels_id)}_pyramid"


def required(settings, width, height, kind):
    """Tell whether planes are so large that they are shown from a pyramid.

    Args:
        settings: dict of str to str, OMERO's.
        width, height: int, of a plane in pixels.
        kind: str, OMERO's name of the kind of numbers.
    """
    name = "omero.pixeldata.max_plane_float_override"
    if kind in _FRACTIONS and (name not in settings or is_true(settings, name)):
        return False
    longest = [int(settings.get(f"omero.pixeldata.max_plane_{side}", _LONGEST_SIDE)) for side in ("width", "height")]
    return width * height > longest[0] * longest[1]


def back_off(sizes):
    """Return after how many milliseconds a client shall ask again.

    Args:
        sizes: dict from sizeX, sizeY, sizeZ, sizeC, sizeT to int.
    """
    tiles = -(-sizes["sizeX"] // _TILE) * -(-sizes["sizeY"] // _TILE)
    return _A_TILE_TAKES * tiles * sizes["sizeZ"] * sizes["sizeC"] * sizes["sizeT"]


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
