"""Whether a visitor can be given what was made for somebody else. For scenarios: it logs in as the curator."""

import json
import secrets
import time
import urllib.parse

import pytest
from conftest import fetch

testinfra_hosts = ["ansible://proxy"]
pytestmark = pytest.mark.unit("nginx")

# Its links are made from what the request says of host and protocol.
LINKS = "/api/v0/"
# Says of each project whether it is the asker's own.
OWN = "/webclient/api/containers/?id=-1"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def session():
    """Return a dict in which the curator's session is kept."""
    return {}


@pytest.fixture
def behind(host, variables, ask, settled):
    """Return a function that asks from the proxy's host, past the proxy, the OMERO.web that the visitor is sent to."""
    address, _, port = visitors_web(host, ask).partition(":")
    usual = {"X-Forwarded-Proto": "https", "Host": variables["site_public_name"], "Referer": variables["site_url"]}
    return lambda path, headers=None, **more: fetch(
        host, address, int(port), path, headers=usual | (headers or {}), **more
    )


def visitors_web(host, ask):
    """Return the upstream (host:port) that answers the visitor, once it is the first one that is asked."""
    for _ in range(20):
        word = secrets.token_hex(8)
        ask(f"{LINKS}?word={word}")
        time.sleep(2)  # the log is written once a second
        upstream = host.check_output("grep --fixed-strings %s /var/log/nginx/access.log", word).split('"')[3]
        if "," not in upstream:
            return upstream
    raise AssertionError(f"the first server does not answer: {upstream}")


@pytest.fixture
def curator(session, behind, variables):
    """Return the cookie of a browser in which the curator, who has a project, is logged in to OMERO.web."""
    if not session:
        given = behind("/api/v0/token/")
        token = {"Cookie": cookie(given, "csrftoken"), "X-CSRFToken": json.loads(given.body)["data"]}
        form = {
            "server": "1",
            "username": variables["omero_curator_user"],
            "password": variables["omero_curator_password"],
        }
        body = urllib.parse.urlencode(form)
        answer = behind("/api/v0/login/", method="POST", body=body, headers=token | {"Content-Type": FORM})
        assert answer.status == 200, answer.status
        session["cookie"] = cookie(answer, "sessionid")
        given = behind("/api/v0/token/", headers={"Cookie": session["cookie"]})
        both = f"{cookie(given, 'csrftoken')}; {session['cookie']}"
        token = json.loads(given.body)["data"]
        project = {"@type": "http://www.openmicroscopy.org/Schemas/OME/2016-06#Project", "Name": "own"}
        headers = {"Cookie": both, "X-CSRFToken": token, "Content-Type": "application/json"}
        group = json.loads(answer.body)["eventContext"]["groupId"]
        path = f"/api/v0/m/save/?group={group}"
        made = behind(path, method="POST", body=json.dumps(project), headers=headers)
        assert made.status == 201, f"{made.status} {made.body[:300]}"
    return session["cookie"]


def cookie(answer, name):
    """Return a cookie of an answer as a browser sends it."""
    words = answer.headers["set-cookie"].replace(",", ";").split(";")
    return next(word.strip() for word in words if word.strip().startswith(f"{name}="))


def test_kept_answers(ask, behind, curator):
    """What the curator's browser asks for in a zone is answered and kept as for everyone."""
    path = f"{OWN}&word={secrets.token_hex(8)}"
    private, everyone = behind(path, headers={"Cookie": curator}), behind(path)
    assert "isOwned" in private.body, "the curator is not logged in, so that nothing was seen"
    assert "isOwned" not in everyone.body
    asked = ask(path, headers={"Cookie": curator})
    assert (asked.status, asked.headers["x-cache-status"]) == (200, "MISS")
    again = ask(path)
    assert again.headers["x-cache-status"] == "HIT"
    assert json.loads(asked.body) == json.loads(again.body) == json.loads(everyone.body)


def test_pages(ask, curator):
    """A page that is not kept is the curator's for the curator alone, also for who asks next."""
    path = f"/webclient/?experimenter=-1&word={secrets.token_hex(8)}"
    own = ask(path, headers={"Cookie": curator})
    assert "curator" in own.body.lower(), "the proxy does not pass the cookie on, so that nothing was seen"
    assert "x-cache-status" not in own.headers
    for _ in range(2):
        other = ask(path)
        assert other.status == 200
        assert "curator" not in other.body.lower()
        assert curator not in other.headers.get("set-cookie", "")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Proto": "http"},
        {"X-Forwarded-Port": "8443"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Prefix": "/evil"},
        {"X-Original-URL": "/webclient/"},
        {"X-Rewrite-URL": "/webclient/"},
        {"X-HTTP-Method-Override": "DELETE"},
        {"X-Method-Override": "POST"},
        {"Forwarded": "host=evil.example;proto=http"},
        {"Host": "SITE:8443"},
        {"Accept": "text/html"},
        {"Accept-Encoding": "gzip, br"},
        {"Accept-Language": "de"},
        {"Origin": "https://evil.example"},
        {"Range": "bytes=0-10"},
        {"If-None-Match": "*"},
        {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
        {"Cookie": "sessionid=made-up; csrftoken=made-up"},
        {"Authorization": "Basic dXNlcjp1c2Vy"},
        {"X-Requested-With": "XMLHttpRequest"},
        {"Transfer-Encoding": "identity"},
        {"Cache-Control": "no-cache, no-store"},
        {"X-Accel-Expires": "0"},
    ],
    ids=lambda headers: "-".join(headers),
)
def test_header(ask, variables, headers):
    """What somebody asks for with {headers} is kept as if it had been asked for without."""
    clean = ask(f"{LINKS}?word={secrets.token_hex(8)}")
    assert clean.status == 200
    assert variables["site_public_name"] in clean.body, "the answer has no links, so that nothing was seen"
    path = f"{LINKS}?word={secrets.token_hex(8)}"
    name = variables["site_public_name"]
    tried = ask(path, headers={key: value.replace("SITE", name) for key, value in headers.items()})
    assert tried.status in (200, 206, 304, 501), tried.status
    after = ask(path)
    assert (after.status, after.body) == (200, clean.body)


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS", "PROPFIND"])
def test_method(ask, method):
    """What is asked for with {method} first is whole for who asks with GET then."""
    clean = ask(f"{LINKS}?word={secrets.token_hex(8)}")
    path = f"{LINKS}?word={secrets.token_hex(8)}"
    assert ask(path, method=method).status in (200, 405)
    after = ask(path)
    assert (after.status, after.body) == (200, clean.body)


def test_body(ask):
    """A body sent with GET is not passed on."""
    clean = ask(f"{LINKS}?word={secrets.token_hex(8)}")
    path = f"{LINKS}?word={secrets.token_hex(8)}"
    ask(path, body="bsession=x&server=1", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert ask(path).body == clean.body


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("/api/v0/m/projects/?word=WORD", "/api/v0/m/datasets/?word=WORD"),
        ("/api/v0/m/projects/?word=WORD&limit=1", "/api/v0/m/projects/?word=WORD%26limit=1"),
        ("/api/v0/m/projects/?word=WORD&a=1&b=2", "/api/v0/m/projects/?word=WORD&a=1%26b=2"),
        ("/api/v0/m/projects/?word=WORD", "/api/v0/m/./projects/?word=WORD"),
        ("/api/v0/m/projects/?word=WORD", "/api/v0//m/projects/?word=WORD"),
        ("/api/v0/m/projects/?word=WORD", "/api/v0/m/x/../projects/?word=WORD"),
        ("/api/v0/m/projects/?word=WORD", "/api/v0/m/projects%2f?word=WORD"),
        ("/api/v0/m/projects/?word=WORD", "/api/v0/m/projects/%3fword=WORD"),
        ("/api/v0/m/projects/?word=WORD&_=1", "/api/v0/m/projects/?word=WORD&_=x"),
    ],
)
def test_key(ask, path, other):
    """{path} and {other} are kept apart."""
    word = secrets.token_hex(8)
    ask(other.replace("WORD", word))
    seen = ask(path.replace("WORD", word))
    assert seen.status == 200
    assert seen.headers["x-cache-status"] == "MISS"
