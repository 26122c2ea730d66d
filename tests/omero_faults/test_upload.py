"""Imports from a host of clients: the bytes travel, and what they become is what was sent. Writes: for scenarios."""

import hashlib
import io
import shlex

import numpy
import plates
import pytest
import tifffile
from conftest import run_omero, run_with_input

testinfra_hosts = ["ansible://omero_readwrite"]
pytestmark = pytest.mark.unit("omero-server")

CONTAINERS = """
result = [ezomero.post_dataset(connection, "sent"), ezomero.post_screen(connection, "sent")]
"""
READ = """
image = max(connection.getObjects("Image", opts={"dataset": given["dataset"]}), key=lambda each: each.getId())
pixels = image.getPrimaryPixels()
planes = [[[pixels.getPlane(z, c, t).tolist() for z in range(3)] for c in range(2)] for t in range(1)]
file = next(image.getImportedImageFiles())
images = connection.getObjects("Image", opts={"dataset": given["dataset"]})
sets = [each for each in images if "[" in each.getName()]
companion = {each.getName(): each.getPrimaryPixels().getPlane(0, 1, 0).tolist() for each in sets}
result = {
    "name": image.getName(),
    "fileset": image.getFileset().getId(),
    "same": planes == given["numbers"],
    "hash": file.getHash(),
    "client path": image.getImportedImageFilePaths()["client_paths"],
    "companion": companion,
    "plates": [plate.getName() for plate in connection.getObject("Screen", given["screen"]).listChildren()],
}
"""
# A client of its own: it goes through the steps of an import with what it is told.
BEGIN_IMPORT = """
proxies = connection.c.sf.sharedResources().repositories().proxies
# Other repositories, and places without one, may come first.
found = [omero.grid.ManagedRepositoryPrx.checkedCast(each) for each in proxies if each]
repository = next(each for each in found if each)
text = omero.rtypes.rstring
def begin(name, target=None, algorithm="SHA1-160", jobs=(omero.model.UploadJobI,)):
    entry = omero.model.FilesetEntryI()
    entry.clientPath = text(name)
    fileset = omero.model.FilesetI()
    fileset.addFilesetEntry(entry)
    for job in jobs:
        fileset.linkJob(job())
    settings = omero.grid.ImportSettings(userSpecifiedTarget=target, userSpecifiedAnnotationList=[])
    settings.checksumAlgorithm = omero.model.ChecksumAlgorithmI()
    settings.checksumAlgorithm.value = text(algorithm)
    return repository.importFileset(fileset, settings)
def send(process, data):
    store = process.getUploader(0)
    store.write(data, 0, len(data))
    saved = store.save()
    store.close()
    return saved.hash.val
def outcome(handle):
    import time
    while (response := handle.getResponse()) is None:
        time.sleep(0.1)
    handle.close()
    return response
data = pathlib.Path(given["path"]).read_bytes()
"""
WRONG_CHECKSUM = """
process = begin("sent.ome.tif", omero.model.DatasetI(given["dataset"], False))
hash_here = send(process, data)
result = {"here": hash_here}
try:
    process.verifyUpload(["0" * 40])
except omero.ChecksumValidationException as error:
    result["wrong"] = {str(number): found for number, found in error.failingChecksums.items()}
result["too few"] = refused(lambda: process.verifyUpload([]))
result["images"] = len(list(connection.getObjects("Image", opts={"dataset": given["dataset"]})))
store = process.getUploader(0)
response = outcome(process.verifyUpload([hash_here]))
result["right"] = type(response).__name__
file = store.getFileId().val
end = len(data)
result["late"] = refused(lambda: store.write(b"late", end, 4))
store.close()
result["changed"] = repository.verifyChecksums([file]) == [file]
def began(name, **more):
    process = begin(name, **more)
    file = connection.getQueryService().get("OriginalFile", process.getUploader(0).getFileId().val)
    result.setdefault("places", []).append(file.path.val + file.name.val)
    process.close()
result["odd"] = {name: refused(lambda: began(name)) for name in ("..", "a/", "a/..", "a\\nb.tif", "../../../x/y")}
result["folder"] = refused(lambda: begin("..").getUploader(0).write(b"x", 0, 1))
upload, other = omero.model.UploadJobI, omero.model.MetadataImportJobI
result["jobs"] = [refused(lambda: begin("x.tif", jobs=each)) for each in ((), (upload, other), (other,))]
def save(entry):
    connection.getUpdateService().saveObject(entry)
query = "select e from FilesetEntry e join fetch e.originalFile f where f.hash = :hash order by e.id desc"
parameters = omero.sys.ParametersI().addString("hash", hash_here).page(0, 1)
entry = connection.getQueryService().findByQuery(query, parameters)
moved = entry.originalFile
moved.path = text("../../../../etc/")
forged = omero.model.FilesetEntryI()
forged.fileset, forged.clientPath = omero.model.FilesetI(entry.fileset.id.val, False), text("forged")
forged.originalFile = omero.model.OriginalFileI()
forged.originalFile.name, forged.originalFile.path = text("passwd"), text("../../../etc/")
result["forged"] = [refused(lambda: save(each)) for each in (moved, forged)]
result["algorithms"] = [refused(lambda: begin("a.tif", algorithm=each)) for each in ("MD5-128", "none")]
"""
VISITOR = """
process = begin("sent.ome.tif", omero.model.DatasetI(given["dataset"], False))
response = outcome(process.verifyUpload([send(process, data)]))
result = {
    "response": type(response).__name__,
    "message": getattr(response, "parameters", {}).get("message"),
    "images": len(list(connection.getObjects("Image", opts={"dataset": given["dataset"]}))),
}
left = connection.getQueryService().projection("select f.id from Fileset f where f.images is empty", None)
if left:
    connection.deleteObjects("Fileset", [max(row[0].val for row in left)], wait=True)
"""
REMOVE = """
connection.deleteObjects("Dataset", [given["dataset"]], deleteAnns=True, deleteChildren=True, wait=True)
connection.deleteObjects("Screen", [given["screen"]], deleteAnns=True, deleteChildren=True, wait=True)
left = connection.getQueryService().projection("select f.id from Fileset f where f.images is empty", None)
if left:
    connection.deleteObjects("Fileset", [row[0].val for row in left], wait=True)
result = len(left)
"""
# Runs `omero import`, and kills what it started as Java as soon as some of a file is sent.
KILL = """
import os, pathlib, signal, subprocess, sys, time
path, least, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
process = subprocess.Popen(command)
def importer():
    for each in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if b"CommandLine" b"Importer" in (each / "cmdline").read_bytes():
                return each
        except OSError:
            pass
def sent(importer):
    for link in importer.glob("fd/*"):
        try:
            if os.readlink(link) == path:
                return int((importer / "fdinfo" / link.name).read_text().split()[1])
        except OSError:
            pass
    return 0
# The word in two parts: this text is in a command line of its own.
while (found := importer()) is None and process.poll() is None:
    time.sleep(0.1)
while process.poll() is None and (done := sent(found)) < least:
    time.sleep(0.005)
if process.poll() is not None:
    sys.exit("it was faster")
os.kill(int(found.name), signal.SIGKILL)
process.wait()
print("sent", done)
"""


@pytest.fixture
def rows(host):
    """Return a function that counts rows of the database: a dict from the names of tables."""
    tables = ("image", "fileset", "originalfile", "job", "plate", "annotation")
    query = "select " + ", ".join(f"(select count(*) from {table})" for table in tables)
    command = "psql --no-psqlrc --tuples-only --no-align --field-separator=' ' service=omero --command=%s"
    return lambda: dict(zip(tables, map(int, host.check_output(command, query).split()), strict=True))


@pytest.fixture
def sent(host, script, rows, variables):
    """Return a dataset's and a screen's id; at the end nothing is left of what was imported into them."""
    if not variables["stand_in_omero_server"]:
        pytest.skip("the host of clients has the stand-in's importer")
    before = rows()
    repository = f"{variables['omero_server_data_dir']}/ManagedRepository"
    count = "find %s -type f | wc --lines"
    files = host.check_output(count, repository)
    dataset, screen = script("curator", CONTAINERS)
    yield {"dataset": dataset, "screen": screen}
    script("curator", REMOVE, {"dataset": dataset, "screen": screen})
    assert rows() == before
    assert host.check_output(count, repository) == files, "files are left in the repository"


@pytest.fixture
def omero(omero_client, variables):
    """Return a function that runs omero commands (list of str) as the curator on a host of clients."""
    place = f"{variables['omero_endpoint']}:{variables['network_services']['omero']['port']}"
    user, password = variables["omero_curator_user"], variables["omero_curator_password"]
    return lambda *commands: run_omero(omero_client, place, user, password, list(commands))


NUMBERS = numpy.arange(1 * 2 * 3 * 20 * 30, dtype="uint16").reshape(1, 2, 3, 20, 30)


def image_file():
    """Return the bytes of an OME-TIFF of which every number is another."""
    made = io.BytesIO()
    tifffile.imwrite(made, NUMBERS, ome=True, metadata={"axes": "TCZYX"})
    return made.getvalue()


def test_upload(sent, put_at_client, omero, script, omero_client, tmp_path):
    """What a curator sends from another host is read there number for number, with log, times and bulk files."""
    data = image_file()
    path = put_at_client("sent.ome.tif", data)
    plates.write_plate(tmp_path / "plate.ome.tif")
    plate = put_at_client("plate.ome.tif", (tmp_path / "plate.ome.tif").read_bytes())
    plates.write_companion(tmp_path / "x.companion.ome", ["a.tif", "b.tif"])
    for name in ("a.tif", "b.tif", "x.companion.ome"):
        companion = put_at_client(name, (tmp_path / name).read_bytes())
    put_at_client("files.tsv", f"from a bulk file\t{path}\n".encode())
    settings = f"target: Dataset:id:{sent['dataset']}\npath: files.tsv\ncolumns: [name, path]\n"
    bulk = put_at_client("bulk.yml", settings.encode())
    folder = path.rpartition("/")[0]
    omero_client.check_output("chmod 777 %s", folder)
    seen = omero(
        f"import -d {sent['dataset']} --name sent --output=yaml --file {folder}/out --errs {folder}/err {path}",
        f"import -d {sent['dataset']} {companion}",
        f"import --bulk {bulk}",
        f"import -r {sent['screen']} --output=legacy {plate}",
        f"import --transfer=ln_s -d {sent['dataset']} {path}",
    )
    assert seen.returncode == 2, f"{seen.stdout}{seen.stderr}"
    assert "does not exist!\nYou likely do not have access to the ManagedRepository" in seen.stderr, seen.stderr
    written = omero_client.check_output("cat %s %s", f"{folder}/out", f"{folder}/err")
    assert "- Fileset: " in written
    assert "1 fileset created, 1 image imported, 0 errors" in written
    found = script("curator", READ, sent | {"numbers": NUMBERS.tolist()})
    fileset = found.pop("fileset")
    assert found == {
        "name": "from a bulk file",
        "same": True,
        "hash": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
        "client path": [path.lstrip("/")],
        "companion": {
            f"x.companion.ome [image {number}]": plates.numbers(number, 0)[1].tolist() for number in range(2)
        },
        "plates": ["Plate 1"],
    }
    seen = omero(f"fs logfile Fileset:{fileset} -", f"fs importtime Fileset:{fileset}")
    assert seen.returncode == 0, seen.stderr
    assert "sent.ome.tif: 1 images, 0 plates" in seen.stdout
    for words in ("upload time of", "for 1 file ", "for 6 planes", "for 1 rendering setting"):
        assert words in seen.stdout, seen.stdout


def test_checksums(sent, put_at_client, script, variables):
    """A file that arrives other than it was sent is refused; odd names are taken, and lead nowhere."""
    data = image_file()
    given = sent | {"path": put_at_client("sent.ome.tif", data)}
    here = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    found = script("curator", BEGIN_IMPORT + WRONG_CHECKSUM, given)
    # None leads out of the folder of the user's imports.
    places = found.pop("places")
    assert len(places) == 5
    assert all(each.startswith(f"{variables['omero_curator_user']}_") for each in places), places
    assert not any(".." in each.split("/") or not each.isprintable() for each in places), places
    assert found == {
        "here": here,
        "wrong": {"0": here},
        "too few": "ApiUsageException",
        "images": 0,
        "right": "ImportResponse",
        # As at the real server: who has the file open may still write into it, and others see that it has changed.
        "late": None,
        "changed": True,
        "odd": dict.fromkeys(("..", "a/", "a/..", "a\nb.tif", "../../../x/y")),
        "folder": "ResourceError",
        "jobs": ["ValidationException"] * 3,
        "forged": ["SecurityViolation", "SecurityViolation"],
        "algorithms": [None, "ApiUsageException"],
    }
    seen = script("public", BEGIN_IMPORT + VISITOR, given)
    assert seen["response"] == "ERR", "a visitor put an image into a curator's dataset"
    assert "READ-ONLY" in seen["message"]
    assert seen["images"] == 1


def test_killed_client(sent, put_at_client, omero, omero_client, rows, variables):
    """A client that is killed while it sends leaves no image behind, and the next one can send the same file."""
    path = put_at_client("large.tif", b"")
    code = f"import tifffile; tifffile.memmap({path!r}, shape=(6000, 6000), dtype='uint8').flush()"
    omero_client.check_output("/opt/omero/client/bin/python -c %s", code)
    before = rows()
    server = f"--server {variables['omero_endpoint']} --port {variables['network_services']['omero']['port']}"
    command = f"omero import {server} --user {variables['omero_curator_user']} -d {sent['dataset']} {path}"
    kill = (
        "OMERO_PASSWORD=$(cat); export OMERO_PASSWORD; OMERO_USERDIR=$(mktemp --directory); export OMERO_USERDIR;"
        " chown nobody $OMERO_USERDIR; runuser --user=nobody --preserve-environment --"
        f" python3 -c {shlex.quote(KILL)} {path} 5000000 {command}; rm -r $OMERO_USERDIR"
    )
    seen = run_with_input(omero_client, kill, variables["omero_curator_password"])
    assert "sent " in seen.stdout, f"{seen.stdout}{seen.stderr}"
    assert 5_000_000 <= int(seen.stdout.split()[-1]) < 6000**2
    after = rows()
    assert (after["image"], after["fileset"]) == (before["image"], before["fileset"] + 1)
    seen = omero("fs sets --style=plain --without-images", f"import -d {sent['dataset']} {path}")
    assert seen.returncode == 0, seen.stderr
    assert ",0,1," in seen.stdout, "the import that was broken off is not shown as one without images"
    assert rows()["image"] == before["image"] + 1
