"""What a user's server of JupyterHub may send to visitors: a pretended one sends what would harm the site."""

import base64
import shlex
import urllib.parse

import pytest
from conftest import run_with_input
from faults import wait_until

testinfra_hosts = ["ansible://proxy"]
pytestmark = pytest.mark.unit("nginx")

UNIT = "vitrine-pretended-hub"
# Answers with the header lines that the parameter `say` asks for, and with the request itself as the body. A request
# for a websocket gets one, and a line sent through it comes back.
HUB = """
import socketserver, sys, urllib.parse

class Hub(socketserver.StreamRequestHandler):
    def handle(self):
        lines = []
        while (line := self.rfile.readline().decode("latin-1").rstrip()):
            lines.append(line)
        said = urllib.parse.parse_qs(urllib.parse.urlsplit(lines[0].split()[1]).query).get("say", [""])[0]
        upgrade = any(line.lower().startswith("upgrade:") for line in lines)
        body = "" if upgrade else "the answer\\n" + "\\n".join(lines)
        head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"] if upgrade else [
            "HTTP/1.1 200 OK", "Content-Type: text/plain", "Connection: close", f"Content-Length: {len(body)}"]
        self.wfile.write("\\r\\n".join([*head, *said.splitlines(), "", body]).encode("latin-1"))
        if upgrade:
            self.wfile.write(self.rfile.readline())

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True

Server((sys.argv[1], int(sys.argv[2])), Hub).serve_forever()
"""
USER = "/jupyter/user/eve/open"
HUB_PAGE = "/jupyter/hub/login"
# Each would act on the host name, on nginx or on other pages, rather than on the answer alone.
REFUSED = {
    "Service-Worker-Allowed": "/",
    "Clear-Site-Data": '"*"',
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "Access-Control-Allow-Origin": "https://evil.example",
    "Access-Control-Allow-Credentials": "true",
    "Alt-Svc": 'h2="evil.example:443"',
    "NEL": '{"report_to":"x","max_age":31536000}',
    "Report-To": '{"group":"x","max_age":31536000,"endpoints":[{"url":"https://evil.example/"}]}',
    "Reporting-Endpoints": 'x="https://evil.example/"',
    "Refresh": "0; url=https://evil.example/",
    "Link": "</webclient/>; rel=preload",
    "WWW-Authenticate": 'Basic realm="OMERO"',
    "Accept-CH": "Sec-CH-UA-Model",
    "Set-Login": "logged-in",
    "Use-As-Dictionary": 'match="/*"',
    "Permissions-Policy": "camera=*",
    "Server": "made up",
    "X-Accel-Expires": "3600",
    "X-Accel-Charset": "utf-7",
    "X-Accel-Limit-Rate": "1",
    "X-Accel-Buffering": "yes",
    "X-Made-Up": "1",
}
PASSED = {
    "Content-Security-Policy": "frame-ancestors 'self'",
    "Content-Disposition": "attachment; filename=x",
    "Cache-Control": "no-cache",
    "Location": "/jupyter/hub/home",
    "ETag": '"1"',
    "Last-Modified": "Fri, 01 Jan 2100 00:00:00 GMT",
    "X-JupyterHub-Version": "1",
}


@pytest.fixture(scope="module")
def hub(host, reach):
    """Let the port of JupyterHub be answered by a server that sends what it is told."""
    server = reach(host.ansible.get_variables()["groups"]["jupyterhub"][0])
    variables = server.ansible.get_variables()
    address, port = variables["internal_address"], variables["network_services"]["jupyterhub"]["port"]
    code = base64.b64encode(HUB.encode()).decode()
    server.run("systemctl stop %s", UNIT)
    done = run_with_input(
        server,
        f"systemd-run --quiet --collect --unit={UNIT} --property=DynamicUser=yes python3 -c"
        f" {shlex.quote(f'import base64; exec(base64.b64decode({code!r}))')} {address} {port}",
        "",
    )
    assert done.returncode == 0, done.stderr
    yield
    server.check_output("systemctl stop %s", UNIT)


@pytest.fixture
def said(hub, ask):
    """Return a function that asks for a path below /jupyter/, whose answer has given header lines (list of str)."""

    def answer(path, lines, **more):
        query = urllib.parse.urlencode({"say": "\r\n".join(lines)}, quote_via=urllib.parse.quote)
        return ask(f"{path}?{query}", **more)

    wait_until(lambda: answer(USER, []).status == 200, "the pretended hub does not answer")
    return answer


@pytest.mark.parametrize("path", [USER, HUB_PAGE])
@pytest.mark.parametrize("name", REFUSED)
def test_refused_headers(said, name, path):
    """{path} sends {name}, and the browser does not get it."""
    answer = said(path, [f"{name}: {REFUSED[name]}", f"{name.upper()}: {REFUSED[name]}"])
    assert answer.status == 200, answer.status
    assert answer.body.startswith("the answer"), answer.body
    assert answer.headers.get(name.lower(), "") not in (REFUSED[name], f"{REFUSED[name]}, {REFUSED[name]}")


def test_orders_to_nginx(said):
    """A user's server cannot send nginx to OMERO.web, past the refusal of logins."""
    answer = said(USER, ["X-Accel-Redirect: /webclient/?username=root&password=x"])
    assert answer.body.startswith("the answer"), f"nginx obeyed: {answer.status} {answer.body[:100]}"


@pytest.mark.parametrize("name", PASSED)
def test_passed_headers(said, name):
    """The browser gets {name}, which Jupyter needs."""
    assert said(USER, [f"{name}: {PASSED[name]}"]).headers[name.lower()].endswith(PASSED[name])


@pytest.mark.parametrize(
    ("path", "cookie"),
    [
        (USER, "a=b; Path=/"),
        (USER, "a=b"),
        (USER, "a=b; Path=/jupyter/"),
        (USER, "a=b; Path=/jupyter/hub/"),
        (USER, "a=b; Path=/jupyter/user/eve"),
        (USER, "a=b; Path=/jupyter/user/eve-other/"),
        (USER, "a=b; Path=/jupyter/user/eve/; Path=/"),
        (USER, "a=b; Path=/jupyter/user/eve/; PATH = /"),
        (USER, "a=b; Path=/jupyter/user/eve/; Domain=example"),
        (USER, "a=b; Path=/jupyter/user/eve/; domain"),
        (USER, "=b; Path=/jupyter/user/eve/"),
        (USER, "a=\xe9; Path=/jupyter/user/eve/"),
        (HUB_PAGE, "a=b; Path=/"),
        (HUB_PAGE, "a=b; Path=/webclient/"),
        ("/jupyter/hub/../user/eve/open", "a=b; Path=/jupyter/"),
        ("/jupyter/hub/%2e%2e/user/eve/open", "a=b; Path=/jupyter/"),
        ("/jupyter/hub/..%2fuser/eve/open", "a=b; Path=/jupyter/"),
        ("/jupyter/hub/..\\user/eve/open", "a=b; Path=/jupyter/"),
        ("/jupyter//hub/../user/eve/open", "a=b; Path=/jupyter/"),
        ("/jupyter/user/mallory/../eve/open", "a=b; Path=/jupyter/user/mallory/"),
        ("/jupyter/%75ser/eve/open", "a=b; Path=/jupyter/user/eve/"),
    ],
)
def test_refused_cookies(said, path, cookie):
    """{path} sends the cookie {cookie!r}, and the browser does not get it."""
    answer = said(path, [f"Set-Cookie: {cookie}", "set-cookie: c=d; path=/"])
    assert answer.status == 200, answer.status
    assert "set-cookie" not in answer.headers, answer.headers["set-cookie"]


@pytest.mark.parametrize(
    ("path", "scope"), [(USER, "/jupyter/user/eve/"), (HUB_PAGE, "/jupyter/"), (HUB_PAGE, "/jupyter/hub/")]
)
def test_own_cookies(said, path, scope):
    """{path} may set cookies below {scope}, which browsers send over TLS only."""
    answer = said(path, [f"Set-Cookie: a=b; HttpOnly; Path={scope}; Max-Age=60", f"Set-Cookie: c=d; path={scope}"])
    first, second = answer.headers["set-cookie"].split(", ")
    assert first == f"a=b; Path={scope}; Secure; httponly; max-age=60; samesite=Lax"
    assert second == f"c=d; Path={scope}; Secure; samesite=Lax"


def test_service_workers(said):
    """A browser does not get a script that it would install as a service worker."""
    assert said(USER, []).status == 200
    assert said(USER, [], headers={"Service-Worker": "script"}).status == 403


def test_sent_cookies(said):
    """A user's server gets Jupyter's cookies, but not those of OMERO.web."""
    sent = "sessionid=secret; _xsrf=1; csrftoken=secret; jupyterhub-user-eve=2; x=jupyterhub-a=secret"
    lines = said(USER, [], headers={"Cookie": sent}).body.splitlines()
    assert [line for line in lines if line.lower().startswith("cookie:")] == ["Cookie: _xsrf=1; jupyterhub-user-eve=2"]


@pytest.mark.parametrize("name", ["X-Real-IP", "X-Scheme", "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto"])
def test_made_up_origin(said, name):
    """A visitor cannot make up an address or a protocol for the hub with {name}: it counts logins by address."""
    lines = said(USER, [], headers={name: "192.168.99.99"}).body.splitlines()
    assert not [line for line in lines if "192.168.99.99" in line]


def test_websockets(said, variables, visitor, certificate):
    """A websocket opens through the same filter, and bytes go both ways."""
    code = """
import socket, ssl, sys
context = ssl.create_default_context(cadata=sys.stdin.read())
connection = context.wrap_socket(socket.create_connection(("NAME", 443), 20), server_hostname="NAME")
connection.sendall(
    b"GET /jupyter/user/eve/ws?say=Sec-WebSocket-Accept:%20x%0D%0AService-Worker-Allowed:%20/ HTTP/1.1\\r\\n"
    b"Host: NAME\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n")
answer = b""
while not answer.endswith(b"\\r\\n\\r\\n"):
    answer += connection.recv(1)
connection.sendall(b"hello\\n")
print(answer.decode() + connection.recv(100).decode())
""".replace("NAME", variables["site_public_name"])
    done = run_with_input(visitor, f"python3 -c {shlex.quote(code)}", certificate)
    assert done.returncode == 0, done.stderr
    first, *lines, echo = done.stdout.strip().splitlines()
    assert first.startswith("HTTP/1.1 101"), done.stdout
    assert {"upgrade: websocket", "sec-websocket-accept: x"} <= {line.lower() for line in lines}
    assert "service-worker-allowed" not in done.stdout.lower()
    assert echo == "hello"
