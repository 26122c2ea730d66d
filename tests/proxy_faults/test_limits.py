"""What one address can take from the others, and what a class behind one address gets."""

import concurrent.futures
import json
import shlex

import pytest
from conftest import can_connect, run_with_input
from faults import wait_until

testinfra_hosts = ["ansible://proxy"]
pytestmark = pytest.mark.unit("vitrine-queue")

QUEUE = "/etc/haproxy/vitrine-queue.cfg"
# Takes OMERO.web's place: answers as many requests at once as it has processes, in the order in which they came. An
# image takes half a second.
SLOW = """
import http.server, sys, threading, time
address, port, processes = sys.argv[1], int(sys.argv[2]), threading.Semaphore(int(sys.argv[3]))
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        with processes:
            time.sleep(0.5 if "render_image" in self.path else 0.02)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1000
Server((address, port), Handler).serve_forever()
"""
# Asks for one page after the other, none of which is in the cache, and says with which status each was answered.
VISIT = """
import http.client, json, ssl, sys
address, path, pages = {arguments}
context = ssl.create_default_context(cadata=sys.stdin.read())
connection = http.client.HTTPSConnection(address, timeout=60, context=context)
seen = []
for number in range(pages):
    connection.request("GET", path + str(number))
    answer = connection.getresponse()
    answer.read()
    seen.append(answer.status)
print(json.dumps(seen))
"""
# Pages of the visitor, while the address with many requests asks for 80 images. Served in turn, they would take as
# long as 800 images.
PAGES = 20


@pytest.fixture
def slow_web(variables, reach, answers, settled):
    """Put a slow server in the place of every OMERO.web."""
    port = variables["network_services"]["web"]["port"]
    servers = {name: reach(name) for name in variables["groups"]["web"]}
    try:
        for name, server in servers.items():
            processes = variables["nginx_cache_workers"][f"{name}:{port}"]
            server.check_output("systemctl stop nginx")
            command = "systemd-run --collect --unit=slow-web python3 -c %s %s %s %s"
            server.check_output(command, SLOW, variables["site_addresses"][name], str(port), str(processes))
            wait_until(lambda name=name, server=server: can_connect(server, name, port), "nothing took its place")
        yield
    finally:
        for server in servers.values():
            server.run("systemctl stop slow-web")
            server.check_output("systemctl start nginx")
    wait_until(answers, "the site did not come back with OMERO.web")


def test_class(kept, many):
    """Forty browsers behind one address get what is cached, and what JupyterLab loads, without being refused."""
    assert many(kept[0], 40, 30)[0] == {"200 HIT": 1200}
    # Without the layer jupyterhub, nothing answers there.
    seen, _ = many("/jupyter/user/somebody/static/lab/NUMBER.js", 40, 76)
    assert sum(seen.values()) == 40 * 76
    assert not [status for status in seen if status.startswith("429")], seen


def test_greedy(host, variables, visitor, certificate, many, slow_web):
    """Beside an address that asks for images over 40 connections, a visitor gets all pages before that one is done."""
    code = VISIT.format(arguments=(variables["site_public_name"], "/webclient/?experimenter=-1&page=", PAGES))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        greedy = pool.submit(many, "/webgateway/render_image/NUMBER/?greedy", 40, 2, where=host)
        done = run_with_input(visitor, f"sleep 2; python3 -c {shlex.quote(code)}", certificate)
        assert not greedy.done(), "the visitor waited until the other address had everything"
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [200] * PAGES
        # Its requests wait, and are answered in the end.
        assert greedy.result(timeout=60)[0] == {"200 MISS": 80}


def test_refused(host, variables, certificate, ask, many, slow_web):
    """An address with too many requests that wait is told so, without a trace in the cache; others are served."""
    before = host.file(QUEUE).content_string
    limit = f"sc_conn_cur(0) gt {variables['nginx_cache_waiting']} "
    assert limit in before
    path = "/webgateway/render_image/NUMBER/?refused"
    try:
        write(host, before.replace(limit, "sc_conn_cur(0) gt 10 "))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            greedy = pool.submit(many, path, 40, 1, where=host)
            assert ask("/webclient/?experimenter=-1&page=refused").status == 200
            seen = greedy.result(timeout=60)[0]
    finally:
        write(host, before)
    assert {status.split()[0] for status in seen} == {"200", "429"}, seen
    again = many(path, 40, 1)[0]
    assert {status.split()[0] for status in again} == {"200"}, again


def write(host, text):
    """Write the queue's configuration and load it."""
    done = run_with_input(host, f"tee {QUEUE} > /dev/null && systemctl reload vitrine-queue && sleep 1", text)
    assert done.returncode == 0, done.stderr


def test_queue_killed(host, kept, ask):
    """With the queue killed, or stopped for good, visitors get what is cached and what is not; it starts by itself."""
    path = kept[0]
    host.check_output("systemctl kill --signal=KILL vitrine-queue")
    assert ask(f"{path}-killed").status == 200
    wait_until(lambda: host.service("vitrine-queue").is_running, "it did not start by itself")
    host.check_output("systemctl stop vitrine-queue")
    try:
        assert ask(path).headers["x-cache-status"] == "HIT"
        assert [ask(f"{path}-stopped{number}").status for number in range(4)] == [200] * 4
    finally:
        host.check_output("systemctl start vitrine-queue")
    assert ask(f"{path}-started").status == 200
