"""The study that was imported, as the public sees it through the proxy."""

import base64
import io
import json
import shlex
import urllib.parse
import xml.etree.ElementTree as etree
from pathlib import Path

import numpy
import pytest
import tifffile
from conftest import fetch, run_with_input
from PIL import Image

from plugins.module_utils.study.folder import read_study

testinfra_hosts = ["ansible://proxy"]
pytestmark = pytest.mark.unit("nginx")

PAGE = 200
# Adds up the numbers of every plane of images, with the ordinary client; the password comes by standard input.
PLANES = """
import json, sys
from omero.gateway import BlitzGateway
server, port, user, identities = json.loads(sys.argv[1])
connection = BlitzGateway(user, sys.stdin.read(), host=server, port=port, secure=True)
if not connection.connect():
    sys.exit("cannot log in")
connection.SERVICE_OPTS.setOmeroGroup("-1")
sums = {}
for identity in identities:
    image = connection.getObject("Image", identity)
    at = [(z, c, t) for t in range(image.getSizeT()) for c in range(image.getSizeC()) for z in range(image.getSizeZ())]
    sums[identity] = [int(plane.sum()) for plane in image.getPrimaryPixels().getPlanes(at)]
connection.close()
print(json.dumps(sums))
"""
# Looks at plates as the ordinary client does: by well, the sums of its planes, and its pairs by namespace.
PLATES = """
import json, sys
from omero.gateway import BlitzGateway
server, port, user, identities = json.loads(sys.argv[1])
connection = BlitzGateway(user, sys.stdin.read(), host=server, port=port, secure=True)
if not connection.connect():
    sys.exit("cannot log in")
connection.SERVICE_OPTS.setOmeroGroup("-1")
found = {}
for identity in identities:
    plate = connection.getObject("Plate", identity)
    found[identity] = wells = {}
    for well in plate.listChildren():
        images = [each.getImage() for each in well.listChildren()]
        sums = [
            int(plane.sum())
            for image in images
            for plane in image.getPrimaryPixels().getPlanes([(0, c, 0) for c in range(image.getSizeC())])
        ]
        pairs = {each.getNs(): each.getValue() for each in well.listAnnotations() if hasattr(each, "getMapValueAsMap")}
        wells[f"{well.row},{well.column}"] = {"sums": sums, "pairs": pairs}
connection.close()
print(json.dumps(found))
"""
AT_ONCE = 50
# Runs on the asking host: asks for many pages, some at a time, over connections that stay open.
FETCH_ALL = """
import base64, concurrent.futures, http.client, json, ssl, sys, threading, time
ask = json.load(sys.stdin)
context = ssl.create_default_context()
context.load_verify_locations(cadata=ask["trust"])
own = threading.local()
def once(path):
    if not hasattr(own, "connection"):
        own.connection = http.client.HTTPSConnection(ask["address"], 443, timeout=60, context=context)
    own.connection.request("GET", path)
    answer = own.connection.getresponse()
    return answer.status, answer.headers.get_content_type(), base64.b64encode(answer.read()).decode()
def fetch(path):
    for left in reversed(range(60)):
        try:
            seen = once(path)
            if seen[0] != 429 or not left:
                return seen
            time.sleep(1)  # more than the proxy lets an address send
        except (OSError, http.client.HTTPException) as error:
            own.__dict__.clear()  # the proxy may have closed it in between
            if left < 58:
                return 0, str(error), ""
with concurrent.futures.ThreadPoolExecutor(ask["threads"]) as pool:
    json.dump(list(pool.map(fetch, ask["paths"])), sys.stdout)
"""
THREADS, PAGES_AT_ONCE = 4, 100


@pytest.fixture
def study(variables):
    """Return the study as its folder has it."""
    return read_study(Path(variables["study_folder"]), images=True)


@pytest.fixture
def ask(host, variables, visitor):
    """Return a function that asks the public address for JSON over HTTPS, as a visitor."""
    certificate = host.file("/etc/nginx/tls/site.pem").content_string

    def answer(path):
        seen = fetch(visitor, variables["site_public_name"], 443, path, tls=True, trust=certificate)
        assert seen.status == 200, f"{path}: {seen.status} {seen.body[:200]}"
        return json.loads(seen.body)

    return answer


@pytest.fixture
def listed(ask):
    """Return a function that lists everything at an address of the API, page by page."""

    def everything(path):
        found = []
        while True:
            answer = ask(f"{path}?limit={PAGE}&offset={len(found)}")
            found += answer["data"]
            if not answer["data"] or len(found) >= answer["meta"]["totalCount"]:
                return found

    return everything


@pytest.fixture
def projects(study, listed):
    """Return (project as the study has it, project as the public sees it) for each; the latter may be missing."""
    seen = {each["Name"]: each for each in listed("/api/v0/m/projects/")}
    return [(each, seen.get(each["name"])) for each in study["projects"]]


@pytest.fixture
def annotations(ask):
    """Return a function from a kind, such as "dataset", and ids to their pairs by id and namespace."""

    def pairs(kind, ids):
        found = {identity: {} for identity in ids}
        for start in range(0, len(ids), AT_ONCE):
            wanted = "".join(f"&{kind}={identity}" for identity in ids[start : start + AT_ONCE])
            for each in ask(f"/webclient/api/annotations/?type=map{wanted}")["annotations"]:
                found[each["link"]["parent"]["id"]].setdefault(each["ns"], []).append(each["values"])
        return found

    return pairs


@pytest.fixture
def datasets(projects, listed):
    """Return (dataset as the study has it, id) for each that the public sees."""
    found = []
    for wanted, seen in projects:
        ids = {each["Name"]: each["@id"] for each in listed(f"/api/v0/m/projects/{seen['@id']}/datasets/")}
        found += [(each, ids[each["name"]]) for each in wanted["datasets"] if each["name"] in ids]
    return found


@pytest.fixture
def images(variables, datasets, listed):
    """Return (image as the study has it, as the public sees it, its file) for each; skip where none is imported."""
    if not variables["study_import_images"]:
        pytest.skip("the study's images are not imported (study_import_images)")
    found = []
    for dataset, identity in datasets:
        seen = {each["Name"]: each for each in listed(f"/api/v0/m/datasets/{identity}/images/")}
        files = {Path(file).name: Path(file) for file in dataset["files"]}
        found += [(each, seen.get(each["name"]), files[each["name"]]) for each in dataset["images"]]
    assert found, "the study names no image"
    return found


@pytest.fixture
def screens(study, listed):
    """Return (screen as the study has it, as the public sees it) for each; skip where the study has none."""
    if not study["screens"]:
        pytest.skip("the study has no screen")
    seen = {each["Name"]: each for each in listed("/api/v0/m/screens/")}
    missing = [each["name"] for each in study["screens"] if each["name"] not in seen]
    assert not missing, f"no screen {', '.join(missing)}"
    return [(each, seen[each["name"]]) for each in study["screens"]]


@pytest.fixture
def plates(variables, screens, listed):
    """Return (screen and plate as the study has them, plate as the public sees it) for each that is imported."""
    if not variables["study_import_images"]:
        pytest.skip("the study's plates are not imported (study_import_images)")
    found = []
    for screen, seen in screens:
        there = listed(f"/api/v0/m/screens/{seen['@id']}/plates/")
        for plate in screen["plates"]:
            same = [each for each in there if each["Name"] == plate["name"]]
            assert len(same) == 1, f"{screen['name']}: not there, or not once: {plate['name']}"
            found.append((screen, plate, same[0]))
    return found


@pytest.fixture
def plates_there(study, variables, listed):
    """Return every plate in the study's screens as the public sees it, also those that the study does not name."""
    wanted = {each["name"] for each in study["screens"]}
    seen = [each for each in listed("/api/v0/m/screens/") if each["Name"] in wanted] if wanted else []
    return [plate for screen in seen for plate in listed(f"/api/v0/m/screens/{screen['@id']}/plates/")]


@pytest.fixture
def wells(plates, listed):
    """Return (screen, plate and well as the study has them, well as the public sees it) for each."""
    found = []
    for screen, plate, seen in plates:
        there = {(each["Row"], each["Column"]): each for each in listed(f"/api/v0/m/plates/{seen['@id']}/wells/")}
        missing = [each["name"] for each in plate["wells"] if (each["row"], each["column"]) not in there]
        assert not missing, f"{plate['name']}: no well {', '.join(missing)}"
        found += [(screen, plate, each, there[each["row"], each["column"]]) for each in plate["wells"]]
    return found


def test_projects(projects):
    """The public sees the study's projects, with their descriptions."""
    for wanted, seen in projects:
        assert seen is not None, f"no project {wanted['name']}"
        assert seen.get("Description", "") == wanted["description"], f"{wanted['name']}: {seen.get('Description')}"


def test_datasets(projects, listed):
    """Each project has the study's datasets, and each of them once."""
    for wanted, seen in projects:
        assert seen is not None, f"no project {wanted['name']}"
        names = [each["Name"] for each in listed(f"/api/v0/m/projects/{seen['@id']}/datasets/")]
        missing = [each["name"] for each in wanted["datasets"] if names.count(each["name"]) != 1]
        assert not missing, f"{wanted['name']}: not there, or not once: {', '.join(missing)}"


def test_project_pairs(projects, annotations):
    """Each project shows what the study says about itself."""
    for wanted, seen in projects:
        assert seen is not None, f"no project {wanted['name']}"
        compare(wanted, annotations("project", [seen["@id"]])[seen["@id"]])


def test_dataset_pairs(projects, listed, annotations):
    """Each dataset shows its key-value pairs."""
    for project, seen in projects:
        assert seen is not None, f"no project {project['name']}"
        datasets = listed(f"/api/v0/m/projects/{seen['@id']}/datasets/")
        ids = {each["Name"]: each["@id"] for each in datasets}
        pairs = annotations("dataset", list(ids.values()))
        for wanted in project["datasets"]:
            compare(wanted, pairs[ids[wanted["name"]]])


def compare(wanted, seen):
    """Fail unless an object shows the annotations that the study has for it.

    Args:
        wanted: dict with name and annotations.
        seen: dict of namespace to a list of annotations, each a list of pairs.
    """
    for each in wanted["annotations"]:
        shown = seen.get(each["namespace"], [])
        assert shown == [each["pairs"]], f"{wanted['name']}, {each['namespace']}: {shown}"


def test_images(images, annotations):
    """Each dataset has the study's images, with their pairs."""
    missing = [wanted["name"] for wanted, seen, _ in images if seen is None]
    assert not missing, f"not there: {', '.join(missing)}"
    pairs = annotations("image", [seen["@id"] for _, seen, _ in images])
    for wanted, seen, _ in images:
        for each in wanted["annotations"]:
            shown = pairs[seen["@id"]].get(each["namespace"])
            assert shown == [each["pairs"]], f"{wanted['name']}: {shown}"


def test_thumbnails(request, variables, host, visitor, listed, datasets, plates_there):
    """The public sees a thumbnail of every image of the study."""
    if not variables["study_import_images"]:
        pytest.skip("the study's images are not imported (study_import_images)")
    names = {
        each["@id"]: each["Name"]
        for _, identity in datasets
        for each in listed(f"/api/v0/m/datasets/{identity}/images/")
    }
    for plate in plates_there:
        for well in listed(f"/api/v0/m/plates/{plate['@id']}/wells/"):
            for sample in well.get("WellSamples", []):
                if "Image" in sample:
                    names[sample["Image"]["@id"]] = sample["Image"]["Name"]
    assert names, "the study has no image"
    promise = f"the public sees a thumbnail of each of the study's {len(names)} images"
    request.node.user_properties.append(("promise", promise))
    ask = {
        "address": variables["site_public_name"],
        "trust": host.file("/etc/nginx/tls/site.pem").content_string,
        "threads": THREADS,
    }
    missing, identities = [], list(names)
    for start in range(0, len(identities), PAGES_AT_ONCE):
        some = identities[start : start + PAGES_AT_ONCE]
        paths = [f"/webgateway/render_thumbnail/{identity}/" for identity in some]
        run = run_with_input(visitor, f"python3 -c {shlex.quote(FETCH_ALL)}", json.dumps(ask | {"paths": paths}))
        assert run.returncode == 0, run.stderr
        for identity, seen in zip(some, json.loads(run.stdout), strict=True):
            problem = wrong_with_jpeg(*seen)
            if problem:
                missing.append(f"{names[identity]} (image {identity}: {problem})")
    assert not missing, f"no thumbnail of {len(missing)} of {len(names)} images: {', '.join(missing)}"


def wrong_with_jpeg(status, kind, body):
    """Say what is wrong with an answer that should be a picture; an empty str where nothing is.

    Args:
        status: int, of HTTP; 0 where there was no answer.
        kind: str, the type of what came, or why nothing did.
        body: str, what came, in base64.
    """
    if (status, kind) != (200, "image/jpeg"):
        return f"{status} {kind}"
    try:
        with Image.open(io.BytesIO(base64.b64decode(body))) as picture:
            picture.load()
    except OSError as error:
        return str(error)
    return ""


def test_find_by_value(images, variables, ask, reach):
    """A menu of OMERO.mapr finds the images by the values of its pairs, through their projects and datasets."""
    of_web = reach(variables["groups"]["web"][0]).ansible.get_variables()
    apps = {each["name"]: each.get("settings") or {} for each in of_web["omero_web_apps"]}
    wanted = {}
    for menu in apps.get("mapr", {}).get("omero.web.mapr.config", []):
        for image, seen, _ in images:
            for each in image["annotations"]:
                if each["namespace"] in menu["config"]["ns"]:
                    for key, value in each["pairs"]:
                        if key in menu["config"]["all"]:
                            wanted.setdefault((menu["menu"], value), set()).add(seen["@id"])
    if not wanted:
        pytest.skip("the site has no menu for pairs of the study")
    for (menu, value), ids in sorted(wanted.items(), key=lambda each: len(each[1]))[:2]:
        place, value = f"/mapr/api/{menu}", urllib.parse.quote(value)
        found = set()
        for project in ask(f"{place}/?experimenter_id=-1&value={value}")["projects"]:
            for dataset in ask(f"{place}/datasets/?value={value}&id={project['id']}")["datasets"]:
                shown = ask(f"{place}/images/?value={value}&node=dataset&id={dataset['id']}")["images"]
                found |= {each["id"] for each in shown}
        assert ids <= found, f"{menu} {value}: {sorted(ids)} wanted, {sorted(found)} found"


@pytest.fixture
def by_client(variables, reach):
    """Return a function that runs PLANES or PLATES for ids as the public user, on a host of clients."""

    def run(script, ids):
        client = reach(variables["groups"]["omero_client"][0])
        port = variables["network_services"]["omero"]["port"]
        arguments = [variables["omero_endpoint"], port, variables["omero_public_user"], ids]
        python = f"{variables['omero_client_virtualenv']}/bin/python"
        command = f"{python} -c {shlex.quote(script)} {shlex.quote(json.dumps(arguments))}"
        done = run_with_input(client, command, variables["omero_public_password"])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_planes(images, by_client):
    """A client reads an image's numbers as they are in its file."""
    files = {seen["@id"]: path for _, seen, path in images if seen and path.suffix in (".tif", ".tiff", ".png")}
    if not files:
        pytest.skip("the study has no image that the checks can read")
    for identity, sums in by_client(PLANES, list(files)).items():
        path = files[int(identity)]
        numbers = tifffile.imread(path) if path.suffix != ".png" else numpy.asarray(Image.open(path))
        planes = numbers.reshape(-1, *numbers.shape[-2:]) if numbers.ndim > 2 else numbers[numpy.newaxis]
        assert sorted(sums) == sorted(int(plane.sum()) for plane in planes), path.name


def test_screens(screens, annotations):
    """The public sees the study's screens, with their descriptions and what the study says about itself."""
    pairs = annotations("screen", [seen["@id"] for _, seen in screens])
    for wanted, seen in screens:
        assert seen.get("Description", "") == wanted["description"], f"{wanted['name']}: {seen.get('Description')}"
        compare(wanted, pairs[seen["@id"]])


def test_wells(wells, annotations):
    """Each plate has the study's wells, and they and their images show their pairs, as the study wants it."""
    on_wells = annotations("well", [seen["@id"] for *_, seen in wells])
    for _, plate, wanted, seen in wells:
        compare({**wanted, "name": f"{plate['name']}, {wanted['name']}"}, on_wells[seen["@id"]])
    images = {
        sample["Image"]["@id"]: wanted
        for screen, _, wanted, seen in wells
        for sample in seen.get("WellSamples", [])
        if screen["well_to_images"] and "Image" in sample
    }
    on_images = annotations("image", list(images))
    for identity, wanted in images.items():
        compare(wanted, on_images[identity])


def test_plates_by_client(plates, by_client):
    """A client finds a plate's wells with their pairs, and reads the numbers of each as they are in the file."""
    found = by_client(PLATES, [seen["@id"] for *_, seen in plates])
    compared = 0
    for _, plate, seen in plates:
        wells = found[str(seen["@id"])]
        for wanted in plate["wells"]:
            pairs = wells[f"{wanted['row']},{wanted['column']}"]["pairs"]
            for each in wanted["annotations"]:
                assert pairs.get(each["namespace"]) == each["pairs"], f"{plate['name']}, {wanted['name']}: {pairs}"
        for place, sums in sums_in_file(Path(plate["file"])).items():
            assert wells[place]["sums"] == sums, f"{plate['name']}, {place}"
            compared += bool(sums)
    if not compared:
        pytest.skip("the study has no plate that the checks can read")


def sums_in_file(path):
    """Return the sums of the planes (list of int) of each well of an OME-TIFF (Path) by "row,column"; else none."""
    if not path.name.endswith(".ome.tif") or not path.is_file():
        return {}
    with tifffile.TiffFile(path) as file:
        root = etree.fromstring(file.ome_metadata)  # noqa: S314 (the study's own)
        numbers = [series.asarray() for series in file.series]
    order = [each.get("ID") for each in root.findall("{*}Image")]
    found = {}
    for well in root.findall("{*}Plate/{*}Well"):
        references = well.findall("{*}WellSample/{*}ImageRef")
        of_well = [numbers[order.index(each.get("ID"))] for each in references]
        planes = [plane for array in of_well for plane in array.reshape(-1, *array.shape[-2:])]
        found[f"{well.get('Row')},{well.get('Column')}"] = [int(plane.sum()) for plane in planes]
    return found
