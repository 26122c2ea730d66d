"""What OMERO has of a study's files, and thumbnails of what nobody has looked at: the modules on a server of a test."""

import contextlib
import importlib
import sys
import types

import pytest

from plugins.module_utils import omero_paths, omero_session

# As Ansible puts them together for a host.
sys.modules["ansible.module_utils.omero_paths"] = omero_paths
sys.modules["ansible.module_utils.omero_session"] = omero_session
omero_filesets = importlib.import_module("plugins.modules.omero_filesets")
omero_thumbnails = importlib.import_module("plugins.modules.omero_thumbnails")

FOLDER = "/srv/omero/Studies/x1"


class Parameters:
    """As omero.sys.ParametersI: it keeps what a query is given."""

    def __init__(self):
        """Begin with nothing."""
        self.ids, self.last, self.limit = [], None, None

    def addIds(self, ids):
        """Keep ids."""
        self.ids = list(ids)
        return self

    def addLong(self, _name, value):
        """Keep the one number that the modules give."""
        self.last = value
        return self

    def page(self, _offset, limit):
        """Keep how many rows are wanted."""
        self.limit = limit
        return self


class ServerError(Exception):
    """As omero's: with the server's words."""

    message = "no reader"


class ConcurrencyException(ServerError):
    """As omero's: with the milliseconds after which to ask again."""

    backOff = 2500


@pytest.fixture(autouse=True)
def omero_py(monkeypatch):
    """Put as much of omero-py into the place of the real one as the modules load."""
    omero = types.ModuleType("omero")
    omero.ServerError, omero.ConcurrencyException = ServerError, ConcurrencyException
    rtypes, system = types.ModuleType("omero.rtypes"), types.ModuleType("omero.sys")
    rtypes.unwrap = rtypes.rint = lambda value: value
    system.ParametersI = Parameters
    for name, module in (("omero", omero), ("omero.rtypes", rtypes), ("omero.sys", system)):
        monkeypatch.setitem(sys.modules, name, module)


# Paths and words


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/data/a b&c=1.fake", "data/a b&c=1.fake"),
        ("/data/10:30 <x>?.tif", "data/10;30 [x]%.tif"),
        ("/con/aux.tif", "con_/_aux.tif"),
    ],
)
def test_client_path(path, wanted):
    """A file is looked for by the path that the importer notes."""
    assert omero_paths.client_path(path) == wanted


OUTPUT = """\
2026-11-26 09:00:00,001 1 [main] INFO ormats.importer.ImportCandidates - Depth: 4
2026-11-26 09:00:01,001 2 [main] ERROR ormats.importer.util.ErrorHandler - FILE_EXCEPTION: /srv/x1/broken.png
loci.formats.FormatException: Invalid PNG
\tat loci.formats.in.APNGReader.initFile(APNGReader.java:1)
2026-11-26 09:00:01,001 2 [main] INFO ormats.importer.cli.ErrorHandler - Number of errors: 1
No imports due to errors!
"""


@pytest.mark.parametrize(
    ("path", "output", "wanted"),
    [
        ("/srv/x1/broken.png", OUTPUT, "FILE_EXCEPTION: /srv/x1/broken.png loci.formats.FormatException: Invalid PNG"),
        ("/srv/x1/other.png", OUTPUT, "nothing; the file format is not supported"),
        ("/srv/x1/one", "No imports found\n\n Usage:  importer-cli\n", "No imports found"),
        ("/srv/x1/a", "ERROR /srv/x1/a: no picture\n", "ERROR /srv/x1/a: no picture"),
    ],
)
def test_said_of(path, output, wanted):
    """What the importer says of a file is found in what it prints."""
    assert omero_paths.said_of(path, output) == wanted


# Files


class Query:
    """Answers as a server with images of files in datasets, and plates in screens; counts the queries.

    Args:
        filesets: dict from a fileset's id to (ids of its images' datasets, paths of its files); None is no fileset.
        plates: list of (id of the screen, name, id).
    """

    def __init__(self, filesets, plates=()):
        """Begin unasked."""
        self.filesets, self.plates, self.asked = filesets, plates, 0

    def projection(self, hql, parameters, _context):
        """Answer one of the module's three queries."""
        self.asked += 1
        assert len(parameters.ids) <= omero_filesets.AT_ONCE
        if "ScreenPlateLink" in hql:
            return [each for each in self.plates if each[0] in parameters.ids]
        found = self.filesets.items()
        if "DatasetImageLink" in hql:
            return [(key, each) for key, (datasets, _) in found for each in datasets if each in parameters.ids]
        return [(key, path) for key in parameters.ids for path in self.filesets[key][1]]


def look(query, datasets=(), plates=(), former=None, said=(), at_once=200):
    """Run omero_filesets on a Query; datasets are (id, names of files), plates (id of the screen, name)."""
    return omero_filesets.look(
        {
            "datasets": [
                {"name": f"D{number}", "id": number, "files": [f"{FOLDER}/{name}" for name in names]}
                for number, names in datasets
            ],
            "plates": [{"name": name, "id": number, "file": f"{FOLDER}/{name}.tif"} for number, name in plates],
            "former": former,
            "said": list(said),
            "at_once": at_once,
        },
        query,
    )


def test_files():
    """A file is there when its dataset has an image of it; one of another dataset, or without image, is not."""
    here = FOLDER.lstrip("/")
    query = Query(
        {
            1: ([7], [f"{here}/a.tif"]),
            2: ([8], [f"{here}/b.tif"]),  # in another dataset alone
            3: ([], [f"{here}/broken.png"]),  # what a failed import left
            4: ([7], [f"{here}/x.companion.ome", f"{here}/x1.tif"]),
            None: ([7], []),  # an image that a script made
        }
    )
    names = ["a.tif", "b.tif", "broken.png", "x.companion.ome"]
    found = look(query, [(7, names)], former=3)
    assert [each["file"] for each in found["missing"]] == [f"{FOLDER}/b.tif", f"{FOLDER}/broken.png"]
    files = [f"{FOLDER}/b.tif", f"{FOLDER}/broken.png"]
    assert found["todo"] == [{"name": "D7", "id": 7, "files": files, "folders": False}]
    assert (found["there"], found["changed"]) == (2, True)
    assert not look(query, [(7, names)], former=2)["changed"]


def test_words_of_a_file():
    """A file that is missing comes with what the importer said when it was given that file."""
    said = [
        {"files": [f"{FOLDER}/x"], "text": "No imports found"},
        {"files": [f"{FOLDER}/y.png"], "text": f"FILE_EXCEPTION: {FOLDER}/y.png"},
    ]
    found = look(Query({}), [(7, ["x", "y.png"])], said=said)
    assert [(each["said"], each["target"]) for each in found["missing"]] == [
        ("No imports found", "dataset D7"),
        (f"FILE_EXCEPTION: {FOLDER}/y.png", "dataset D7"),
    ]


def test_plates():
    """A plate is there when its own screen has one of its name."""
    found = look(Query({}, [(3, "P1", 11), (4, "P2", 12)]), plates=[(3, "P1"), (3, "P2")])
    assert [each["name"] for each in found["plates"]] == ["P2"]
    assert [each["target"] for each in found["missing"]] == ["plate P2"]


def test_folder(tmp_path):
    """A folder is there when anything of it is, and imported each time."""
    (tmp_path / "slides").mkdir()
    path = f"{tmp_path}/slides"
    given = {"plates": [], "former": None, "said": [], "at_once": 200}
    given["datasets"] = [{"name": "D", "id": 7, "files": [path]}]
    todo = [{"name": "D", "id": 7, "files": [path], "folders": True}]
    empty = omero_filesets.look(given, Query({}))
    assert [each["file"] for each in empty["missing"]] == [path]
    full = omero_filesets.look(given, Query({1: ([7], [f"{path}/1/a.tif".lstrip("/")])}))
    assert full["missing"] == []
    assert empty["todo"] == full["todo"] == todo


def test_many_files():
    """Of 91,000 files it asks in some hundred queries, and gives the importer some at a time."""
    names = [f"{number}.tif" for number in range(91_000)]
    filesets = {number: ([7], [f"{FOLDER}/{name}".lstrip("/")]) for number, name in enumerate(names[:-450])}
    query = Query(filesets)
    found = look(query, [(7, names)])
    assert [len(each["files"]) for each in found["todo"]] == [200, 200, 50]
    assert query.asked < 100


def test_check_mode():
    """A dataset that check mode did not make has nothing."""
    found = look(Query({1: ([None], ["x"])}), [(None, ["x"])], plates=[(None, "P")])
    assert len(found["missing"]) == 2


# Thumbnails


class Clock:
    """Passes when somebody sleeps."""

    def __init__(self):
        """Begin at 0."""
        self.now, self.slept = 0.0, []

    def monotonic(self):
        """Return the moment."""
        return self.now

    def sleep(self, seconds):
        """Let seconds pass."""
        self.slept.append(seconds)
        self.now += seconds


class Server:
    """A session with a server of images: each has an id, its pixels' is ten times that.

    Args:
        clock: Clock.
        images: dict from an image's id to when it can be shown: at a moment of the clock, never (None), or what is
            raised.
        seen: ids of images that have settings.
    """

    def __init__(self, clock, images, seen=()):
        """Begin with images that wait."""
        self.clock, self.images = clock, images
        self.settings = {10 * each for each in seen}
        self.sets, self.opened, self.broken = [], 0, False
        self.sf = self

    def getQueryService(self):
        """Answer queries itself."""
        return self

    def projection(self, hql, parameters, _context):
        """Answer one of the module's queries."""
        if "RenderingDef" in hql:
            return [[each] for each in parameters.ids if each in self.settings]
        if "ScreenPlateLink" in hql:
            return [[1]]
        if "WellSample" in hql:
            return []
        found = [each for each in self.images if each > parameters.last][: parameters.limit]
        return [[each, f"image {each}", 3, 10 * each] for each in found]

    def make(self, pixels):
        """Make settings, or raise why there are none."""
        when = self.images[pixels // 10]
        if isinstance(when, Exception):
            raise when
        if when is None or when > self.clock.now:
            raise ConcurrencyException
        self.settings.add(pixels)

    def createThumbnailStore(self):
        """Open a store."""
        self.opened += 1
        return Store(self)

    def createRenderingEngine(self):
        """Open an engine."""
        self.opened += 1
        return Engine(self)


class Service:
    """What a Server opens, and a client has to close."""

    def __init__(self, server):
        """Begin open."""
        self.server = server

    def close(self):
        """Close it."""
        self.server.opened -= 1


class Store(Service):
    """As omero.api.ThumbnailStorePrx."""

    def getThumbnailByLongestSideSet(self, size, pixels, context):
        """Make the settings of those that can be shown, and say nothing of the others."""
        assert (size, context) == (96, {"omero.group": "3"})
        self.server.sets.append(list(pixels))
        if self.server.broken:
            raise ServerError
        for each in pixels:
            with contextlib.suppress(ServerError):
                self.server.make(each)


class Engine(Service):
    """As omero.api.RenderingEnginePrx."""

    def lookupPixels(self, pixels, context):
        """Take an image."""
        assert context == {"omero.group": "3"}
        self.pixels = pixels

    def lookupRenderingDef(self, pixels, _context):
        """Tell whether it has settings."""
        return pixels in self.server.settings

    def resetDefaultSettings(self, save, _context):
        """Make some."""
        assert save
        self.server.make(self.pixels)


@pytest.fixture
def ask(monkeypatch):
    """Return a function that runs omero_thumbnails on images (as of Server); it returns the result, Server, Clock."""

    def run(images, seen=(), timeout=0, check_mode=False, broken=False):
        clock = Clock()
        server = Server(clock, images, seen)
        server.broken = broken
        wanted = {"datasets": [1], "screens": [2], "timeout": timeout}
        result = omero_thumbnails.Thumbnails(server, clock).run(wanted, check_mode)
        return result, server, clock

    return run


def test_thumbnails(ask):
    """Images that have settings are left alone; the others are asked for some at a time."""
    result, server, clock = ask(dict.fromkeys(range(1, 2201), 0), seen=range(1, 2001))
    made = list(range(2001, 2201))
    assert result == {"changed": True, "images": 2200, "made": made, "waiting": [], "refused": []}
    assert [len(each) for each in server.sets] == [50] * 4
    assert not clock.slept
    again, server, _ = ask({1: 0}, seen=[1])
    assert (again["changed"], server.sets) == (False, [])


def test_pyramids(ask):
    """Who waits for a pyramid is asked for again after what the server says, until it is there."""
    result, server, clock = ask({1: 0, 2: 6.0, 3: 9.0}, timeout=60)
    assert result == {"changed": True, "images": 3, "made": [1, 2, 3], "waiting": [], "refused": []}
    assert clock.slept == [2.5] * 4
    assert server.opened == 0, "a service is left open"


def test_pyramid_takes_too_long(ask):
    """The wait is bounded, and whose pyramid is missing is said by name."""
    result, _, clock = ask({1: 0, 2: None}, timeout=10)
    assert (result["waiting"], result["made"]) == (["image 2 (image 2)"], [1])
    assert clock.now <= 10
    once, _, clock = ask({2: None})
    assert (once["waiting"], once["changed"], clock.slept) == (["image 2 (image 2)"], False, [])


def test_refused(ask):
    """An image of which there is no thumbnail at all is not waited for."""
    result, _, clock = ask({1: ServerError(), 2: 0}, timeout=60)
    assert (result["refused"], result["made"]) == (["image 1 (image 1): no reader"], [2])
    assert not clock.slept


def test_one_spoils_a_set(ask):
    """Where asking for several together fails, each is asked for by itself."""
    result, _, _ = ask({1: ServerError(), 2: 0}, broken=True)
    assert (result["refused"], result["made"]) == (["image 1 (image 1): no reader"], [2])


def test_look_alone(ask):
    """Check mode asks for none."""
    result, server, _ = ask({1: 0, 2: 0}, seen=[1], check_mode=True)
    assert (result["changed"], result["waiting"], server.sets) == (True, ["image 2 (image 2)"], [])
