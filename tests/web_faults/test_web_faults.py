"""OMERO.web while what it needs is gone, and while it reads its settings anew. Breaks things: for scenarios."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import fetch, names_of
from faults import wait_until

testinfra_hosts = ["ansible://web"]
pytestmark = pytest.mark.unit("omero-web")

SECONDS = 120
REQUESTS = 40


@pytest.fixture
def ask(host, variables, reach):
    """Return a function that asks OMERO.web for a path from the proxy; it answers at first."""
    proxy = reach(variables["groups"]["proxy"][0])
    address, port = variables["internal_address"], variables["network_services"]["web"]["port"]

    def get(path):
        return fetch(proxy, address, port, path, headers={"X-Forwarded-Proto": "https"})

    wait_until(lambda: get("/health").status == 200, "OMERO.web did not start with its hosts", SECONDS)
    return get


def test_reload(host, variables, ask):
    """No request fails while OMERO.web reads its settings anew, and other processes answer then."""
    children = f"pgrep --parent $(cat {variables['omero_web_dir']}/OMERO.web/var/django.pid)"
    before = set(host.check_output(children).split())
    with ThreadPoolExecutor() as pool:
        running = pool.map(lambda _: ask("/api/v0/m/projects/").status, range(REQUESTS))
        for _ in range(2):
            host.check_output("systemctl reload omero-web")
        seen = list(running)
    assert set(seen) == {200}, f"other answers: {[each for each in seen if each != 200]}"
    wait_until(
        lambda: not before & set(host.check_output(children).split()), "processes from before still answer", SECONDS
    )


def test_reload_with_wrong_settings(host, variables, ask):
    """Settings that OMERO.web cannot start with end the reload; those of before go on, and the next reload is good."""
    wrong = f"{variables['omero_web_dir']}/config/99-wrong.omero"
    host.check_output("echo 'config set -- omero.web.server_list wrong' > %s", wrong)
    try:
        assert host.run("systemctl reload omero-web").rc != 0, "they were taken"
        assert ask("/api/v0/m/projects/").status == 200
    finally:
        host.check_output("rm %s", wrong)
    host.check_output("systemctl reload omero-web")
    assert ask("/api/v0/m/projects/").status == 200


def test_server_away(variables, reach, ask):
    """The health page says when OMERO.server does not answer, and when it does again."""
    server = reach(variables["groups"]["omero_readwrite"][0])
    server.check_output("systemctl stop omero-server")
    try:
        seen = ask("/health")
        assert seen.status == 503, seen.status
        assert "does not answer" in seen.body
        assert ask("/static/webclient/javascript/ome.tree.js").status == 200, "nginx does not answer either"
    finally:
        server.check_output("systemctl start omero-server")
    wait_until(lambda: ask("/health").status == 200, "it did not recover by itself", SECONDS)


def test_sessions_away(host, variables, ask):
    """The health page of a single web host says when its session store is gone; both start again by themselves."""
    if variables["web_sessions_shared"]:
        pytest.skip("the site has several web hosts (test_sessions_faults.py)")
    redis = names_of(host, "omero_web")["redis_service"]
    host.check_output("systemctl kill --signal=KILL %s", redis)
    wait_until(lambda: ask("/health").status == 200, "it did not recover by itself", SECONDS)
    host.check_output("systemctl stop %s", redis)
    try:
        assert ask("/health").status in (502, 503)
    finally:
        host.check_output("systemctl start omero-web")
    wait_until(lambda: ask("/health").status == 200, "it did not start again", SECONDS)
