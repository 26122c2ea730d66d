"""The proxy's cache tool: which keys it sees, chooses and removes."""

import hashlib
import importlib.machinery
import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "roles/nginx_cache/files/vitrine-cache"


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Return the tool as a module, with a cache of two zones that holds nothing."""
    loader = importlib.machinery.SourceFileLoader("vitrine_cache", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("vitrine_cache", loader))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader.exec_module(module)
    zones = {"api": "^/api/", "thumbnails": "^/webgateway/render_thumbnail"}
    settings = {"folder": str(tmp_path / "zones"), "listener": "127.0.0.1:1", "host": "example.org", "zones": zones}
    (tmp_path / "cache.json").write_text(json.dumps(settings))
    monkeypatch.setattr(module, "SETTINGS", str(tmp_path / "cache.json"))
    return module


@pytest.fixture
def keep(tmp_path):
    """Return a function that puts an answer into a zone, as nginx does, and returns its file."""

    def put(zone, key):
        name = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
        path = tmp_path / "zones" / zone / name[-1] / name[-3:-1] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(range(200)) + b"\nKEY: " + key.encode() + b"\nHTTP/1.1 200 OK\r\n\r\nbody")
        return path

    return put


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ("b=2&a=1", "a=1&b=2"),
        ("b=2&a=1&a=0&_=12", "a=1&a=0&b=2"),
        ("_=12", ""),
        ("b=2&%61=1", "b=2&%61=1"),
        ("b+c=2&a=1", "b+c=2&a=1"),
        ("b=%2b&a=1+1", "a=1+1&b=%2b"),
    ],
)
def test_key(tool, arguments, key):
    """Parameters are sorted by name, except if OMERO.web decodes a name differently from how it is written."""
    assert tool.ordered(arguments) == key


def report(capsys):
    """Return the report that was printed last."""
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        ([], 4),
        (["--zone", "api"], 2),
        (["--prefix", "/api/v0/m/images/12"], 2),
        (["--image", "12"], 2),
        (["--image", "12", "--zone", "api"], 1),
        (["--image", "12", "--image", "123"], 3),
        (["--object", "12", "--listings"], 2),
        (["--before", "1"], 0),
        (["--before", "99999999999", "--object", "7"], 1),
        (["--prefix", "/nothing"], 0),
    ],
)
def test_choice(tool, keep, capsys, choice, chosen):
    """Several criteria must all match; an ID is a whole segment of the path or the value of a parameter."""
    keep("api", "/api/v0/m/images/12/?")
    keep("api", "/api/v0/m/images/123/?")
    keep("thumbnails", "/webgateway/render_thumbnail/12/96/?")
    keep("thumbnails", "/webgateway/render_thumbnail/7/?size=1200")
    assert tool.main(["count", *choice]) == 0
    assert report(capsys)["chosen"] == chosen


def test_listings(tool, keep, capsys):
    """An address that names no object is a listing, whichever page of it is requested."""
    for key in ("/api/v0/m/projects/?limit=200&offset=0", "/webclient/api/containers/?id=-1&page=0"):
        keep("api", key)
    for key in ("/webclient/api/images/?id=12", "/api/v0/m/projects/12/?", "/api/v0/m/projects/12/datasets/?limit=5"):
        keep("api", key)
    keep("api", "/static/webclient/javascript/ome.tree.js?")
    keep("api", "/iviewer/?images=5")
    assert tool.main(["count", "--listings"]) == 0
    assert report(capsys)["chosen"] == 2


def test_an_id_is_found_among_the_parameters(tool):
    """As in /webclient/api/images/?id=12."""
    assert tool.numbers("/webclient/api/images/?id=12&page=3&_=x") == {12, 3}


def test_purge(tool, keep, capsys):
    """It removes what was chosen and nothing else."""
    gone, stays = keep("api", "/api/v0/m/images/12/?"), keep("api", "/api/v0/m/images/13/?")
    assert tool.main(["purge", "--image", "12"]) == 0
    assert report(capsys)["chosen"] == 1
    assert not gone.exists()
    assert stays.exists()


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("/api/a/", "/api/a/?"),
        ("/api/a/?_=12", "/api/a/?"),
        ("/api/a/?_=12&b=1", "/api/a/?b=1"),
        ("/api/a/?b=1&_=12", "/api/a/?b=1"),
        ("/api/a/?b=1&_=12&c=2", "/api/a/?b=1&c=2"),
        ("/api/a/?c=2&b=1", "/api/a/?b=1&c=2"),
        ("/api/a/?c=2&b=2&c=1&&b=1", "/api/a/?b=2&b=1&c=2&c=1"),
        ("/api/a/?bc=1&b=2&b-c=3", "/api/a/?b=2&b-c=3&bc=1"),
        ("/api/a/?c=\u00e9&b=1", "/api/a/?c=\u00e9&b=1"),
        ("/api/a/?b_=12", "/api/a/?b_=12"),
        ("/api/a/?_=x", "/api/a/?_=x"),
        ("https://example.org/api/a%20b/?c=%20", "/api/a%20b/?c=%20"),
    ],
)
def test_key_of_an_address(tool, address, key):
    """The key is nginx's: the path as it is, the parameters by name, without the changing one and the host."""
    settings = json.loads(Path(tool.SETTINGS).read_text())
    assert [entry[:2] for entry in tool.missing([address], settings)] == [("api", key)]


def test_warm_leaves_out_what_is_kept(tool, keep):
    """It also requests each key only once, and ignores blank lines and comments."""
    keep("api", "/api/a/?")
    settings = json.loads(Path(tool.SETTINGS).read_text())
    lines = ["/api/a/?_=1", "/api/b/", "/api/b/?_=1", "", "# later"]
    assert [key for _, key, _ in tool.missing(lines, settings)] == ["/api/b/?"]


def test_an_address_of_no_zone_is_refused(tool):
    """The address is reported before anything is requested."""
    settings = json.loads(Path(tool.SETTINGS).read_text())
    with pytest.raises(SystemExit, match="/nope/ belongs to no zone"):
        list(tool.missing(["/nope/"], settings))


def test_a_refresh_without_the_listener_fails(tool, keep, capsys):
    """Answers that could not be requested are counted, listed and kept."""
    path = keep("api", "/api/v0/m/images/12/?")
    assert tool.main(["refresh", "--everything"]) == 1
    seen = report(capsys)
    assert (seen["failed"], seen["asked"]) == (1, 0)
    assert seen["failures"][0].startswith("/api/v0/m/images/12/?: ")
    assert path.exists()
