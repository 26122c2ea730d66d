"""Planes of numbers, from TIFF and OME-TIFF (tifffile), PNG (Pillow), and names that Bio-Formats would compute.

No part of this needs Ice. What is read is kept in memory, the last few images of it.
"""

import functools
from pathlib import Path
from urllib.parse import parse_qsl

import numpy
import tifffile
from PIL import Image

from . import ome_xml
from .errors import Unsupported

# OMERO's names of kinds of numbers, by numpy's.
TYPES = {
    "uint8": "uint8",
    "int8": "int8",
    "uint16": "uint16",
    "int16": "int16",
    "uint32": "uint32",
    "int32": "int32",
    "float32": "float",
    "float64": "double",
}
_NUMPY_TYPES = {omero: numpy for numpy, omero in TYPES.items()}
# tifffile's letters of axes, in the order in which the numbers are kept here; samples of a colour are channels.
_AXES = "TCZYX"
_SAME_AXIS = {"S": "C", "Q": "Z", "I": "Z"}
_FAKE_SIZES = ("sizeX", "sizeY", "sizeZ", "sizeC", "sizeT")
_LARGEST = 512 * 1024**2  # bytes of one image


class Stack:
    """The numbers of one image.

    Attributes:
        array: numpy.ndarray of shape (T, C, Z, Y, X).
        type: str, OMERO's name of the kind of numbers.
        channels: list of str, their names; empty where the file names none.
        resolutions: int, how many the file has, each half of the one before; 1 where it has none but the whole.
    """

    def __init__(self, array, channels=(), resolutions=1):
        """Take the numbers; a kind that OMERO lacks raises Unsupported."""
        if array.dtype.name not in TYPES:
            raise Unsupported(f"pixels of type {array.dtype.name}")
        self.array = array
        self.type = TYPES[array.dtype.name]
        self.channels = list(channels)
        self.resolutions = resolutions

    def plane(self, z, c, t):
        """Return the numbers of a plane, shape (Y, X)."""
        return self.array[t, c, z]

    def sizes(self):
        """Return a dict from sizeX, sizeY, sizeZ, sizeC, sizeT to int."""
        t, c, z, y, x = self.array.shape
        return {"sizeX": x, "sizeY": y, "sizeZ": z, "sizeC": c, "sizeT": t}


def read(path, series=0):
    """Return the Stack of an image of a file.

    Args:
        path: str or Path; .tif, .tiff, .companion.ome, .png or .fake.
        series: int, the number of the image in a file of several, from 0.

    Raises:
        Unsupported: a format, or a kind of numbers, that the stand-in does not read.
        OSError: the file cannot be read.
    """
    return _read(str(path), series, Path(path).stat().st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _read(path, number, _changed):
    kind = ome_xml.format_of(Path(path))
    if kind == "TIFF":
        return _tiff(path, number)
    if kind == "Companion/OME-TIFF":
        return _companion(Path(path), number)
    if number:
        raise Unsupported(f"several images in {Path(path).name}")
    return _png(path) if kind == "PNG" else fake(Path(path).name)


def stored(path, sizes, kind):
    """Return the Stack of planes that clients sent, as OMERO keeps them: one file, X Y Z C T, in the order of networks.

    Args:
        path: str or Path; it is made, full of zeros, where it is not there.
        sizes: dict from sizeX, sizeY, sizeZ, sizeC, sizeT to int.
        kind: str, OMERO's name of the kind of numbers.

    Raises:
        Unsupported: a kind of numbers, or a size, that the stand-in does not keep.
        OSError: the file cannot be written.
    """
    if kind not in _NUMPY_TYPES:
        raise Unsupported(f"pixels of type {kind}")
    shape = tuple(sizes[f"size{axis}"] for axis in _AXES)
    dtype = numpy.dtype(_NUMPY_TYPES[kind]).newbyteorder(">")
    if dtype.itemsize * numpy.prod(shape, dtype="int64") > _LARGEST:
        raise Unsupported(f"images of more than {_LARGEST} bytes")
    path = Path(path)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        numpy.memmap(path, dtype, "w+", shape=shape).flush()
    return Stack(numpy.memmap(path, dtype, "r", shape=shape))


def write_plane(path, sizes, kind, place, numbers):
    """Write a plane into such a file.

    Args:
        path, sizes, kind: as for stored.
        place: (z, c, t), ints.
        numbers: bytes of the plane.

    Raises:
        ValueError: there is no such plane, or it has another size.
        Unsupported, OSError: as for stored.
    """
    array = stored(path, sizes, kind).array
    z, c, t = place
    plane = numpy.frombuffer(numbers, array.dtype).reshape(array.shape[-2:])
    if not (0 <= t < array.shape[0] and 0 <= c < array.shape[1] and 0 <= z < array.shape[2]):
        raise ValueError(f"there is no plane z={z} c={c} t={t}")
    whole = numpy.memmap(path, array.dtype, "r+", shape=array.shape)
    whole[t, c, z] = plane
    whole.flush()


def _companion(path, number):
    text = path.read_text(encoding="utf-8")
    first = min(ome_xml.tiffs(ome_xml.parse(text, path.name)))
    return _tiff(path.with_name(first), number, text)


def _tiff(path, number, text=None):
    """Return the Stack of an image of a TIFF, described by OME-XML that lies beside it where `text` is given."""
    flags = {} if text is None else {"omexml": text, "is_ome": True, "is_shaped": False}
    with tifffile.TiffFile(path, **flags) as file:
        described = ome_xml.images(file.ome_metadata)
        # What is not described as images of its own, such as a preview, is left out.
        if (described > 1 and len(file.series) != described) or number >= max(described, 1):
            raise Unsupported(f"{Path(path).name}: {described} images are described, {len(file.series)} have numbers")
        series = file.series[number]
        if series.nbytes > _LARGEST:
            raise Unsupported(f"images of more than {_LARGEST} bytes")
        names = [_SAME_AXIS.get(axis, axis) for axis in series.axes]
        if set(names) - set(_AXES) or len(set(names)) < len(names):
            raise Unsupported(f"the axes {series.axes} of {Path(path).name}")
        if any(page is not None and page.parent is not file for page in series):
            # tifffile would take numbers that lie in one piece from this file, though they are another's of the set.
            series.dataoffset = None
        array = series.asarray()
        resolutions = len(series.levels)
        channels = ome_xml.channels(file.ome_metadata, number)
    order = [names.index(axis) for axis in _AXES if axis in names]
    array = numpy.transpose(array, order)
    for place, axis in enumerate(_AXES):
        if axis not in names:
            array = numpy.expand_dims(array, place)
    return Stack(array, channels, resolutions)


def _png(path):
    with Image.open(path) as image:
        if image.mode not in ("L", "RGB", "I;16"):
            raise Unsupported(f"PNG of the mode {image.mode}")
        array = numpy.asarray(image)
    if array.ndim == 2:
        array = array[..., numpy.newaxis]
    return Stack(numpy.moveaxis(array, -1, 0)[numpy.newaxis, :, numpy.newaxis])


def fake(name):
    """Return the Stack that a name such as `x&sizeX=64&sizeZ=8.fake` asks for.

    The names are Bio-Formats', the pictures are the stand-in's own: rings around a place that moves with Z, channel
    and time, so that each plane is another.

    Raises:
        Unsupported: a parameter that the stand-in does not know, or an image that is too large.
    """
    given = dict(parse_qsl(name.removesuffix(".fake").partition("&")[2]))
    kind = given.pop("pixelType", "uint8")
    sizes = {key: int(given.pop(key, 512 if key in ("sizeX", "sizeY") else 1)) for key in _FAKE_SIZES}
    if given or kind not in _NUMPY_TYPES:
        raise Unsupported(f"{name}: {', '.join(given) or kind}")
    x, y, z, c, t = sizes.values()
    dtype = numpy.dtype(_NUMPY_TYPES[kind])
    if x * y * z * c * t * dtype.itemsize > _LARGEST:
        raise Unsupported(f"images of more than {_LARGEST} bytes")
    rows, columns = numpy.mgrid[0:y, 0:x].astype("float32")
    array = numpy.empty((t, c, z, y, x), dtype)
    for at in numpy.ndindex(t, c, z):
        moment, channel, depth = at
        across = x * (0.5 + 0.25 * numpy.cos(2.1 * channel + 0.3 * moment))
        down = y * (0.5 + 0.25 * numpy.sin(2.1 * channel + 0.3 * moment))
        distance = numpy.hypot(columns - across, rows - down) / max(x, y)
        wave = 0.5 + 0.5 * numpy.cos(24 * distance - 0.4 * depth)
        array[at] = _spread(wave * numpy.exp(-2 * distance), dtype)
    return Stack(array)


def _spread(fraction, dtype):
    """Return numbers from 0 to 1 as a kind of numbers, over what of its range a camera would use."""
    if dtype.kind == "f":
        return fraction
    return fraction * min(numpy.iinfo(dtype).max, 4095)
