"""The stand-in's imports, as far as they go without Ice: names of files, what is an image, pyramids, wells."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "testbed/omero_server/blitz"))
from omero_standin import file_paths, ome_xml, permissions, pyramids
from omero_standin.compiler import compile_query
from omero_standin.errors import MissingPyramid, Unsupported

SETTINGS = {"omero.data.dir": "/srv/omero"}
FOLDER = ["curator_2", "2026-01", "31", "12-00-00.000000"]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/data/a b&c=1.fake", "data/a b&c=1.fake"),
        ("/data/10:30 <x>?.tif", "data/10;30 [x]%.tif"),
        ('/data//"a*b|c\\d\n.tif', "data/'axb!c!d_.tif"),
        ("/con/aux.tif", "con_/_aux.tif"),
        ("/data/$x/.hidden", "data/_$x/.hidden"),
    ],
)
def test_client_path(path, wanted):
    """The recorded client path contains no characters that some systems do not allow in names."""
    assert file_paths.client_path(path) == wanted


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("data/x.tif", [*FOLDER, "x.tif"]),
        ("a/", [*FOLDER, "a"]),
        ("a\nb.tif", [*FOLDER, "a_b.tif"]),
        ("../../../../etc/passwd", [*FOLDER, "passwd"]),
        ("a/..", FOLDER[:-1]),
        ("..", FOLDER[:-1]),
        (".", FOLDER),
    ],
)
def test_place(path, wanted):
    """A name that points out of an import's folder is accepted, but never leads outside of the repository."""
    assert file_paths.place(FOLDER, path) == wanted


def test_no_place():
    """A path without a file name is refused."""
    with pytest.raises(ValueError, match="no name"):
        file_paths.place(FOLDER, "/")


def test_is_image(tmp_path):
    """A single byte is no image, a file with a known suffix is one, and other files are reported as unsupported."""
    for name, content in (("x.jpg", b"x"), ("broken.png", b"no picture"), ("one.png", b"x"), ("real.jpg", b"xx")):
        (tmp_path / name).write_bytes(content)
    assert not ome_xml.is_image(tmp_path / "x.jpg")
    assert ome_xml.is_image(tmp_path / "broken.png")
    assert ome_xml.is_image(tmp_path / "one.png")
    with pytest.raises(Unsupported, match=r"the format of real\.jpg"):
        ome_xml.is_image(tmp_path / "real.jpg")


@pytest.mark.parametrize(
    ("number", "wanted"), [(7, "7"), (999, "999"), (1000, "Dir-001/1000"), (1234567, "Dir-001/Dir-234/1234567")]
)
def test_path_of_pyramid(number, wanted):
    """A pyramid lies where OMERO looks for it."""
    assert pyramids.path_of(SETTINGS, number) == Path(f"/srv/omero/Pixels/{wanted}_pyramid")


@pytest.mark.parametrize(
    ("width", "height", "kind", "more", "wanted"),
    [
        (3192, 3192, "uint8", {}, False),
        (3200, 3200, "uint8", {}, True),
        # It is the area that counts.
        (100_000, 10, "uint8", {}, False),
        (10_000, 3192, "uint16", {}, True),
        (3200, 3200, "float", {}, False),
        (3200, 3200, "double", {"omero.pixeldata.max_plane_float_override": "false"}, True),
        (20, 20, "int8", {"omero.pixeldata.max_plane_width": "10", "omero.pixeldata.max_plane_height": "10"}, True),
    ],
)
def test_pyramid_required(width, height, kind, more, wanted):
    """Images with large planes have pyramids, except those with floating-point pixels."""
    assert pyramids.required(SETTINGS | more, width, height, kind) is wanted


def test_missing_pyramid():
    """The client is told which image is waiting, and for how long."""
    sizes = {"sizeX": 3200, "sizeY": 3200, "sizeZ": 1, "sizeC": 1, "sizeT": 1}
    error = MissingPyramid(5, pyramids.path_of(SETTINGS, 5), pyramids.back_off(sizes))
    assert str(error) == "Missing pyramid:/srv/omero/Pixels/5_pyramid"
    assert error.more == {"backOff": 1690, "pixelsID": 5}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("select w from Well w", '"id" desc'),
        ("select p from Plate p join fetch p.wells", '"id" desc'),
        ("select w from Well w order by w.row", '."row"'),
        ("select i from Image i", '"id"'),
    ],
)
def test_order_of_wells(text, wanted):
    """Wells are returned in no particular row order, unless a query specifies one."""
    groups = {7: permissions.from_string("rwr---")}
    context = permissions.Context(3, permissions.ALL_GROUPS, memberships=groups, group_permissions=groups)
    assert compile_query(text, {}, context).sql.endswith(wanted)
