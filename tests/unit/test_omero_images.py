"""The stand-in's pictures: what it reads, and what it makes of the numbers."""

import datetime
import io
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy
import plates
import pytest
import tifffile
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "testbed/omero_server/blitz"))
from omero_standin import ome_xml, pixels, rendering
from omero_standin.errors import Unsupported

DEMO = Path(__file__).resolve().parents[2] / "demo/study/experimentA/images"


@pytest.mark.parametrize(
    ("axes", "shape", "sizes"),
    [
        ("YX", (4, 6), (6, 4, 1, 1, 1)),
        ("ZYX", (3, 4, 6), (6, 4, 3, 1, 1)),
        ("TCYX", (2, 3, 4, 6), (6, 4, 1, 3, 2)),
        ("TZCYX", (2, 5, 3, 4, 6), (6, 4, 5, 3, 2)),
    ],
)
def test_tiff(tmp_path, axes, shape, sizes):
    """Every number of an OME-TIFF is found at its place, whatever the order of its axes."""
    array = numpy.arange(numpy.prod(shape), dtype="uint16").reshape(shape)
    tifffile.imwrite(tmp_path / "x.ome.tif", array, metadata={"axes": axes})
    stack = pixels.read(tmp_path / "x.ome.tif")
    assert tuple(stack.sizes().values()) == sizes
    assert stack.type == "uint16"
    for place in numpy.ndindex(shape[:-2]):
        at = dict(zip(axes, place, strict=False))
        plane = stack.plane(at.get("Z", 0), at.get("C", 0), at.get("T", 0))
        assert (plane == array[place]).all()


def test_channels_of_ome_tiff():
    """The names of channels are those of the file."""
    assert pixels.read(DEMO / "two-channels.ome.tif").channels == ["Rings", "Waves"]


def test_colour(tmp_path):
    """A colour picture has three channels, red, green and blue."""
    picture = numpy.zeros((4, 6, 3), "uint8")
    picture[..., 1] = 200
    Image.fromarray(picture).save(tmp_path / "x.png")
    stack = pixels.read(tmp_path / "x.png")
    assert stack.sizes()["sizeC"] == 3
    shown = rendering.render(list(stack.array[0, :, 0]), rendering.default_channels(stack), rendering.COLOUR)
    assert (shown == picture).all()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.jpg", "images of the format of x.jpg"),
        ("x&sizeX=8&lutLength=3.fake", "lutLength"),
        ("x&pixelType=bit.fake", "bit"),
        ("x&sizeX=99999&sizeY=99999.fake", "more than"),
    ],
)
def test_refused(tmp_path, name, words):
    """A file that cannot be read is refused with a message that gives the reason."""
    (tmp_path / name).touch()
    with pytest.raises(Unsupported, match=words):
        pixels.read(tmp_path / name)


def test_not_an_image(tmp_path):
    """A file that is not what its name says is an error."""
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(OSError, match="cannot identify"):
        pixels.read(tmp_path / "x.png")


def test_fake_planes_differ():
    """Each plane of a computed image is another."""
    array = pixels.fake("x&sizeX=32&sizeY=32&sizeZ=2&sizeC=2&sizeT=2.fake").array
    planes = {array[place].tobytes() for place in numpy.ndindex(2, 2, 2)}
    assert len(planes) == 8


def channel(active=True, start=0, end=100, colour=(255, 0, 0)):
    """Return how a channel is shown."""
    return rendering.Channel(active, start, end, *colour)


@pytest.mark.parametrize(
    ("channels", "model", "wanted"),
    [
        ([channel()], rendering.COLOUR, (127, 0, 0)),
        ([channel(end=50)], rendering.COLOUR, (255, 0, 0)),
        ([channel(start=50)], rendering.COLOUR, (0, 0, 0)),
        ([channel()], rendering.GREYSCALE, (127, 127, 127)),
        ([channel(active=False), channel(colour=(0, 0, 255))], rendering.COLOUR, (0, 0, 127)),
        ([channel(), channel(colour=(0, 255, 0))], rendering.COLOUR, (127, 127, 0)),
        ([channel(), channel()], rendering.COLOUR, (255, 0, 0)),
        ([channel(), channel(end=50)], rendering.GREYSCALE, (127, 127, 127)),
    ],
)
def test_render(channels, model, wanted):
    """A number of 50 is shown as windows, colours, activity and model say."""
    planes = [numpy.full((2, 3), 50, "uint16")] * len(channels)
    shown = rendering.render(planes, channels, model)
    assert shown.shape == (2, 3, 3)
    assert tuple(shown[0, 0]) == wanted


def test_jpeg():
    """A picture survives JPEG, the better the higher its quality."""
    shown = rendering.render([numpy.arange(4096).reshape(64, 64)], [channel(end=4095)], rendering.COLOUR)
    errors = []
    for quality in (0.2, 0.95):
        again = numpy.asarray(Image.open(io.BytesIO(rendering.jpeg(shown, quality))))
        assert again.shape == shown.shape
        errors.append(abs(again.astype(int) - shown).mean())
    assert errors[1] < errors[0] < 8


@pytest.mark.parametrize(("size", "wanted"), [((512, 256), (96, 48)), ((10, 1000), (1, 96)), ((96, 96), (96, 96))])
def test_fitting(size, wanted):
    """A thumbnail keeps the image's shape, and is a pixel wide at least."""
    assert rendering.fitting(*size, 96) == wanted


# Several images in a file, and plates


def test_images_of_a_plate(tmp_path):
    """Each image of a file of several is read with its own numbers and channels."""
    plates.write_plate(tmp_path / "x.ome.tif")
    for well in range(len(plates.WELLS)):
        for field in range(plates.FIELDS):
            stack = pixels.read(tmp_path / "x.ome.tif", plates.FIELDS * well + field)
            assert (stack.array[0, :, 0] == plates.numbers(well, field)).all()
            assert stack.channels == ["DNA", "Actin"]
    with pytest.raises(Unsupported, match="10 images are described"):
        pixels.read(tmp_path / "x.ome.tif", 10)


def test_plate(tmp_path):
    """A plate has its wells, also the one without an image, their fields and the run that took them."""
    plates.write_plate(tmp_path / "x.ome.tif")
    found = ome_xml.contents(tmp_path / "x.ome.tif")
    assert found.images[3] == "well 1 field 1"
    (plate,) = found.plates
    assert (plate.texts["name"], plate.rows, plate.columns) == ("Plate 1", 2, 3)
    assert plate.texts["description"] == "Five wells of six"
    (run,) = plate.acquisitions
    assert (run.fields, run.texts) == (plates.FIELDS, {"name": "Run 1"})
    # The end is given in another zone.
    begun = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)
    assert (run.start, run.end - run.start) == (begun, datetime.timedelta(minutes=30))
    images = {(each.row, each.column): [sample.image for sample in each.samples] for each in plate.wells}
    assert images == {(0, 0): [0, 1], (0, 1): [2, 3], (0, 2): [4, 5], (1, 0): [6, 7], (1, 1): [8, 9], (1, 2): []}
    samples = {(sample.acquisition, sample.time) for each in plate.wells for sample in each.samples}
    assert samples == {(0, begun + datetime.timedelta(minutes=20))}
    assert [each.texts for each in plate.wells] == [{"type": f"type {number}"} for number in range(6)]


@pytest.mark.parametrize("side", ["Rows", "Columns"])
def test_well_beyond_the_edge(tmp_path, side):
    """A plate whose declared size is too small for its wells is as large as its wells require."""
    plates.write_plate(tmp_path / "x.ome.tif", lambda root: root.find("{*}Plate").set(side, "1"))
    (plate,) = ome_xml.contents(tmp_path / "x.ome.tif").plates
    assert (plate.rows, plate.columns) == (2, 3)


@pytest.mark.parametrize(
    ("path", "name", "value", "words"),
    [
        ("{*}Plate/{*}Well", "Column", "1", "two wells in row 0, column 1"),
        ("{*}Plate/{*}Well", "Row", "A", "Row is 'A'; expected a whole number"),
        ("{*}Plate/{*}Well", "Row", None, "has a well without Row or Column"),
        ("{*}Plate/{*}Well/{*}WellSample/{*}ImageRef", "ID", "Image:99", "Image:99 in row 0, column 0; there is no"),
        ("{*}Plate/{*}Well/{*}WellSample", "Timepoint", "soon", "'soon' is no time"),
        ("{*}Plate", "Rows", "two", "Rows is 'two'"),
        ("{*}Plate", "RowNamingConvention", "greek", "by greek; expected letter or number"),
        ("{*}Image/{*}Pixels/{*}TiffData/{*}UUID", "FileName", "gone.ome.tif", "gone.ome.tif, which is not there"),
        ("{*}Image/{*}Pixels/{*}TiffData/{*}UUID", "FileName", "../x.ome.tif", "is not beside it"),
    ],
)
def test_plate_refused(tmp_path, path, name, value, words):
    """A plate that contradicts itself, or a set that is not whole, is refused."""

    def change(root):
        parent = root.find(path)
        if parent is None:
            data = root.find("{*}Image/{*}Pixels/{*}TiffData")
            parent = ElementTree.SubElement(data, f"{{{plates.NAMESPACE}}}UUID")
        if value is None:
            del parent.attrib[name]
        else:
            parent.set(name, value)

    plates.write_plate(tmp_path / "x.ome.tif", change)
    with pytest.raises((ValueError, OSError, Unsupported), match=words):
        ome_xml.contents(tmp_path / "x.ome.tif")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<OME><Plate></OME>", "the OME-XML of x.ome.tif is not well-formed"),
        ("<OME><Image>", "x.ome.tif has no whole OME-XML"),
        ("<OME><BinaryOnly MetadataFile='y' UUID='z'/></OME>", "of which another file has the OME-XML"),
        ("<OME></OME>", "whose OME-XML has no images"),
    ],
)
def test_broken_xml(tmp_path, text, words):
    """Broken OME-XML, and OME-XML in another file, is not silently ignored."""
    plates.write_plate(tmp_path / "x.ome.tif")
    tifffile.tiffcomment(tmp_path / "x.ome.tif", text)
    with pytest.raises((ValueError, Unsupported), match=words):
        ome_xml.contents(tmp_path / "x.ome.tif")


# Sets of files


def test_companion(tmp_path):
    """TIFFs with OME-XML beside them are one set: each image has the numbers of its own file."""
    path = tmp_path / "x.companion.ome"
    plates.write_companion(path, ["a.tif", "b.tif"])
    found = ome_xml.contents(path)
    assert found.images == ["image 0", "image 1"]
    assert [each.name for each in found.files] == ["x.companion.ome", "a.tif", "b.tif"]
    for number in range(2):
        stack = pixels.read(path, number)
        assert (stack.array[0, :, 0] == plates.numbers(number, 0)).all()
        assert stack.channels == ["DNA", "Actin"]


def test_image_in_another_file(tmp_path):
    """An image has its own pixel values even if they are not in the file of the set that is read first."""
    plates.write_companion(tmp_path / "x.companion.ome", ["a.ome.tif", "b.ome.tif"])
    text = (tmp_path / "x.companion.ome").read_text()
    for number, name in enumerate(("a.ome.tif", "b.ome.tif")):
        numbers = plates.numbers(number, 0)
        tifffile.imwrite(tmp_path / name, numbers, photometric="minisblack", metadata=None, description=text)
    for number in range(2):
        assert (pixels.read(tmp_path / "a.ome.tif", number).array[0, :, 0] == plates.numbers(number, 0)).all()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('FileName="b.tif"', 'FileName="gone.tif"', "names gone.tif, which is not there"),
        ('FileName="b.tif"', 'FileName="/etc/passwd"', "names /etc/passwd, which is not beside it"),
        ("FileName=", "Name=", "names no TIFF with the numbers"),
        ("</", "<", "not well-formed"),
    ],
)
def test_companion_refused(tmp_path, old, new, words):
    """A companion file is refused if its TIFFs are missing or are not TIFFs."""
    path = tmp_path / "x.companion.ome"
    plates.write_companion(path, ["a.tif", "b.tif"])
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises((ValueError, OSError, Unsupported), match=words):
        ome_xml.contents(path)
