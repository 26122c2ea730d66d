"""Visitors of OMERO.web while the store of its sessions, or what leads to it, is gone. Breaks things: for scenarios."""

import contextlib
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import fetch, names_of, run_with_input
from faults import wait_until

testinfra_hosts = ["ansible://web"]
pytestmark = pytest.mark.unit("haproxy")

SECONDS = 120
REQUESTS = 40
AT_ONCE = 4
# How long a visitor waits at most while the host finds out that the store does not answer.
PATIENCE = 15

# Runs on the store's host: kills the store, and is the first to ask for it then, by the way that OMERO.web goes.
ASK_FIRST = """
import contextlib, socket, subprocess, sys
store, way = (sys.argv[1], int(sys.argv[2])), ("127.0.0.1", int(sys.argv[3]))
subprocess.run(["systemctl", "kill", "--signal=KILL", "web-sessions"], check=True)
with contextlib.suppress(ConnectionRefusedError):
    while True:
        socket.create_connection(store).close()
link = socket.create_connection(way, 10)
link.sendall(sys.stdin.buffer.read())
print(link.recv(200))
"""

# What happens to the store: what brings it about and what mends it, on its host.
FAULTS = {
    "stopped": ("systemctl stop web-sessions", "systemctl start web-sessions"),
    "hanging": (
        "systemctl kill --signal=STOP web-sessions",
        "systemctl kill --signal=CONT web-sessions",
    ),
    "refusing": (
        "cp -p /etc/redis/web-sessions.conf /root/web-sessions.conf; sed -i 's/^requirepass.*/requirepass other/'"
        " /etc/redis/web-sessions.conf; systemctl restart web-sessions",
        "mv /root/web-sessions.conf /etc/redis/web-sessions.conf; systemctl restart web-sessions",
    ),
    # As somebody who has its address, and the password, but not its certificate.
    "impersonated": (
        "cd /etc/vitrine/sessions; cp -p store.key store.pem /root; openssl req -x509 -nodes -newkey ec"
        " -pkeyopt ec_paramgen_curve:P-256 -keyout store.key -out store.pem -subj /CN=$(hostname)"
        " -addext subjectAltName=DNS:$(hostname); systemctl restart web-sessions",
        "mv /root/store.key /root/store.pem /etc/vitrine/sessions; systemctl restart web-sessions",
    ),
    # As a host without power: nothing comes back, not even a refusal.
    "silent": (
        "nft add table inet lost; nft add chain inet lost input '{ type filter hook input priority -10; }';"
        " nft add rule inet lost input tcp dport 6380 drop",
        "nft delete table inet lost",
    ),
}


@pytest.fixture
def store(variables, reach):
    """Return the host that keeps the sessions of all."""
    if not variables["web_sessions_shared"]:
        pytest.skip("the site has one web host, which keeps its sessions itself")
    assert variables["network_services"]["web_sessions"]["port"] == 6380, "the faults are of another port"
    return reach(variables["web_sessions_endpoint"])


@pytest.fixture
def visit(variables, reach):
    """Return a function from a web host and a session (str, may be empty) to status, session then, and seconds."""
    proxy, port = reach(variables["groups"]["proxy"][0]), variables["network_services"]["web"]["port"]

    def of(web, known=""):
        headers = {"X-Forwarded-Proto": "https"} | ({"Cookie": f"sessionid={known}"} if known else {})
        begun = time.monotonic()
        seen = fetch(proxy, web, port, "/webclient/", headers=headers)
        given = re.search(r"\bsessionid=(\w+)", seen.headers.get("set-cookie", ""))
        return seen.status, given[1] if given else known, time.monotonic() - begun

    return of


@pytest.fixture
def shared_again(variables, visit):
    """Return a function that waits until each web host knows the sessions of the others."""
    webs = variables["groups"]["web"]

    def known():
        mine = {web: visit(web)[1] for web in webs}
        return all(visit(web, mine[other])[1] == mine[other] for web in webs for other in webs)

    return lambda: wait_until(known, "sessions are not shared", SECONDS)


def test_killed(variables, store, visit, shared_again):
    """A visitor sees no error when the store is killed, and it comes back by itself."""
    web = variables["inventory_hostname"]
    shared_again()
    known = visit(web)[1]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = pool.map(lambda number: visit(web, known if number % 2 else ""), range(REQUESTS))
        time.sleep(1)
        store.check_output("systemctl kill --signal=KILL web-sessions")
        seen = [status for status, _, _ in running]
    assert set(seen[::2]) == {200}, f"new visitors: {seen[::2]}"
    # Whose session went while a request was under way is told so by Django.
    lost = [status for status in seen[1::2] if status != 200]
    assert set(lost) <= {400}, f"others: {seen[1::2]}"
    assert len(lost) <= AT_ONCE, f"others: {seen[1::2]}"
    shared_again()


def test_first_to_find_out(variables, store, shared_again):
    """A connection that finds the store gone, before any check has, is led to the host's own store."""
    if variables["web_sessions_endpoint"] != variables["inventory_hostname"]:
        pytest.skip("it is asked where the store can be killed at the same moment")
    shared_again()
    ports = f"{variables['network_services']['web_sessions']['port']} {variables['web_sessions_ports']['shared']}"
    command = f"python3 -c '{ASK_FIRST}' {variables['internal_address']} {ports}"
    seen = run_with_input(store, command, f"AUTH {variables['web_sessions_password']}\r\n")
    assert "+OK" in seen.stdout, f"it was broken off: {seen.stdout}{seen.stderr}"
    shared_again()


@pytest.mark.parametrize("what", list(FAULTS))
def test_lost(variables, store, visit, shared_again, what):
    """With the store {what}, visitors are served from each host's own; when it is back, it is everyone's again."""
    web = variables["inventory_hostname"]
    break_it, mend_it = FAULTS[what]
    shared_again()
    known = visit(web)[1]
    with contextlib.ExitStack() as mended:
        mended.callback(store.check_output, mend_it)
        store.check_output(break_it)
        if what == "refusing":
            # It answers at once, so that OMERO.web gets its refusal until the next check finds out.
            wait_until(lambda: visit(web)[0] == 200, "a store that refuses is asked on and on", PATIENCE)
        seen = [visit(web, known), visit(web)] + [visit(web, known) for _ in range(5)]
        assert {status for status, _, _ in seen} == {200}, seen
        assert max(seconds for _, _, seconds in seen) < PATIENCE, seen
        # A session of this host's own, which it knows the next time.
        _, mine, _ = visit(web)
        assert [visit(web, mine)[1] for _ in range(3)] == [mine] * 3, "each visit was a new session"
        assert mine != known
        for other in set(variables["groups"]["web"]) - {web}:
            assert visit(other, mine)[1] != mine, f"{other} knows it too, so that it is not from the host's own store"
    shared_again()


def test_reloaded_while_lost(host, variables, store, visit, shared_again):
    """HAProxy reloaded while the store is gone goes back to it all the same."""
    shared_again()
    store.check_output("systemctl stop web-sessions")
    try:
        # With connections to the host's own store.
        assert {visit(variables["inventory_hostname"])[0] for _ in range(5)} == {200}
        host.check_output("systemctl reload haproxy")
    finally:
        store.check_output("systemctl start web-sessions")
    shared_again()


def test_own_store_away(host, variables, store, visit):
    """A host's own store is for when the other is gone: without it, everything goes on, and it comes back by itself."""
    web = variables["inventory_hostname"]
    _, known, _ = visit(web)
    redis = names_of(host, "omero_web")["redis_service"]
    host.check_output("systemctl stop %s", redis)
    try:
        assert [visit(web, known)[:2] for _ in range(5)] == [(200, known)] * 5
    finally:
        host.check_output("systemctl start %s", redis)
    host.check_output("systemctl kill --signal=KILL %s", redis)
    wait_until(lambda: host.service(redis).is_running, "it did not start again")
    assert visit(web, known)[:2] == (200, known)


def test_way_killed(host, variables, store, visit, shared_again):
    """HAProxy, which leads to the store, is started again when it was killed, and the sessions are known then."""
    web = variables["inventory_hostname"]
    _, known, _ = visit(web)
    host.check_output("systemctl kill --signal=KILL haproxy")
    wait_until(lambda: visit(web, known)[:2] == (200, known), "the session is lost")
    shared_again()
