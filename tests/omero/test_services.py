"""What OMERO.server does for a curator: an import, a table, an official script."""

import base64
import struct
import zlib

import pytest

testinfra_hosts = ["ansible://omero_readwrite"]
pytestmark = pytest.mark.unit("omero-server")

# All of it in a group of the gate's own, which visitors do not see, and taken away at the end.
WORK = """
import base64, time
text = omero.rtypes.rstring
connection.setGroupNameForSession(given["group"])
result = {}
def call(handle, seconds):
    end = time.monotonic() + seconds
    while (response := handle.getResponse()) is None and time.monotonic() < end:
        time.sleep(0.1)
    handle.close()
    if not isinstance(response, omero.cmd.OK):
        raise RuntimeError(f"no success: {response}")
    return response
def import_image(data):
    resources = connection.c.sf.sharedResources()
    casts = (omero.grid.ManagedRepositoryPrx.checkedCast(each) for each in resources.repositories().proxies if each)
    repository = next(each for each in casts if each)
    entry = omero.model.FilesetEntryI()
    entry.clientPath = text("gate.png")
    fileset = omero.model.FilesetI()
    fileset.addFilesetEntry(entry)
    job = omero.model.UploadJobI()
    job.setVersionInfo([omero.model.NamedValue("omero.version", "gate")])
    fileset.linkJob(job)
    settings = omero.grid.ImportSettings(doThumbnails=omero.rtypes.rbool(True), noStatsInfo=omero.rtypes.rbool(False))
    settings.checksumAlgorithm = omero.model.ChecksumAlgorithmI()
    settings.checksumAlgorithm.value = text("SHA1-160")
    process = repository.importFileset(fileset, settings)
    store = process.getUploader(0)
    store.write(data, 0, len(data))
    saved = store.save()
    store.close()
    return call(process.verifyUpload([saved.hash.val]), 60).pixels[0].image.id.val
def write_table():
    resources = connection.c.sf.sharedResources()
    if not resources.areTablesEnabled():
        return "there are no tables"
    column = omero.grid.LongColumn("number", "", [1, 2, 3])
    table = resources.newTable(1, "gate.h5")
    try:
        table.initialize([omero.grid.LongColumn("number", "", [])])
        table.addData([column])
        file = table.getOriginalFile().id.val
    finally:
        table.close()
    table = resources.openTable(omero.model.OriginalFileI(file, False))
    try:
        return table.read([0], 0, table.getNumberOfRows()).columns[0].values
    finally:
        table.close()
def run_script(path, image):
    service = connection.getScriptService()
    script = service.getScriptID(path)
    if script < 0:
        return f"there is no script {path}"
    inputs = {"Data_Type": text("Image"), "IDs": omero.rtypes.rlist([omero.rtypes.rlong(image)]), "Format": text("PNG")}
    process = service.runScript(script, inputs, omero.rtypes.rint(30))
    try:
        end = time.monotonic() + 90
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
        results = process.getResults(0)
    finally:
        process.close(False)
    message = results["Message"].val if "Message" in results else "it says nothing"
    return "exported" if "File_Annotation" in results else message
def ids(kind):
    # The repository's folders by date stay.
    more = " and (o.mimetype is null or o.mimetype <> 'Directory')" if kind == "OriginalFile" else ""
    query = f"select o.id from {kind} o where o.details.group.name = :group{more}"
    parameters = omero.sys.ParametersI().addString("group", given["group"])
    return [row[0].val for row in connection.getQueryService().projection(query, parameters)]
def remove():
    for kind in ("Image", "Fileset", "OriginalFile"):
        for identifier in ids(kind):
            connection.deleteObjects(kind, [identifier], deleteAnns=True, deleteChildren=True, wait=True)
# What a gate left that was interrupted.
remove()
try:
    if given["import"]:
        image = import_image(base64.b64decode(given["import"]))
        result["thumbnail"] = len(connection.getObject("Image", image).getThumbnail(size=(32,)))
        if given["script"]:
            result["script"] = run_script(given["script"], image)
            # What the script printed is a file, and may be noted a moment after the results.
            time.sleep(1)
    if given["table"]:
        result["table"] = write_table()
finally:
    remove()
result["left"] = {kind: ids(kind) for kind in ("Image", "Fileset", "OriginalFile")}
"""
NOTHING = {"Image": [], "Fileset": [], "OriginalFile": []}


def image_file():
    """Return a PNG of 32 x 32 pixels, each row brighter than the one before (bytes)."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([8 * row] * 32) for row in range(32))
    header = struct.pack(">IIBBBBB", 32, 32, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.fixture
def work(script, variables):
    """Return a function that does, as the curator, what it is told of: an import, a table, a script."""
    nothing = {"group": variables["omero_gate_group"], "import": None, "script": None, "table": False}
    return lambda **given: script("curator", WORK, nothing | given)


def test_import(work):
    """A curator imports an image, sees its thumbnail, and nothing is left when it is deleted."""
    seen = work(**{"import": base64.b64encode(image_file()).decode()})
    assert seen["thumbnail"] > 0, "its thumbnail is empty"
    assert seen["left"] == NOTHING


def test_tables(work):
    """A curator writes a table and reads it."""
    seen = work(table=True)
    assert seen["table"] == [1, 2, 3]
    assert seen["left"] == NOTHING


def test_script(host, variables, work):
    """An official script is run: it exports an image."""
    name = "omero/export_scripts/Batch_Image_Export.py"
    if not host.file(f"{variables['omero_server_dir']}/OMERO.server/lib/scripts/{name}").exists:
        pytest.skip("the site has no official scripts (omero_server_scripts)")
    seen = work(script=f"/{name}", **{"import": base64.b64encode(image_file()).decode()})
    assert seen["script"] == "exported"
    assert seen["left"] == NOTHING
