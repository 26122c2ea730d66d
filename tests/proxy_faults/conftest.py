"""What the checks of a broken proxy share."""

import json
import secrets
import shlex

import pytest
from conftest import fetch, run_with_input
from faults import wait_until

# Asks for a path again and again, over some connections at once, each as often; counts statuses and the cache's words.
MANY = """
import collections, http.client, json, ssl, sys, threading, time
address, path, connections, requests, pause = {arguments}
context = ssl.create_default_context(cadata=sys.stdin.read())
begin = threading.Barrier(connections)
seen, bodies = collections.Counter(), set()
def connect():
    connection = http.client.HTTPSConnection(address, timeout=60, context=context)
    connection.connect()
    return connection
def work(worker):
    connection = connect()
    begin.wait()
    for number in range(requests):
        if pause and number:
            connection.close()
            time.sleep(pause)
            try:
                connection = connect()
            except OSError as error:
                seen[repr(error)] += 1
                continue
        try:
            connection.request("GET", path.replace("NUMBER", str(worker * 100000 + number)))
            answer = connection.getresponse()
            bodies.add(answer.read())
            seen[str(answer.status) + " " + answer.headers.get("X-Cache-Status", "")] += 1
        except (OSError, http.client.HTTPException) as error:
            seen[repr(error)] += 1
threads = [threading.Thread(target=work, args=[worker]) for worker in range(connections)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps([seen, len(bodies)]))
"""


@pytest.fixture
def certificate(host):
    """Return the site's certificate (PEM)."""
    return host.file("/etc/nginx/tls/site.pem").content_string


@pytest.fixture
def ask(variables, visitor, certificate):
    """Return a function that asks the public address for a path."""
    name = variables["site_public_name"]
    return lambda path, **more: fetch(visitor, name, 443, path, tls=True, trust=certificate, **more)


@pytest.fixture
def many(variables, visitor, certificate):
    """Return a function that asks for a path (str) over connections (int), each so often (int).

    With a pause (float, seconds) between requests each has a connection of its own; else there is none.
    NUMBER in the path is another one each time. It returns a dict of how often which status came with which word of
    the cache (or which error), and how many bodies there were. Another host than the visitor may ask (where).
    """

    def ask(path, connections, requests, pause=0, where=None):
        code = MANY.format(arguments=(variables["site_public_name"], path, connections, requests, pause))
        done = run_with_input(where or visitor, f"python3 -c {shlex.quote(code)}", certificate)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return ask


@pytest.fixture
def answers(ask):
    """Return a function that tells whether a visitor gets the public page, from OMERO.web."""

    def attempt():
        try:
            return ask("/webclient/?experimenter=-1").status == 200
        except AssertionError:
            return False

    return attempt


@pytest.fixture
def settled(host, variables):
    """Wait until every OMERO.web answers: the hosts may have just started."""
    port, name = variables["network_services"]["web"]["port"], variables["site_public_name"]

    def answers(server):
        headers = {"Host": name, "X-Forwarded-Proto": "https"}
        try:
            return fetch(host, server, port, "/api/v0/m/projects/", headers=headers).status == 200
        except AssertionError:
            return False

    for server in variables["groups"]["web"]:
        wait_until(lambda server=server: answers(server), f"OMERO.web of {server} does not answer")


@pytest.fixture
def kept(ask, answers, settled):
    """Let the cache keep an answer; return its path and body."""
    wait_until(answers, "the site did not start with its hosts")
    path = f"/api/v0/m/projects/?fault={secrets.token_hex(8)}"
    first = ask(path)
    assert first.status == 200, first.status
    assert first.headers["x-cache-status"] == "MISS"
    return path, first.body


@pytest.fixture
def cache(host):
    """Return a function that runs vitrine-cache and returns its report."""

    def run(*arguments, text=""):
        done = run_with_input(host, "vitrine-cache " + " ".join(arguments), text)
        assert done.returncode == 0, done.stderr or done.stdout
        return json.loads(done.stdout)

    return run
