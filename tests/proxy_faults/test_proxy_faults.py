"""What happens to the proxy when something breaks. Breaks it: for scenarios, never for a site in use."""

import json
import secrets
import shlex
import time

import pytest
from conftest import fetch, run_with_input
from faults import check_refuses, wait_until

testinfra_hosts = ["ansible://proxy"]
pytestmark = pytest.mark.unit("nginx")

# Asks so often, and says how many connections that took.
ONE_CONNECTION = """
import http.client, ssl, sys
address, requests = {arguments}
context = ssl.create_default_context(cadata=sys.stdin.read())
connection, sockets = http.client.HTTPSConnection(address, timeout=60, context=context), []
for _ in range(requests):
    connection.request("GET", "/robots.txt")
    if connection.sock not in sockets:
        sockets.append(connection.sock)
    connection.getresponse().read()
print(len(sockets))
"""
UNIT = "nginx"
FLAG = "/etc/nginx/maintenance"


def test_killed(host, kept, ask, answers):
    """A proxy that was killed starts again by itself, with its cache."""
    path, body = kept
    host.check_output("systemctl kill --signal=KILL %s", UNIT)
    wait_until(answers, "the proxy did not start again by itself")
    assert host.check_output("systemctl show --property=NRestarts --value %s", UNIT) != "0", "it was not killed"
    again = ask(path)
    assert (again.status, again.headers["x-cache-status"], again.body) == (200, "HIT", body)


@pytest.mark.parametrize("what", ["gone", "that of another host"])
def test_wrong_volume(host, machine, variables, kept, ask, answers, what):
    """With its cache's volume {what} the proxy does not start and says why; when that is mended it starts by itself."""
    path, body = kept
    check_refuses(host, machine, UNIT, variables["data_volumes"][0]["path"], what)
    wait_until(answers, "the proxy did not start by itself")
    again = ask(path)
    assert (again.headers["x-cache-status"], again.body) == ("HIT", body)


def check_closed(ask, kept, status):
    """Check that what is kept is served, and that everything else is a page of our own with a status (int)."""
    path, body = kept
    old = ask(path)
    assert (old.status, old.body) == (200, body), f"what was kept: {old.status}"
    for other in ("/webclient/?experimenter=-1", f"/api/v0/m/projects/?fault={secrets.token_hex(8)}"):
        seen = ask(other)
        assert seen.status == status, f"{other}: {seen.status}"
        assert "not available at the moment" in seen.body, seen.body[:200]
        assert seen.headers["retry-after"] == "600"


def test_maintenance(host, kept, ask, answers):
    """Closed for maintenance, the site serves what it kept, and says for the rest that it is closed."""
    host.check_output("touch %s", FLAG)
    time.sleep(2)  # it is looked for once a second
    try:
        check_closed(ask, kept, 503)
    finally:
        host.check_output("rm %s", FLAG)
    wait_until(answers, "it did not open again", 5)


def test_web_gone(variables, reach, kept, ask, answers):
    """With OMERO.web gone, the site serves what it kept, and says for the rest that it does not answer."""
    web = [reach(name) for name in variables["groups"]["web"]]
    for host in web:
        host.check_output("systemctl stop nginx")
    try:
        check_closed(ask, kept, 502)
    finally:
        for host in web:
            host.check_output("systemctl start nginx")
    wait_until(answers, "the site did not come back with OMERO.web")


def test_one_request_fills(host, kept, many):
    """Of a hundred that ask at once for what is not kept, one is passed on and all are answered."""
    path = f"{kept[0]}-many"
    seen, bodies = many(path, 100, 1)
    assert seen == {"200 MISS": 1, "200 HIT": 99}, seen
    assert bodies == 1
    time.sleep(2)  # the log is written once a second
    lines = host.check_output("grep --fixed-strings %s /var/log/nginx/access.log", path).splitlines()
    passed_on = [line for line in lines if not line.endswith('"-" - - HIT')]
    assert len(lines) == 100
    assert len(passed_on) == 1, passed_on


def test_one_connection(variables, visitor, certificate):
    """A browser that stays keeps its one connection, however many pictures it asks for."""
    code = ONE_CONNECTION.format(arguments=(variables["site_public_name"], 1100))
    done = run_with_input(visitor, f"python3 -c {shlex.quote(code)}", certificate)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1"], f"connections: {done.stdout}"


def test_passwords_stay_out_of_logs(host, visitor, variables, ask):
    """Whoever sends a password in an address is refused, and the password is written nowhere."""
    word, name = secrets.token_hex(8), variables["site_public_name"]
    path = f"/webclient/?username=somebody&password={word}"
    assert ask(path).status == 403
    assert fetch(visitor, name, 80, path).status == 301
    time.sleep(2)  # logs are written once a second
    assert host.run("grep --recursive --files-with-matches %s /var/log/nginx", word).stdout == ""
    refused = "grep --count '(with a login, refused)' /var/log/nginx/access.log"
    assert int(host.check_output(refused)) >= 2


def test_purge(kept, ask, cache):
    """What is purged is asked for anew; what was not chosen stays."""
    path, _ = kept
    other = f"{path}-other"
    assert ask(other).status == 200
    assert cache("count", "--prefix", f"'{path}'")["chosen"] == 2
    assert cache("purge", "--prefix", f"'{other}'")["chosen"] == 1
    assert ask(path).headers["x-cache-status"] == "HIT"
    assert ask(other).headers["x-cache-status"] == "MISS"


def test_refresh(kept, ask, cache):
    """What is refreshed is asked for at its origin, and kept."""
    path, body = kept
    report = cache("refresh", "--prefix", f"'{path}'")
    assert (report["chosen"], report["asked"], report["failed"]) == (1, 1, 0), report
    again = ask(path)
    assert (again.headers["x-cache-status"], again.body) == ("HIT", body)


def test_refresh_without_origin(host, variables, reach, kept, ask):
    """A refresh that gets no answer says so, and what was kept stays."""
    path, body = kept
    web = [reach(name) for name in variables["groups"]["web"]]
    for each in web:
        each.check_output("systemctl stop nginx")
    try:
        done = host.run("vitrine-cache refresh --prefix %s", path)
    finally:
        for each in web:
            each.check_output("systemctl start nginx")
    assert done.rc == 1, done.stdout
    assert json.loads(done.stdout)["failed"] == 1, done.stdout
    again = ask(path)
    assert (again.status, again.body) == (200, body)


def test_warm(kept, ask, cache):
    """What is warmed is there for the first visitor; what is kept already is not asked for again."""
    path, _ = kept
    new = f"{path}-warm"
    report = cache("warm", "--urls", "-", text=f"{path}\n{new}&_=12\n{new}\n")
    assert (report["chosen"], report["asked"]) == (1, 1), report
    assert ask(new).headers["x-cache-status"] == "HIT"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("purge", "purge requires either a selection or --everything"),
        ("refresh --everything --image 1", "refresh requires either a selection or --everything"),
        ("warm", "warm requires --urls FILE, a list of addresses"),
        ("purge --zone nothing", "there is no zone nothing, expected one of"),
        ("refresh --everything --jobs 0", "--jobs: expected 1 to 64"),
    ],
)
def test_refused(host, arguments, words):
    """Wrong arguments ({arguments}) are refused in words."""
    done = host.run(f"vitrine-cache {arguments}")
    assert done.rc == 2, done.stdout
    assert words in done.stderr
