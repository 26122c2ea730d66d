"""The wells of a screen: their names, and which of them a plate has, where its file says so."""

from __future__ import annotations

import re
import xml.etree.ElementTree as etree
from dataclasses import dataclass

import tifffile

_NAME = re.compile(r"(?P<row>[A-Za-z]{1,2})0*(?P<column>[1-9][0-9]{0,2})")
_OME_TIFF = (".ome.tif", ".ome.tiff")
_LETTERS = 26


@dataclass
class Plate:
    """A plate as its file describes it: how many rows and columns, and its wells' places (row and column, from 0)."""

    rows: int
    columns: int
    places: set


def place(name):
    """Return row and column, from 0, of a well's name such as A1, a01 or AF48; None for what is none."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    row = 0
    for letter in match["row"].upper():
        row = row * _LETTERS + ord(letter) - ord("A") + 1
    return row - 1, int(match["column"]) - 1


def name_of(row, column):
    """Return the name of a well, such as A1, from its row and column, which count from 0."""
    first, second = divmod(row, _LETTERS)
    return f"{chr(ord('A') + first - 1) if first else ''}{chr(ord('A') + second)}{column + 1}"


def read_plate(file, folder, problems):
    """Return the Plate that a file describes, None where it cannot be read here: of another format, or elsewhere.

    Args:
        file: targets.File.
        folder: Path that relative paths refer to.
        problems: Problems; gets one when the file does not describe one plate.
    """
    path = folder / file.path
    if not path.name.lower().endswith(_OME_TIFF) or not path.is_file():
        return None

    def wrong(text):
        problems.add(file.table, f"{file.path} {text}.", file.line, file.column)

    try:
        with tifffile.TiffFile(path) as tiff:
            text = tiff.ome_metadata
        root = etree.fromstring(text or "<none/>")  # noqa: S314 (expat bounds what entities may grow to)
        plates = [_plate(each) for each in root.findall("{*}Plate")]
    except (OSError, ValueError, etree.ParseError) as problem:
        return wrong(f"cannot be read: {problem}")
    if len(plates) != 1:
        return wrong(f"describes {len(plates) or 'no'} plate{'s' if plates else ''}; expected a file for each plate")
    return plates[0]


def _plate(element):
    # A well beyond the plate's edge moves the edge, as in OMERO.
    places = {(int(each.get("Row", "")), int(each.get("Column", ""))) for each in element.findall("{*}Well")}
    return Plate(
        max([int(element.get("Rows", 0)), *(row + 1 for row, _ in places)]),
        max([int(element.get("Columns", 0)), *(column + 1 for _, column in places)]),
        places,
    )
