"""The public address, as a visitor from anywhere sees it."""

import secrets

import pytest
from conftest import can_connect, check_mounts, fetch

testinfra_hosts = ["ansible://proxy"]
pytestmark = pytest.mark.unit("nginx")


@pytest.fixture
def visitor(variables, outsiders, reach):
    """Return a host that is nobody special to the proxy."""
    return reach(outsiders("proxy", "web")[0])


@pytest.fixture
def ask(host, variables, visitor):
    """Return a function that asks the public address for a path over HTTPS."""
    certificate = host.file("/etc/nginx/tls/site.pem").content_string
    name = variables["site_public_name"]
    return lambda path, **more: fetch(visitor, name, 443, path, tls=True, trust=certificate, **more)


def test_starts_at_boot(host):
    """Nginx runs, starts at boot, and refuses to start without the cache's volume."""
    service = host.service("nginx")
    assert service.is_running, "it does not run"
    assert service.is_enabled
    check_mounts(host, "nginx")


def test_open(host):
    """The site is open."""
    assert not host.file("/etc/nginx/maintenance").exists, "it is closed; playbooks/maintenance.yml opens it"


def test_public_page(ask):
    """A visitor sees the web client over HTTPS, with a certificate for the public name."""
    start = ask("/")
    assert start.status == 302, start.status
    assert start.headers["location"].endswith("/webclient/?experimenter=-1"), start.headers["location"]
    seen = ask("/webclient/?experimenter=-1")
    assert seen.status == 200, f"{seen.status} {seen.headers.get('location', '')}"
    assert "dataTree" in seen.body, "the page has no tree"


@pytest.mark.parametrize("path", ["/static/webclient/javascript/ome.tree.js", "/api/v0/m/projects/"])
def test_cached(ask, path):
    """The second request for {path} is answered from the cache, and without a cookie."""
    # A key of our own, so that the first request is a first one.
    path = f"{path}?promise={secrets.token_hex(8)}"
    first, second = ask(path), ask(path)
    assert (first.status, second.status) == (200, 200), f"{first.status}, {second.status}"
    statuses = first.headers.get("x-cache-status"), second.headers.get("x-cache-status")
    assert statuses == ("MISS", "HIT"), f"the cache said {statuses}"
    assert second.body == first.body
    assert "set-cookie" not in second.headers, "a cookie came out of the cache"


def test_cache_busting(ask):
    """A changing `_` parameter does not get past the cache."""
    word = secrets.token_hex(8)
    first = ask(f"/api/v0/m/projects/?promise={word}&_=1111")
    second = ask(f"/api/v0/m/projects/?promise={word}&_=2222")
    statuses = first.headers.get("x-cache-status"), second.headers.get("x-cache-status")
    assert statuses == ("MISS", "HIT"), f"the cache said {statuses}"


def test_cache_buster_alone(ask):
    """With and without a `_` parameter an address is one and the same."""
    word = secrets.token_hex(8)
    first = ask(f"/api/v0/m/projects/?promise={word}&_=1111")
    second = ask(f"/api/v0/m/projects/?promise={word}")
    statuses = first.headers.get("x-cache-status"), second.headers.get("x-cache-status")
    assert statuses == ("MISS", "HIT"), f"the cache said {statuses}"


@pytest.mark.parametrize("port", [9000, 9001])
def test_own_ports(host, visitor, variables, port):
    """What the proxy's operator and nginx itself use, port {port}, is out of reach from outside."""
    assert can_connect(host, "127.0.0.1", port), "nobody listens, so that nothing was seen"
    assert not can_connect(visitor, variables["internal_address"], port, 1), f"{port} answers"


def test_robots(ask):
    """Crawlers are told how to behave."""
    seen = ask("/robots.txt")
    assert seen.status == 200, seen.status
    assert "User-agent: *" in seen.body


def test_cookies_stay_out_of_the_cache(ask):
    """What is cached was asked for without the visitor's cookies."""
    path = f"/api/v0/m/projects/?promise={secrets.token_hex(8)}"
    seen = ask(path, headers={"Cookie": "sessionid=" + "x" * 32})
    assert seen.status == 200, seen.status
    again = ask(path)
    assert again.headers.get("x-cache-status") == "HIT"
    assert again.body == seen.body


def test_plain_http(visitor, variables):
    """Plain HTTP is sent to HTTPS."""
    seen = fetch(visitor, variables["site_public_name"], 80, "/webclient/?show=project-1")
    assert seen.status == 301, seen.status
    assert seen.headers["location"].startswith("https://"), seen.headers["location"]
    assert seen.headers["location"].endswith("/webclient/?show=project-1"), seen.headers["location"]


def test_old_tls(visitor, variables):
    """TLS older than 1.2 is refused."""
    target = f"{variables['site_public_name']}:443"
    old = visitor.run("openssl s_client -connect %s -tls1_1 -cipher ALL:@SECLEVEL=0 < /dev/null", target)
    assert old.rc != 0, "it took TLS 1.1"
    new = visitor.run("openssl s_client -connect %s -tls1_3 < /dev/null", target)
    assert new.rc == 0, f"TLS 1.3 fails too, so that nothing was seen: {new.stderr.strip()[:200]}"


def test_no_login(ask):
    """The public site has no login."""
    seen = ask("/webclient/login/")
    assert seen.status == 403, seen.status


def test_upstreams(variables, visitor):
    """What is behind the proxy is out of reach from outside."""
    for name in ("web", "jupyterhub"):
        service = variables["network_services"][name]
        for upstream in variables["groups"][service["group"]]:
            if upstream == visitor.backend.hostname:
                continue
            address = variables["site_addresses"][upstream]
            assert not can_connect(visitor, address, service["port"], 1), f"{upstream}:{service['port']} answers"


def test_key(host):
    """The certificate's key is for root alone."""
    assert host.file("/etc/nginx/tls/site.key").mode == 0o600
