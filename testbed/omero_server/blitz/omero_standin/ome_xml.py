"""What the OME-XML of an OME-TIFF says beside its numbers: names of images and channels, other files, plates.

Read here is what the importer stores. What contradicts itself is refused, since OMERO would keep it for good.
"""

import dataclasses
import datetime
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import tifffile
from PIL import Image

from .errors import Unsupported

# OMERO's names of the formats that the stand-in reads.
_FORMATS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".fake": "Fake"}
_TIFF = (".tif", ".tiff")
_OME_TIFF = (".ome.tif", ".ome.tiff")
# OME-XML that lies beside the TIFFs with the numbers, which say so, or say nothing.
COMPANION = ".companion.ome"
_NAMING = ("letter", "number")


@dataclasses.dataclass
class Sample:
    """A field of a well.

    Attributes:
        image: int or None, the number of its image in the file, from 0; None where none was taken.
        acquisition: int or None, the number of the run that it belongs to, from 0.
        time: datetime.datetime or None, when it was taken, in UTC.
    """

    image: int | None
    acquisition: int | None
    time: datetime.datetime | None


@dataclasses.dataclass
class Well:
    """A well: `row` and `column` count from 0; `texts` are attributes of omero.model.Well that are texts."""

    row: int
    column: int
    texts: dict
    samples: list


@dataclasses.dataclass
class Acquisition:
    """A run over a plate: texts of omero.model.PlateAcquisition, fields a well at most, begin and end in UTC."""

    texts: dict
    fields: int | None
    start: datetime.datetime | None
    end: datetime.datetime | None


@dataclasses.dataclass
class Plate:
    """A plate: texts of omero.model.Plate, how many rows and columns it has, runs and wells."""

    texts: dict
    rows: int
    columns: int
    acquisitions: list
    wells: list


@dataclasses.dataclass
class Contents:
    """What is in an image file.

    Attributes:
        images: list of str or None, the names of its images, in the order in which they are read.
        files: list of Path, the files that it is made of, the one that was named first.
        plates: list of Plate.
    """

    images: list
    files: list
    plates: list


def format_of(path):
    """Return OMERO's name of the format of a file (Path).

    Raises:
        Unsupported: the stand-in does not read it.
    """
    if path.name.lower().endswith(COMPANION):
        return "Companion/OME-TIFF"
    found = _FORMATS.get(path.suffix.lower())
    if found is None:
        raise Unsupported(
            f"images of the format of {path.name}: it reads TIFF, OME-TIFF, {COMPANION} with TIFFs, PNG and .fake"
        )
    return found


def is_image(path):
    """Tell whether a file (Path) may be an image; one of a byte, with a name of no format, cannot.

    Raises:
        Unsupported: the stand-in does not know whether it is one.
        OSError: there is no such file.
    """
    if path.stat().st_size <= 1 and path.suffix.lower() not in _FORMATS and not path.name.lower().endswith(COMPANION):
        return False
    return bool(format_of(path))


def contents(path, with_plates=True):
    """Return the Contents of an image file; one without OME-XML has one image without a name.

    Args:
        path: Path.
        with_plates: bool, whether to look at its plates; importers leave that to the server.

    Raises:
        ValueError: its OME-XML is not well-formed, or contradicts itself.
        Unsupported: a set of files that the stand-in does not read.
        OSError: the file, or another of its set, cannot be read.
    """
    if format_of(path) == "PNG":
        with Image.open(path):  # what is no picture is an error
            pass
    elif format_of(path) == "Fake":
        path.stat()
    text = None
    if format_of(path) == "Companion/OME-TIFF":
        text = path.read_text(encoding="utf-8")
    elif path.suffix.lower() in _TIFF:
        with tifffile.TiffFile(path) as file:
            text = file.ome_metadata
    if text is None:
        if path.name.lower().endswith(_OME_TIFF):
            raise ValueError(f"{path.name} has no whole OME-XML, as its name says")
        return Contents([None], [path], [])
    root = parse(text, path.name)
    images = root.findall("{*}Image")
    elsewhere = root.find("{*}BinaryOnly")
    if elsewhere is not None:
        raise Unsupported(
            f"{path.name}, of which another file has the OME-XML: import {elsewhere.get('MetadataFile')} in its place"
        )
    if not images:
        raise Unsupported(f"{path.name}, whose OME-XML has no images")
    if format_of(path) == "Companion/OME-TIFF" and not tiffs(root):
        raise ValueError(f"{path.name} names no TIFF with the numbers of its images")
    numbers = {each.get("ID"): number for number, each in enumerate(images)}
    return Contents(
        [each.get("Name") or None for each in images],
        [path, *_others(root, path)],
        [_plate(each, numbers, path.name) for each in root.findall("{*}Plate")] if with_plates else [],
    )


def images(text):
    """Return how many images OME-XML (str or None) describes."""
    return 0 if text is None else len(parse(text, "the file").findall("{*}Image"))


def channels(text, series):
    """Return the names (list of str) of the channels of an image of a file; empty where they have none.

    Args:
        text: str or None, OME-XML.
        series: int, the number of the image, from 0.
    """
    if text is None:
        return []
    found = parse(text, "the file").findall("{*}Image")[series].findall("{*}Pixels/{*}Channel")
    return [each.get("Name") for each in found if each.get("Name")]


def parse(text, name):
    """Return the root of OME-XML.

    Args:
        text: str.
        name: str, the file's, for messages.

    Raises:
        ValueError: it is not well-formed.
    """
    try:
        return ElementTree.fromstring(text)  # noqa: S314 (expat bounds what entities may grow to)
    except ElementTree.ParseError as error:
        raise ValueError(f"the OME-XML of {name} is not well-formed: {error}") from error


def tiffs(root):
    """Return the names (set of str) of the files that OME-XML (its root) names."""
    return {each.get("FileName") for each in root.findall("{*}Image/{*}Pixels/{*}TiffData/{*}UUID")} - {None}


def _others(root, path):
    """Return the other files of a set, which lie beside this one."""
    others = []
    for name in sorted(tiffs(root) - {path.name}):
        if Path(name).name != name:
            raise Unsupported(f"{path.name} names {name}, which is not beside it")
        if not (path.parent / name).is_file():
            raise FileNotFoundError(f"{path.name} names {name}, which is not there")
        others.append(path.parent / name)
    return others


def _plate(element, numbers, name):
    label = f"the plate {element.get('Name') or element.get('ID')} of {name}"
    runs = element.findall("{*}PlateAcquisition")
    run_of = {ref.get("ID"): at for at, run in enumerate(runs) for ref in run.findall("{*}WellSampleRef")}
    wells = [_well(each, numbers, run_of, label) for each in element.findall("{*}Well")]
    places = [(each.row, each.column) for each in wells]
    if twice := [place for place, count in Counter(places).items() if count > 1]:
        raise ValueError(f"{label} has two wells in row {twice[0][0]}, column {twice[0][1]}, counted from 0")
    texts = _texts(element, "Name", "Status", "ExternalIdentifier", "RowNamingConvention", "ColumnNamingConvention")
    for convention in (texts.get("rowNamingConvention"), texts.get("columnNamingConvention")):
        if convention not in (None, *_NAMING):
            raise ValueError(f"{label} names rows or columns by {convention}; expected {' or '.join(_NAMING)}")
    # A well beyond the plate's edge moves the edge, as at the real import.
    return Plate(
        texts,
        max([_number(element, "Rows", label) or 1, *(row + 1 for row, _ in places)]),
        max([_number(element, "Columns", label) or 1, *(column + 1 for _, column in places)]),
        [
            Acquisition(
                _texts(each, "Name"),
                _number(each, "MaximumFieldCount", label),
                _time(each.get("StartTime"), label),
                _time(each.get("EndTime"), label),
            )
            for each in runs
        ],
        wells,
    )


def _well(element, numbers, run_of, label):
    row, column = _number(element, "Row", label), _number(element, "Column", label)
    if row is None or column is None:
        raise ValueError(f"{label} has a well without Row or Column")
    samples = []
    for each in element.findall("{*}WellSample"):
        reference = each.find("{*}ImageRef")
        identity = None if reference is None else reference.get("ID")
        if identity is not None and identity not in numbers:
            raise ValueError(f"{label} has {identity} in row {row}, column {column}; there is no such image")
        time = _time(each.get("Timepoint"), label)
        samples.append(Sample(numbers.get(identity), run_of.get(each.get("ID")), time))
    return Well(row, column, _texts(element, "Type", "ExternalDescription", "ExternalIdentifier"), samples)


def _texts(element, *names):
    """Return attributes, and the element Description, under their names in omero.model; those that are there."""
    found = {f"{name[0].lower()}{name[1:]}": element.get(name) for name in names}
    found["description"] = element.findtext("{*}Description")
    return {name: value for name, value in found.items() if value}


def _number(element, name, label):
    value = element.get(name)
    if value is not None and not value.isdecimal():
        raise ValueError(f"{label}: {name} is {value!r}; expected a whole number")
    return None if value is None else int(value)


def _time(text, label):
    if not text:
        return None
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{label}: {text!r} is no time such as 2026-01-31T12:00:00") from error
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)
