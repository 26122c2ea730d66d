"""The attempts of tests/attack against servers on the loopback: one lets everything through, one refuses everything."""

import http.server
import json
import pathlib
import socket
import subprocess
import sys
import threading
import time
import types

import pytest
from attack import network, notebook, public  # noqa: F401 (they register their kinds)
from attack.attempts import (
    KINDS,
    Absent,
    Answer,
    Attempt,
    Control,
    Row,
    answers,
    carry_out,
    connects,
    goes_over_http,
    larger,
    lasts,
    spoils,
    succeeds,
    table,
)
from attack.test_services import REASONS, exposures, is_named, too_exposed

SEND = pathlib.Path(public.__file__).with_name("send.py")
LINE = "root:x:0:0:root:/root:/bin/bash\n"
# Everything that the judges look for, as a careless server sends it.
CARELESS = (
    LINE
    + "<title>Index of /</title> <input type=password> Traceback (most recent call last) eventContext curator dataTree"
    ' "UserName": "curator" "meta" ami-id REQUEST'
)


class Careless(http.server.BaseHTTPRequestHandler):
    """Lets everything through: answers each method with the request, its headers and its cookies."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        """Say nothing."""

    def __getattr__(self, name):
        """Have a method for each method."""
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self):
        """Send back what was sent, also as headers."""
        redirect = "attack.invalid" in self.path and "X-Attack" not in self.path
        body = (CARELESS.replace("REQUEST", f"{self.path} {self.headers}") + "x" * self.server.size).encode("latin-1")
        self.send_response_only(302 if redirect else 200)
        decoded = self.path.replace("%0d%0a", "\r\n")
        if "\r\nX-Attack" in decoded:
            self.send_header("X-Attack", "yes")
        if redirect:
            self.send_header("Location", "//attack.invalid/")
        self.send_header("Set-Cookie", self.headers.get("Cookie", "sessionid=1").partition(";")[0])
        self.send_header("Server", "nginx/1.0")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        self.wfile.write(body)


class Refusing(Careless):
    """Refuses everything, and tells nothing."""

    def answer(self):
        """Send 403."""
        self.send_response_only(403)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()


class Site:
    """What the kinds ask about a site, with a server on the loopback."""

    def __init__(self, port):
        """Take the port (int)."""
        self.port, self.name, self.mine, self.user = port, "127.0.0.1", "f" * 16, "visitor"
        self.variables = {
            "site_url": "https://127.0.0.1/",
            "omero_curator_user": "curator",
            "omero_curator_password": "made-up",
            "nginx_cache_tls_ciphers": "",
        }

    def raw(self, text, **more):
        """Return how a text is sent."""
        return {"place": "visitor", "do": "send", "address": "127.0.0.1", "port": self.port, "data": text, **more}

    def ask(self, method, target, headers=None, body=None, **more):
        """Return how a request is sent."""
        lines = {
            "Host": self.name,
            "Connection": "close",
            **({} if body is None else {"Content-Length": str(len(body))}),
        }
        text = "".join(f"{name}: {value}\r\n" for name, value in (lines | (headers or {})).items())
        return self.raw(f"{method} {target} HTTP/1.1\r\n{text}\r\n{body or ''}", **more)

    plain = ask

    def hub(self, method, path, headers=None, body=None, **more):
        """Return how the hub is asked."""
        return self.ask(method, f"/jupyter/{path}", headers, body, **more)

    def hello(self, **more):
        """Return how TLS is negotiated."""
        return self.raw("") | {"do": "hello", **more}


def run(place, attempts):
    """Make attempts with the program that the hosts run."""
    done = subprocess.run(
        [sys.executable, SEND], input=json.dumps(attempts), capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


@pytest.fixture
def serve():
    """Return a function that starts a server of a class, with so many bytes more in each answer, and returns a Site."""
    started = []

    def start(handler, size=0):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.size = size
        server.request_queue_size = 64
        started.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return Site(server.server_address[1])

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


VULNERABLE = [
    "paths to a login",
    "logins at a page",
    "files of the host",
    "listings and left-over files",
    "methods",
    "headers in an address",
    "host names",
    "redirects elsewhere",
    "requests on behalf of others",
    "errors that tell",
    "cookies that were made up",
    "the hub without a login",
    "pages that are not the public's",
    "names of accounts",
    "the feedback form",
]


@pytest.mark.parametrize("kind", VULNERABLE)
def test_a_careless_server_is_found(serve, kind):
    """Each kind says of a server that lets everything through that it did."""
    row = carry_out(kind, KINDS[kind], serve(Careless), run)
    assert row.through, f"of {row.attempts} attempts none got through"


@pytest.mark.parametrize("kind", VULNERABLE)
def test_a_server_that_refuses_is_not_blamed(serve, kind):
    """The same kinds find nothing at a server that refuses, and say so where their control was refused too."""
    row = carry_out(kind, KINDS[kind], serve(Refusing), run)
    assert row.through == []
    assert row.attempts > 0


def test_a_control_that_fails(serve):
    """Where the ordinary visitor is refused too, the refusals prove nothing."""
    row = carry_out("files of the host", KINDS["files of the host"], serve(Refusing), run)
    assert len(row.void) == 1
    assert row.void[0].startswith("a static file is served: status 403, ")


def test_large_answers_are_found(serve):
    """The ranges' judge looks at the size."""
    row = carry_out("ranges", KINDS["ranges and compression"], serve(Careless, 5_000_000), run)
    assert any("ranges of" in each for each in row.through)


def test_a_kind_without_attempts():
    """A kind that makes no attempt proves nothing, nor does one whose attempts could not be made."""
    assert carry_out("none", lambda site: [], None, run).void[0] == "no attempt was made"
    how = {"place": "here", "do": "hello", "address": "127.0.0.1", "port": 1, "ciphers": "NO-SUCH-CIPHER"}
    row = carry_out("none", lambda site: [Attempt("x", how, connects)], None, run)
    assert (row.attempts, row.void[0]) == (0, "no attempt was made")


def test_a_kind_without_a_control():
    """Without something ordinary that succeeds, refusals prove nothing: the site may be down."""
    row = carry_out(
        "x", lambda site: [Attempt("a", {"place": "here", "do": "run", "command": "false"}, succeeds)], None, run
    )
    assert row.void == ["nothing ordinary was tried, so that refusals may have another reason"]


def test_every_kind_says_what_it_tries():
    """There are at least 24 kinds, each with a sentence."""
    assert len(KINDS) >= 24
    assert all(kind.__doc__ and kind.__doc__.endswith(".") for kind in KINDS.values())


def test_smuggled_requests_are_found():
    """A kind that spoils the next visitor's answer got through."""
    fine, spoiled = {"text": "HTTP/1.1 200 OK\r\n\r\ndataTree"}, {"text": "HTTP/1.1 404 Not Found\r\n\r\n"}
    assert not spoils("dataTree")(Answer({"after": [fine, fine]}))
    assert "404" in spoils("dataTree")(Answer({"after": [fine, spoiled]}))


def test_judges():
    """Each judge says what it saw, or nothing."""
    assert answers()(Answer({"text": "HTTP/1.1 204 No Content\r\n\r\n"})) == "status 204"
    assert answers()(Answer({"text": "HTTP/1.1 403 Forbidden\r\n\r\n"})) == ""
    assert answers()(Answer({"error": "no answer"})) == ""
    assert connects(Answer({"text": ""})) == "connected"
    assert connects(Answer({"error": "refused"})) == ""
    assert succeeds(Answer({"code": 0, "text": "uid=0"})).startswith("exit status 0")
    assert succeeds(Answer({"code": 1})) == ""
    assert lasts(5)(Answer({"seconds": 6.0})) == "took 6.0 s"
    assert larger(10)(Answer({"size": 11})) == "11 bytes"
    two = "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Secure\r\nSet-Cookie: b=2; HttpOnly\r\n\r\n"
    assert goes_over_http(Answer({"text": two})) == "b"


def test_send_runs_commands_and_connects(serve):
    """The program tells a command's exit status, a missing path, a refused connection and an open port."""
    site = serve(Careless)
    seen = run(
        "here",
        [
            {"do": "run", "command": "cat; exit 3", "input": "in"},
            {"do": "run", "command": "true", "exists": "/no/such/path"},
            {"do": "run", "command": "sleep 9", "seconds": 0.2},
            {"do": "send", "address": "127.0.0.1", "port": 1},
            {"do": "send", "address": "127.0.0.1", "port": site.port},
        ],
    )
    assert (seen[0]["text"], seen[0]["code"]) == ("in", 3)
    assert seen[1]["skipped"] == "no /no/such/path"
    assert seen[2]["code"] == 124
    assert "refused" in seen[3]["error"]
    assert seen[4]["error"] == ""


def test_a_slow_request_is_timed():
    """A server that waits for a slow visitor is found by the time that the attempt took."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        how = {
            "do": "send",
            "address": "127.0.0.1",
            "port": server.getsockname()[1],
            "data": "x" * 8,
            "pause": 0.1,
            "idle": 0.1,
        }
        begun = time.monotonic()
        seen = run("here", [how])[0]
    assert lasts(0.7)(Answer(seen)), seen
    assert time.monotonic() - begun < 10


def test_the_table():
    """The table has a line for each kind, the sum, what got through, and what proves nothing."""
    text = table([Row("ports", 20, ["a to b:1: connected"], []), Row("TLS", 5, [], ["TLS: no answer"])])
    lines = text.splitlines()
    assert any("ports" in line and "20" in line and "1" in line for line in lines)
    assert any("2 kinds" in line and "25" in line for line in lines)
    assert "ports: a to b:1: connected" in lines
    assert "TLS: proves nothing: TLS: no answer" in lines


def test_what_the_site_lacks():
    """A kind about what a site does not have is left out."""
    site = types.SimpleNamespace(variables={"groups": {"storage": []}})
    with pytest.raises(Absent):
        list(KINDS["the repository over NFS"](site))


def test_a_control_is_no_attempt():
    """A control is not counted."""
    how = {"place": "here", "do": "run", "command": "true"}
    row = carry_out("x", lambda site: [Control("c", how, succeeds), Attempt("a", how, answers())], None, run)
    assert (row.attempts, row.void, row.through) == (1, [], [])


SERVICES = """\
UNIT                                 EXPOSURE PREDICATE HAPPY
cron.service                              9.6 UNSAFE    :-{
nginx.service                             3.1 OK        :-)
redis-server.service                      2.9 OK        :-)
ssh.service                               9.6 UNSAFE    :-{
"""


def test_exposed_services_are_found():
    """A service above the limit is named unless a reason allows it more, and then only up to that limit."""
    seen = exposures(SERVICES)
    assert seen == {"cron.service": 9.6, "nginx.service": 3.1, "redis-server.service": 2.9, "ssh.service": 9.6}
    reasons = {"ssh*.service": {"limit": 10, "reason": "x"}, "cron.service": {"limit": 9.5, "reason": "x"}}
    assert too_exposed(seen, reasons) == [
        "cron.service is at 9.6, the limit is 9.5",
        "nginx.service is at 3.1, the limit is 3.0",
    ]


def test_the_roles_services_are_named():
    """A unit that a role installs, and that listens or runs users' code, is compared wherever it runs."""
    for name in ("nginx", "omero-web", "postgresql@15-main", "nfs-ganesha", "redis-server", "haproxy", "web-sessions"):
        assert is_named(f"{name}.service"), name
    assert is_named("jupyter-visitor-singleuser.service")
    assert not is_named("dbus.service")


def test_every_exception_has_a_reason():
    """The list of services that may do more says why."""
    assert all(float(each["limit"]) > 3 and len(each["reason"]) > 20 for each in REASONS.values())
