"""What visitors see while the servers behind the proxy are in trouble, its volume is, or it is being worked on."""

import concurrent.futures
import contextlib
import secrets
import time

import pytest
from conftest import can_connect, run_with_input
from faults import wait_until

testinfra_hosts = ["ansible://proxy"]
pytestmark = pytest.mark.unit("nginx")

UNUSABLE = "/run/vitrine-cache-unusable"
SITE = "/etc/nginx/conf.d/20-site.conf"
MISSES = "/etc/nginx/conf.d/15-misses.conf"
# Between the requests of each of three connections, so that they last for all steps.
PAUSE = 0.07  # seconds
# How long the proxy leaves a server alone that has failed (fail_timeout of cache.conf), seconds.
FAIL_TIMEOUT = 10
# Takes OMERO.web's place: at its port, it does one wrong thing.
WRONG = """
import socket, socketserver, struct, sys, time
what, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(65536)
        if what == "hangs":
            time.sleep(60)
        if what == "resets":
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if what == "answers 500":
            self.request.sendall(b"HTTP/1.1 500 No\\r\\nContent-Length: 5\\r\\nConnection: close\\r\\n\\r\\nwrong")
        if what == "answers 404":
            self.request.sendall(b"HTTP/1.1 404 No\\r\\nContent-Length: 4\\r\\nConnection: close\\r\\n\\r\\ngone")
        if what == "answers garbage":
            self.request.sendall(b"\\x00\\x01 garbage \\xff" * 99)
        if what == "breaks off":
            self.request.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5000\\r\\nConnection: close\\r\\n\\r\\nwrong")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server((address, port), Handler).serve_forever()
"""


@pytest.fixture
def impatient(host, ask, settled):
    """Let answers be good for a second, and servers have three to answer, instead of the hour and the minute."""
    before = {path: host.file(path).content_string for path in (SITE, MISSES)}
    assert "proxy_cache_valid 200 1h;" in before[SITE]
    assert "proxy_read_timeout 60s;" in before[MISSES]
    changed = {
        SITE: before[SITE].replace("proxy_cache_valid 200 1h;", "proxy_cache_valid 200 1s;"),
        MISSES: before[MISSES].replace("proxy_read_timeout 60s;", "proxy_read_timeout 3s;"),
    }
    write(host, changed)
    # The workers of before answer until they have ended.
    wait_until(lambda: is_forgotten(ask), "answers are still good for an hour")
    yield
    write(host, before)


def is_forgotten(ask):
    """Tell whether an answer that is three seconds old is asked for anew."""
    path = f"/api/v0/m/projects/?old={secrets.token_hex(8)}"
    ask(path)
    time.sleep(3)
    return ask(path).headers["x-cache-status"] != "HIT"


def write(host, texts):
    """Write files of nginx's configuration (dict from paths to str) and load them."""
    for path, text in texts.items():
        done = run_with_input(host, f"tee {path} > /dev/null", text)
        assert done.returncode == 0, done.stderr
    host.check_output("nginx -t -q && systemctl reload nginx && sleep 1")


@pytest.fixture
def instead(variables, reach):
    """Return a context manager that puts something wrong (str) in the place of every OMERO.web for its time."""
    port = variables["network_services"]["web"]["port"]
    servers = {name: reach(name) for name in variables["groups"]["web"]}

    @contextlib.contextmanager
    def put(what):
        try:
            for name, server in servers.items():
                server.check_output("systemctl stop nginx")
                command = "systemd-run --collect --unit=wrong-web python3 -c %s %s %s %s"
                server.check_output(command, WRONG, what, variables["site_addresses"][name], str(port))
                wait_until(lambda name=name, server=server: can_connect(server, name, port), "nothing took its place")
            yield
        finally:
            for server in servers.values():
                server.run("systemctl stop wrong-web")
                server.check_output("systemctl start nginx")

    return put


@pytest.mark.parametrize("what", ["hangs", "resets", "answers 500", "answers garbage", "breaks off"])
def test_wrong_web(impatient, instead, kept, ask, answers, what):
    """While OMERO.web {what}, what was kept is served at once though it is old, and nothing wrong is kept."""
    path, body = kept
    new = f"{path}-{secrets.token_hex(4)}"
    time.sleep(3)  # nginx counts in whole seconds
    with instead(what):
        for _ in range(3):
            begun = time.monotonic()
            old = ask(path)
            assert (old.status, old.body) == (200, body), f"{old.status}: {old.body[:100]}"
            assert old.headers["x-cache-status"] in ("STALE", "UPDATING"), old.headers["x-cache-status"]
            assert time.monotonic() - begun < 3, "the visitor had to wait for the server"
        status = status_of(ask, new)
        assert status == {"hangs": 504, "resets": 502, "answers 500": 500}.get(what, status), status
    wait_until(answers, "the site did not come back with OMERO.web")
    wait_until(lambda: status_of(ask, new) == 200, "what was asked for meanwhile is not there")
    assert ask(new).body == body, "something wrong was kept"
    wait_until(lambda: ask(path).headers["x-cache-status"] == "HIT", "the old answer was not replaced")
    assert ask(path).body == body


def test_withdrawn(impatient, instead, kept, ask):
    """What is withdrawn is gone for visitors too, as soon as it is asked for anew; put back, it is there again."""
    path, body = kept
    time.sleep(3)
    with instead("answers 404"):
        wait_until(lambda: status_of(ask, path) == 404, "what was withdrawn is still served")
        assert ask(path).headers["x-cache-status"] == "HIT", "every visitor who asks is passed on"
    wait_until(lambda: status_of(ask, path) == 200, "that it was gone is kept for too long")
    assert ask(path).body == body


def status_of(ask, path):
    """Return the status of an answer, None for one that broke off."""
    try:
        return ask(path).status
    except AssertionError:
        return None


def test_one_web_lost(variables, reach, many, answers, kept):
    """With one OMERO.web lost while visitors look at what is not kept, the others answer, and no request fails."""
    servers = [reach(name) for name in variables["groups"]["web"]]
    assert len(servers) > 1, "the site has one OMERO.web only"
    for server in servers:
        path = f"{kept[0]}-{server.backend.hostname}-NUMBER"
        seen = during(lambda path=path: many(path, 3, 60), [stop_nginx(server)])
        server.check_output("systemctl start nginx")
        wait_until(answers, "the site did not come back")
        assert seen == {"200 MISS": 180}, seen
        # Until then the proxy asks it nothing, and the next one that is lost would be the last.
        time.sleep(FAIL_TIMEOUT)


def stop_nginx(server):
    """Return a function that stops a host's nginx at once, as a machine that is lost does."""
    return lambda: server.check_output("systemctl kill --signal=KILL nginx; systemctl stop nginx")


def during(load, steps):
    """Do something while a load runs.

    Args:
        load: function that puts load on the site and returns what was seen and how many bodies.
        steps: list of functions, done in that order, half a second apart.

    Returns:
        What was seen, a dict.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(load)
        time.sleep(1)
        for step in steps:
            assert not running.done(), "the load was over too early, so that nothing was seen"
            step()
            time.sleep(0.5)
        return running.result(timeout=120)[0]


def test_reload(host, many, kept):
    """No request fails while nginx is reloaded."""
    reloads = [lambda: host.check_output("systemctl reload nginx")] * 3
    seen = during(lambda: many(kept[0], 3, 180, pause=PAUSE), reloads)
    assert seen == {"200 HIT": 540}, seen


def test_upgrade(host, many, kept, answers):
    """No request fails while nginx's program is replaced by another one, as an upgrade of its package does."""
    old = host.file("/run/nginx.pid").content_string.strip()
    steps = [
        lambda: host.check_output("kill -USR2 %s", old),
        lambda: host.check_output("kill -WINCH %s", old),
        lambda: host.check_output("kill -QUIT %s", old),
    ]
    seen = during(lambda: many(kept[0], 3, 180, pause=PAUSE), steps)
    assert seen == {"200 HIT": 540}, seen
    assert host.file("/run/nginx.pid").content_string.strip() != old
    assert host.service("nginx").is_running, "systemd lost it"
    assert answers()


@pytest.mark.parametrize(
    ("what", "command"),
    [
        # It writes until there is no room, which head calls an error. nginx then makes room by forgetting.
        ("full", "head --bytes=700M /dev/zero > /mnt/small/ballast || true"),
        ("read-only", "mount -o remount,ro /mnt/small"),
    ],
)
def test_volume_in_use(host, machine, variables, kept, ask, answers, what, command):
    """With its cache's volume {what} the proxy serves what it kept and passes on the rest; mended it keeps again."""
    path, body = kept
    volume = variables["data_volumes"][0]["path"]
    machine(
        "mkdir -p /mnt/small; mount -t tmpfs -o size=600m tmpfs /mnt/small;"
        f" cp --archive {volume}/.vitrine-volume {volume}/zones /mnt/small; {command}; mount --bind /mnt/small {volume}"
    )
    try:
        wait_until(lambda: host.file(UNUSABLE).exists, "nobody noticed")
        new = f"{path}-{secrets.token_hex(4)}"
        for _ in range(2):
            seen = ask(new)
            assert (seen.status, seen.body, seen.headers["x-cache-status"]) == (200, body, "MISS")
        old = ask(path)
        assert (old.status, old.body) == (200, body)
        assert what == "full" or old.headers["x-cache-status"] == "HIT"
    finally:
        machine(f"umount {volume}; umount /mnt/small; rmdir /mnt/small")
        wait_until(lambda: not host.file(UNUSABLE).exists, "nobody noticed that it was mended")
    assert ask(new).headers["x-cache-status"] == "MISS"
    assert ask(new).headers["x-cache-status"] == "HIT"


def test_copied_cache(host, variables, kept, ask, answers):
    """A cache that another proxy filled is used: files that nginx did not write itself are found when it starts."""
    path, body = kept
    zones = f"{variables['data_volumes'][0]['path']}/zones"
    host.check_output("rm --recursive --force %s.copy && cp --archive %s %s.copy", zones, zones, zones)
    host.check_output("systemctl stop nginx")
    host.check_output(
        "rm --recursive %s && cp --archive %s.copy %s && rm --recursive %s.copy", zones, zones, zones, zones
    )
    host.check_output("systemctl start nginx")
    wait_until(answers, "the proxy did not start")
    again = ask(path)
    assert (again.headers["x-cache-status"], again.body) == ("HIT", body)
