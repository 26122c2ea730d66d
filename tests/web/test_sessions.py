"""Sessions of OMERO.web: a web host's own or, of several web hosts, those of one store."""

import re

import pytest
from conftest import fetch, run_with_input

testinfra_hosts = ["ansible://web"]
pytestmark = pytest.mark.unit("haproxy")

# Runs on the asking host: says its standard input to a port, by TLS or without, and prints what is answered first.
SAY = """
import socket, ssl, sys
name, port, tls = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "tls"
link = socket.create_connection((name, port), 3)
if tls:
    context = ssl.create_default_context(cafile="/etc/vitrine/sessions/trusted.pem")
    link = context.wrap_socket(link, server_hostname=name)
link.sendall(sys.stdin.buffer.read())
print(link.recv(200))
"""


@pytest.fixture
def store(variables):
    """Return name and port of the store of all web hosts."""
    if not variables["web_sessions_shared"]:
        pytest.skip("the site has one web host, which keeps its sessions itself")
    return variables["web_sessions_endpoint"], variables["network_services"]["web_sessions"]["port"]


@pytest.fixture
def say(host, store):
    """Return a function that says something to the store from the host under test."""

    def to_store(text, kind="tls"):
        name, port = store
        done = run_with_input(host, f"python3 -c '{SAY}' {name} {port} {kind}", text)
        return done.stdout + done.stderr

    return to_store


@pytest.fixture
def session(variables, reach):
    """Return a function from a web host and a session (str, may be empty) to the session of which it then speaks."""
    proxy, port = reach(variables["groups"]["proxy"][0]), variables["network_services"]["web"]["port"]

    def of(web, known=""):
        headers = {"X-Forwarded-Proto": "https"} | ({"Cookie": f"sessionid={known}"} if known else {})
        seen = fetch(proxy, web, port, "/webclient/", headers=headers)
        assert seen.status == 200, f"{web}: {seen.status}"
        given = re.search(r"\bsessionid=(\w+)", seen.headers.get("set-cookie", ""))
        return given[1] if given else known

    return of


@pytest.mark.parametrize("name", ["haproxy", "web-sessions"])
def test_starts_at_boot(host, variables, store, name):
    """What sessions need, {name}, runs and starts at boot where it should, and nowhere else."""
    wanted = name == "haproxy" or variables["inventory_hostname"] == store[0]
    assert (host.run("systemctl is-active %s", name).rc == 0) == wanted
    assert (host.run("systemctl is-enabled %s", name).rc == 0) == wanted


def test_known_everywhere(variables, store, session):
    """A session that a visitor got from one web host is known on the others, and one that nobody got on none."""
    own, made_up = variables["inventory_hostname"], "x" * 32
    others = [name for name in variables["groups"]["web"] if name != own]
    mine = session(own)
    assert mine, "no session cookie was set, so that nothing was seen"
    for other in others:
        assert session(other, made_up) != made_up, f"{other} takes any session"
        assert session(other, mine) == mine, f"{other} does not know the session that {own} gave"


def test_password(say, variables):
    """The store tells nothing without its password, or with a wrong one."""
    assert "NOAUTH" in say("PING\r\n")
    assert "WRONGPASS" in say("AUTH wrong\r\n")
    assert "+OK" in say(f"AUTH {variables['web_sessions_password']}\r\n"), "not with the right one either"


def test_encrypted(say):
    """The store takes nobody without TLS."""
    seen = say("PING\r\n", kind="plain")
    assert "NOAUTH" not in seen, seen
    assert "PONG" not in seen, seen


def test_other_hosts(variables, store, outside):
    """Nobody but the web hosts reaches the store."""
    name, port = store
    for other in outside(port, name):
        assert not other.reaches(port), f"{other.name} reached it"


def test_listens(host, variables, store):
    """A host's own store and the way to the one for all listen on the loopback alone, that one where it is."""
    ports = variables["web_sessions_ports"]
    wanted = {f"127.0.0.1:{port}" for port in ports.values()}
    if variables["inventory_hostname"] == store[0]:
        wanted.add(f"{variables['internal_address']}:{store[1]}")
    listening = {line.split()[3] for line in host.check_output("ss -Hltn").splitlines()}
    seen = {place for place in listening if int(place.rpartition(":")[2]) in {*ports.values(), store[1]}}
    assert seen == wanted


def test_secrets(host, variables, store):
    """Others on a web host cannot read the store's key and password."""
    assert host.file("/etc/haproxy/haproxy.cfg").mode & 0o007 == 0, "haproxy.cfg is for everyone"
    if variables["inventory_hostname"] == store[0]:
        for path in ("/etc/redis/web-sessions.conf", "/etc/vitrine/sessions/store.key"):
            assert host.file(path).mode & 0o007 == 0, f"{path} has mode {host.file(path).mode:o}"
    else:
        # Also where it was before it moved.
        for path in (
            "/etc/redis/web-sessions.conf",
            "/etc/systemd/system/web-sessions.service",
            *(f"/etc/vitrine/sessions/store.{kind}" for kind in ("key", "csr", "pem")),
        ):
            assert not host.file(path).exists, f"{path} is on another host than the store"
