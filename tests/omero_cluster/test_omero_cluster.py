"""Visitors of a site with one OMERO.server that writes and several that read, of which one after the other is lost."""

import contextlib
import secrets

import pytest
from conftest import fetch, run_omero
from faults import wait_until

testinfra_hosts = ["ansible://proxy"]
pytestmark = pytest.mark.unit("nginx")

UNIT = "omero-server"
# A server takes a while to start.
SECONDS = 180


@pytest.fixture
def visit(host, variables):
    """Return a function from an OMERO.web's host to what a visitor of it sees: statuses of a page and of a list.

    Neither of them is from the proxy's cache.
    """
    port, name = variables["network_services"]["web"]["port"], variables["site_public_name"]
    headers = {"Host": name, "X-Forwarded-Proto": "https"}

    def ask(web):
        seen = []
        for path in ("/webclient/?experimenter=-1", "/api/v0/m/projects/"):
            try:
                seen.append(fetch(host, web, port, path, headers=headers).status)
            except AssertionError as error:
                seen.append(str(error))
        return seen

    return ask


@pytest.fixture
def public(variables):
    """Return the hosts of the OMERO.webs for the public."""
    groups = variables["groups"]
    return [name for name in groups["web"] if name not in groups["web_refresh"]]


@pytest.fixture
def lose(reach, login_works):
    """Return a context manager that kills the OMERO.servers of hosts (str) for its time."""

    @contextlib.contextmanager
    def without(*names):
        servers = {name: reach(name) for name in names}
        try:
            for server in servers.values():
                server.check_output(f"systemctl kill --signal=KILL {UNIT}; systemctl stop {UNIT}")
            yield
        finally:
            for server in servers.values():
                server.check_output(f"systemctl start {UNIT}")
            for name in names:
                wait_until(lambda name=name: login_works(name), f"OMERO.server of {name} did not come back", SECONDS)

    return without


@pytest.fixture
def login_works(variables, reach):
    """Return a function that tells whether the public user can log in to a host's OMERO.server."""
    client = reach(variables["groups"]["omero_client"][0])
    port = variables["network_services"]["omero"]["port"]
    user, password = variables["omero_public_user"], variables["omero_public_password"]
    return lambda name: run_omero(client, f"{name}:{port}", user, password, "sessions who").returncode == 0


def test_read_write_server_lost(variables, lose, visit, public):
    """With the server that writes lost, browsing goes on as before."""
    assert len(public) == 2
    with lose(*variables["groups"]["omero_readwrite"]):
        for web in public:
            assert [visit(web) for _ in range(5)] == [[200, 200]] * 5, web


def test_read_only_server_lost(variables, lose, visit, public):
    """With one of the servers that read lost, the other serves, to every visitor."""
    servers = variables["groups"]["omero_readonly"]
    assert len(servers) == 2
    for server in servers:
        with lose(server):
            for web in public:
                wait_until(lambda web=web: visit(web) == [200, 200], f"{web} shows nothing without {server}")
                assert [visit(web) for _ in range(5)] == [[200, 200]] * 5, f"{web} without {server}"
        for web in public:
            wait_until(lambda web=web: visit(web) == [200, 200], f"{web} shows nothing with {server} back")


def test_changes_are_seen(variables, reach, host, public):
    """What is written at one server is read at the others."""
    web_port = variables["network_services"]["web"]["port"]
    client = reach(variables["groups"]["omero_client"][0])
    port, name = variables["network_services"]["omero"]["port"], f"cluster-{secrets.token_hex(8)}"
    user, password = variables["omero_curator_user"], variables["omero_curator_password"]
    writer = variables["groups"]["omero_readwrite"][0]
    made = run_omero(client, f"{writer}:{port}", user, password, f"obj new Project name={name}")
    assert made.returncode == 0, made.stderr
    project = made.stdout.split("Project:")[1].split()[0]
    headers = {"Host": variables["site_public_name"], "X-Forwarded-Proto": "https"}
    try:
        for web in public:
            seen = fetch(host, web, web_port, f"/api/v0/m/projects/{project}/", headers=headers)
            assert seen.status == 200, f"{web}: {seen.status}"
            assert name in seen.body
    finally:
        gone = run_omero(client, f"{writer}:{port}", user, password, f"delete Project:{project}")
        assert gone.returncode == 0, gone.stderr


def test_all_read_only_servers_lost(variables, lose, visit, public):
    """With all servers that read lost, OMERO.web says that it cannot answer, and never that there is nothing to see."""
    with lose(*variables["groups"]["omero_readonly"]):
        for web in public:
            for status in visit(web):
                assert status not in (200, 404), f"{web}: {status}"
    for web in public:
        wait_until(lambda web=web: visit(web) == [200, 200], f"{web} does not come back")
