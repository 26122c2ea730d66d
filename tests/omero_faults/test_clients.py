"""What scripts of users do: images of their own, pairs, tags, attachments, settings. Writes: for scenarios."""

import datetime
import re

import plates
import pytest
from conftest import run_omero

testinfra_hosts = ["ansible://omero_readwrite"]
pytestmark = pytest.mark.unit("omero-server")

# When the run of the plate began, in milliseconds since 1970 as OMERO has it.
BEGUN = int(datetime.datetime.fromisoformat(f"{plates.BEGIN}+00:00").timestamp() * 1000)
NUMBERS = """
# X, Y, Z, channel, time: every number is another.
numbers = numpy.arange(40 * 30 * 2 * 2 * 1, dtype="uint16").reshape(40, 30, 2, 2, 1)
"""
WRITE = """
dataset = ezomero.post_dataset(connection, "of a script")
image = ezomero.post_image(connection, numbers, "numbers", dataset_id=dataset, dim_order="xyzct")
pairs = ezomero.post_map_annotation(connection, "Image", image, {"Gene": "KIF11"}, ns="vitrine/check")
with tempfile.TemporaryDirectory() as folder:
    note = pathlib.Path(folder, "note.txt")
    note.write_text("attached")
    attached = ezomero.post_file_annotation(connection, str(note), "vitrine/check", "Image", image)
shown = connection.getObject("Image", image)
shown.setActiveChannels([2], [[0, 4800]], ["00FF00"])
shown.saveDefaults()
result = {"dataset": dataset, "image": image, "pixels": shown.getPixelsId(), "pairs": pairs, "attached": attached}
"""
READ = """
image, back = ezomero.get_image(connection, given["image"], dim_order="xyzct")
tile = image.getPrimaryPixels().getTile(1, 1, 0, (4, 5, 6, 7))
with tempfile.TemporaryDirectory() as folder:
    attachment = ezomero.get_file_annotation(connection, given["attached"], folder)
    attachment = pathlib.Path(attachment).read_text()
result = {
    "numbers": bool((back == numbers).all()),
    "tile": bool((tile == numbers[4:10, 5:12, 1, 1, 0].T).all()),
    "thumbnail": image.getThumbnail((96,))[:3] == bytes([255, 216, 255]),
    "pairs": ezomero.get_map_annotation(connection, given["pairs"]),
    "attachment": attachment,
    "active": [channel.isActive() for channel in image.getChannels()],
}
"""
FORBIDDEN = """
result = {
    "delete": refused(lambda: connection.deleteObjects("Image", [given["image"]], wait=True)),
    "annotate": refused(lambda: ezomero.post_map_annotation(connection, "Image", given["image"], {"a": "b"}, ns="x")),
}
still = connection.getObject("Image", given["image"])
result["still there"] = still is not None and still.getName() == "numbers"
"""
REMOVE = """
connection.deleteObjects("Dataset", [given["dataset"]], deleteAnns=True, deleteChildren=True, wait=True)
left = [("Dataset", given["dataset"]), ("Image", given["image"])]
left += [("Annotation", given["pairs"]), ("Annotation", given["attached"])]
result = {"left": [kind for kind, identity in left if connection.getObject(kind, identity) is not None]}
"""
PLATE = """
plate = max(connection.getObjects("Plate"), key=lambda each: each.getId())
wells = list(plate.listChildren())
runs = list(plate.listPlateAcquisitions())
samples = [sample for well in wells for sample in well.listChildren()]
# The server has no order of wells: they are known by their places.
by_place = {well.getWellPos(): well for well in wells}
first = by_place["A1"].getImage(1)
result = {
    "screens": [parent.getName() for parent in plate.listParents()],
    "screen": next(iter(plate.listParents())).getId(),
    "grid": plate.getGridSize(),
    "fields": list(plate.getNumberOfFields()),
    "description": plate.getDescription(),
    "runs": [(run.getName(), run.maximumFieldCount, run.startTime, run.endTime) for run in runs],
    "runs of fields": [*{each.getPlateAcquisition().getId() == runs[0].getId() for each in samples}],
    "times of fields": [*{each.timepoint for each in samples}],
    "types": {place: well.type for place, well in by_place.items()},
    "unordered": [well.getWellPos() for well in wells] != sorted(by_place),
    "wells": {place: well.countWellSample() for place, well in by_place.items()},
    "thumbnail": first.getThumbnail((96,))[:3] == bytes([255, 216, 255]),
    "plane": first.getPrimaryPixels().getPlane(0, 1, 0).tolist(),
    "channels": first.getChannelLabels(),
    "ezomero wells": set(ezomero.get_well_ids(connection, plate=plate.getId())) == {well.getId() for well in wells},
    "ezomero B2": ezomero.get_well_id(connection, plate.getId(), row=1, column=1) == by_place["B2"].getId(),
    "ezomero images": [len(ezomero.get_image_ids(connection, well=by_place[each].getId())) for each in ("B2", "B3")],
}
"""
REMOVE_SCREENS = """
screens = [screen.getId() for screen in connection.getObjects("Screen")]
connection.deleteObjects("Screen", screens, deleteAnns=True, deleteChildren=True, wait=True)
left = {kind: [each.getName() for each in connection.getObjects(kind)] for kind in ("Screen", "Plate", "Image")}
left["Image"] = [name for name in left["Image"] if name.startswith("plate.ome.tif")]
result = left | {"Well": len(list(connection.getObjects("Well")))}
"""

SETTINGS = """
config = connection.getConfigService()
keys = ["omero.db.host", "omero.db.name", "omero.db.pass", "omero.data.dir"]
result = {
    "refused": {key: refused(lambda key=key: config.getConfigValue(key)) for key in keys},
    "told": config.getConfigValue("omero.pixeldata.max_plane_width"),
    "announced": sorted(config.getConfigValues("^omero[.]db[.]")),
}
"""


def test_settings(script):
    """Clients read the settings that are for them, and none of the database's."""
    seen = script("curator", SETTINGS)
    assert set(seen["refused"].values()) == {"SecurityViolation"}, seen["refused"]
    assert seen["told"] == "3192"
    assert seen["announced"] == ["omero.db.authority", "omero.db.uuid"]


def test_scripts(host, script, variables):
    """A curator's script makes an image with all that belongs to it; others read it and cannot change it."""
    made = script("curator", NUMBERS + WRITE)
    numbers = f"{variables['omero_server_data_dir']}/Pixels/{made['pixels']}"
    assert host.file(numbers).size == 40 * 30 * 2 * 2 * 2, "the numbers are not in the repository"
    read = script("curator", NUMBERS + READ, made)
    assert read == {
        "numbers": True,
        "tile": True,
        "thumbnail": True,
        "pairs": {"Gene": "KIF11"},
        "attachment": "attached",
        "active": [False, True],
    }
    assert script("public", NUMBERS + READ, made)["numbers"], "a visitor reads other numbers"
    refused = script("public", FORBIDDEN, made)
    assert refused.pop("still there"), "a visitor changed it"
    assert None not in refused.values(), f"a visitor could: {refused}"
    assert script("curator", REMOVE, made) == {"left": []}
    assert not host.file(numbers).exists, "the numbers are still in the repository"


def test_commands(omero_client, variables):
    """What curators and administrators ask of the omero command is answered."""
    place = f"{variables['omero_endpoint']}:{variables['network_services']['omero']['port']}"
    user, password = variables["omero_curator_user"], variables["omero_curator_password"]
    query = "hql --style=plain \"select p.name from Project p where p.name = 'asked'\""
    lists = [f"{what} list --style=plain" for what in ("user", "group")]
    made = run_omero(
        omero_client, place, user, password, ["obj new Project name=asked", *lists, "sessions list", query]
    )
    assert made.returncode == 0, made.stderr
    for words in (variables["omero_public_user"], variables["omero_public_group"], f"{user},", "0,asked"):
        assert words in made.stdout, f"{words} is not in {made.stdout}"
    project = re.match(r"Project:\d+", made.stdout)[0]
    commands = [f"obj update {project} description=told", f"obj get {project}", f"delete {project}"]
    changed = run_omero(omero_client, place, user, password, [*commands, query])
    assert changed.returncode == 0, changed.stderr
    assert "description=told" in changed.stdout
    assert "0,asked" not in changed.stdout, "it is still there"


def test_administration(host, variables):
    """On the server's host its administrator sees that it runs, its settings, and the memory of its processes."""
    environment = "$(systemctl show --property=Environment --value omero-server)"

    def omero(command):
        return host.check_output(
            f"runuser --user=%s -- env {environment} omero {command}", variables["omero_system_user"]
        )

    omero("admin status")
    assert re.search(r"Server: +Blitz-0 +active", omero("admin diagnostics"))
    assert omero("config get omero.data.dir") == variables["omero_server_data_dir"]
    memory = omero("admin jvmcfg")
    assert "blitz=-Xmx" in memory, memory
    assert ("--add-opens" in memory) == (variables["omero_server_java"] > 11), memory


@pytest.fixture
def fs(omero_client, variables):
    """Return a function that runs a command of `omero fs` as a visitor and returns its output."""
    place = f"{variables['omero_endpoint']}:{variables['network_services']['omero']['port']}"

    def run(command):
        user, password = variables["omero_public_user"], variables["omero_public_password"]
        done = run_omero(omero_client, place, user, password, f"fs {command}")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().splitlines()

    return run


def test_plate(host, script, omero_import, plate, fs):
    """A plate that a curator imports is there for others, who cannot change it; deleted, nothing of it is left."""
    path = plate()
    seen = omero_import("Screen:name:Plates", path)
    assert seen.returncode == 0, seen.stderr
    found = script("public", PLATE)
    screen = found.pop("screen")
    assert found == {
        "screens": ["Plates"],
        "grid": {"rows": 2, "columns": 3},
        "fields": [0, 1],
        "description": "Five wells of six",
        # Its end is given in another zone.
        "runs": [["Run 1", plates.FIELDS, BEGUN, BEGUN + 30 * 60_000]],
        "runs of fields": [True],
        "times of fields": [BEGUN + 20 * 60_000],
        "types": {place: f"type {number}" for number, place in enumerate(("A1", "A2", "A3", "B1", "B2", "B3"))},
        "unordered": True,
        "wells": {"A1": 2, "A2": 2, "A3": 2, "B1": 2, "B2": 2, "B3": 0},
        "thumbnail": True,
        "plane": plates.numbers(0, 1)[1].tolist(),
        "channels": ["DNA", "Actin"],
        "ezomero wells": True,
        "ezomero B2": True,
        "ezomero images": [2, 0],
    }
    assert "ManagedRepository" in fs("repos --managed --style=plain")[0]
    _, identity, _, *counted = fs("sets --style=plain")[0].split(",")
    assert counted == ["10", "1", "ln_s"]
    assert fs(f"ls Fileset:{identity}")[0].endswith("/plate.ome.tif")
    log = len("\n".join(fs(f"logfile Fileset:{identity} -")).encode()) + 1
    assert int(fs(f"usage Fileset:{identity} --size-only")[0]) == host.file(path).size + log
    assert "plate.ome.tif [well 4 field 1]" in fs("images --style=plain --limit=1")[0]
    refused = omero_import(f"Screen:id:{screen}", path, "public")
    assert refused.returncode == 2, refused.stdout
    assert "Cannot link to target" in refused.stderr, refused.stderr
    assert script("curator", REMOVE_SCREENS) == {"Screen": [], "Plate": [], "Well": 0, "Image": []}
