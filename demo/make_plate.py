#!/usr/bin/env python3
"""Writes the plate of the demo study's screen: demo/make_plate.py [FILE]. It gives the same bytes each time.

Two rows of three wells; each has an image of two channels with some computed cells, and the last one is empty. Needs
numpy and tifffile.
"""

import sys
import xml.etree.ElementTree as etree
from pathlib import Path

import numpy
import tifffile

FILE = Path(__file__).resolve().parent / "study" / "screenA" / "plates" / "dilution.ome.tif"
NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
NAME, ROWS, COLUMNS, SIZE = "Dilution", 2, 3, 96
CHANNELS = ("Nuclei", "Cytoplasm")
# Cells of each well, row by row; none in the empty one.
CELLS = (24, 12, 6, 18, 9, None)
# Radii of what each channel shows of a cell, in pixels.
RADII = (3, 7)


def numbers(well):
    """Return the numbers of a well's image (well: int, its place in CELLS): channels, rows, columns."""
    places = numpy.random.RandomState(well).uniform(RADII[1], SIZE - RADII[1], (CELLS[well], 2))
    y, x = numpy.mgrid[:SIZE, :SIZE]
    planes = []
    for radius in RADII:
        cells = [numpy.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * radius**2)) for row, column in places]
        planes.append(20 + 220 * numpy.max(cells, axis=0))
    return numpy.round(planes).astype("uint8")


def describe(text):
    """Return OME-XML (str) with the plate added that its images are of, as bytes."""
    etree.register_namespace("", NAMESPACE)
    root = etree.fromstring(text)  # noqa: S314 (our own)
    root.attrib.pop("UUID", None)  # another each time
    images = iter(root.findall("{*}Image"))
    names = {"RowNamingConvention": "letter", "ColumnNamingConvention": "number"}
    plate = {"ID": "Plate:0", "Name": NAME, "Rows": str(ROWS), "Columns": str(COLUMNS)} | names
    plate = etree.Element(f"{{{NAMESPACE}}}Plate", plate)
    for number, cells in enumerate(CELLS):
        row, column = divmod(number, COLUMNS)
        place = {"ID": f"Well:0:{number}", "Row": str(row), "Column": str(column)}
        well = etree.SubElement(plate, f"{{{NAMESPACE}}}Well", place)
        if cells is not None:
            identity = {"ID": f"WellSample:0:{number}:0", "Index": str(number)}
            sample = etree.SubElement(well, f"{{{NAMESPACE}}}WellSample", identity)
            etree.SubElement(sample, f"{{{NAMESPACE}}}ImageRef", {"ID": next(images).get("ID")})
    root.insert(0, plate)
    return etree.tostring(root)


def write(path):
    """Write the plate to a file (Path)."""
    with tifffile.TiffWriter(path, ome=True) as file:
        for well, cells in enumerate(CELLS):
            if cells is not None:
                metadata = {"axes": "CYX", "Name": f"{cells} cells", "Channel": {"Name": list(CHANNELS)}}
                file.write(numbers(well), photometric="minisblack", compression="zlib", metadata=metadata)
    tifffile.tiffcomment(path, describe(tifffile.tiffcomment(path)))


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)
    print(f"{path}: {path.stat().st_size} bytes")
