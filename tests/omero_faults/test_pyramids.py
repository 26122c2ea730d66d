"""Images of large planes: who sees what of them before and after there is a pyramid. Writes: for scenarios."""

import time

import pytest

testinfra_hosts = ["ansible://omero_readwrite"]
pytestmark = pytest.mark.unit("omero-server")

LARGE = "large&sizeX=3200&sizeY=3200.fake"
IMAGE = """
dataset = next(iter(connection.getObjects("Dataset", attributes={"name": "Large"})))
image = next(iter(dataset.listChildren()))
pixels = image.getPixelsId()
"""
SETTINGS = "result = len(image.getAllRenderingDefs())"
PIXELS = "result = pixels"
# A visitor asks for a thumbnail, as OMERO.web does.
LOOK = """
store = connection.createThumbnailStore()
has_settings = store.setPixelsId(pixels)
words = None
if not has_settings:
    try:
        store.resetDefaults()
    except omero.ApiUsageException as error:
        words = error.message
result = [has_settings, words, image.getThumbnail(96) is not None]
store.close()
"""
# The owner asks for the picture; what is missing is told with the time after which to ask again.
ASK = """
engine = connection.c.sf.createRenderingEngine()
context = {"omero.group": str(image.details.group.id.val)}
engine.lookupPixels(pixels, context)
try:
    if not engine.lookupRenderingDef(pixels, context):
        engine.resetDefaultSettings(True, context)
    result = None
except omero.ConcurrencyException as error:
    assert error.pixelsID == pixels
    result = error.backOff
engine.close()
"""
REMOVE = """
connection.deleteObjects("Dataset", [dataset.getId()], deleteAnns=True, deleteChildren=True, wait=True)
result = None
"""


@pytest.fixture
def large(host, script, put, omero_import, variables):
    """Import an image of large planes as the curator; its pixels' id and its pyramid's path. It is taken away then."""
    seen = omero_import("Dataset:name:Large", put(LARGE, b""))
    assert seen.returncode == 0, seen.stderr
    pixels = script("curator", IMAGE + PIXELS)
    pyramid = f"{variables['omero_server_data_dir']}/Pixels/{pixels}_pyramid"
    yield pixels, pyramid
    script("curator", IMAGE + REMOVE)
    assert not host.file(pyramid).exists, "the pyramid is left behind"


def test_large(host, script, variables, large):
    """A visitor sees a large image once it has a pyramid and its owner has looked; nobody else can have it shown."""
    assert script("curator", IMAGE + SETTINGS) == 0, "the import has made rendering settings"
    pixels, pyramid = large
    refused = f"Unable to reset rendering settings in a read-only group for Pixels set id:{pixels}"
    assert script("public", IMAGE + LOOK) == [False, refused, False]
    # Where no process makes pyramids, one made by hand stands for it.
    end = time.monotonic() + 120
    while (pause := script("curator", IMAGE + ASK)) is not None and time.monotonic() < end:
        assert pause > 0
        owner = variables["omero_system_user"]
        host.check_output(
            "runuser --user=%s -- sh -c %s", owner, f"mkdir -p {pyramid.rpartition('/')[0]}; : >> {pyramid}"
        )
    assert pause is None, "there is no pyramid"
    assert host.file(pyramid).exists
    assert script("curator", IMAGE + SETTINGS) == 1
    assert script("public", IMAGE + LOOK) == [True, None, True]
