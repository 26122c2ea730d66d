"""The public address, as a visitor from anywhere sees it.

While the site is closed for maintenance, what needs an open site is left out, and the gate says so.
"""

import re
import secrets

import pytest
from conftest import can_connect, check_mounts, check_unit, fetch

testinfra_hosts = ["ansible://proxy"]
pytestmark = pytest.mark.unit("nginx")


STATIC = "/static/webclient/javascript/ome.tree.js"
PROJECTS = "/api/v0/m/projects/"
UNITS = {"": 0, "k": 10, "m": 20, "g": 30}


@pytest.fixture
def closed(host):
    """Return whether the site is closed for maintenance."""
    return host.file("/etc/nginx/maintenance").exists


@pytest.fixture
def knock(host, variables, visitor):
    """Return a function that asks the public address for a path over HTTPS, be the site open or closed."""
    certificate = host.file("/etc/nginx/tls/site.pem").content_string
    name = variables["site_public_name"]
    return lambda path, **more: fetch(visitor, name, 443, path, tls=True, trust=certificate, **more)


@pytest.fixture
def ask(knock, closed):
    """Return the same function for an open site."""
    if closed:
        pytest.skip("the site is closed for maintenance (playbooks/maintenance.yml)")
    return knock


@pytest.fixture
def kept(variables):
    """Return a function that leaves a check out where no cache zone keeps the answers to a path."""

    def look(path):
        if not any(re.search(zone["pattern"], path) for zone in variables["nginx_cache_zones"].values()):
            pytest.skip(f"no zone of nginx_cache_zones keeps {path}")

    return look


def test_starts_at_boot(host, variables):
    """Nginx runs with the site's limits, starts at boot, and refuses to start without the cache's volume."""
    service = host.service("nginx")
    assert service.is_running, "it does not run"
    assert service.is_enabled
    check_mounts(host, "nginx")
    check_unit(host, "nginx", variables["nginx_cache_service_settings"])


def test_queue_starts_at_boot(host):
    """The queue in which requests wait for OMERO.web runs, starts at boot, and lets root alone change it."""
    service = host.service("vitrine-queue")
    assert service.is_running, "it does not run"
    assert service.is_enabled
    assert host.file("/etc/haproxy/vitrine-queue.cfg").mode & 0o022 == 0


def test_closed(knock, closed):
    """While the site is closed, visitors are told to come back; while it is open, they are not."""
    seen = knock(f"/webclient/?promise={secrets.token_hex(8)}")
    assert (seen.status == 503) == closed, f"closed: {closed}, status {seen.status}"
    if closed:
        assert seen.headers["retry-after"] == "600"


def test_public_page(ask):
    """A visitor sees the web client over HTTPS, with a certificate for the public name."""
    start = ask("/")
    assert start.status == 302, start.status
    assert start.headers["location"].endswith("/webclient/?experimenter=-1"), start.headers["location"]
    seen = ask("/webclient/?experimenter=-1")
    assert seen.status == 200, f"{seen.status} {seen.headers.get('location', '')}"
    assert "dataTree" in seen.body, "the page has no tree"


@pytest.mark.parametrize("path", [STATIC, PROJECTS])
def test_cached(ask, kept, path):
    """The second request for {path} is answered from the cache, and without a cookie."""
    kept(path)
    # A key of our own, so that the first request is a first one.
    path = f"{path}?promise={secrets.token_hex(8)}"
    first, second = ask(path), ask(path)
    assert (first.status, second.status) == (200, 200), f"{first.status}, {second.status}"
    statuses = first.headers.get("x-cache-status"), second.headers.get("x-cache-status")
    assert statuses == ("MISS", "HIT"), f"the cache said {statuses}"
    assert second.body == first.body
    assert "set-cookie" not in second.headers, "a cookie came out of the cache"


def test_cache_busting(ask, kept):
    """A changing `_` parameter does not get past the cache."""
    kept(PROJECTS)
    word = secrets.token_hex(8)
    first = ask(f"/api/v0/m/projects/?promise={word}&_=1111")
    second = ask(f"/api/v0/m/projects/?promise={word}&_=2222")
    statuses = first.headers.get("x-cache-status"), second.headers.get("x-cache-status")
    assert statuses == ("MISS", "HIT"), f"the cache said {statuses}"


def test_cache_buster_alone(ask, kept):
    """With and without a `_` parameter an address is one and the same."""
    kept(PROJECTS)
    word = secrets.token_hex(8)
    first = ask(f"/api/v0/m/projects/?promise={word}&_=1111")
    second = ask(f"/api/v0/m/projects/?promise={word}")
    statuses = first.headers.get("x-cache-status"), second.headers.get("x-cache-status")
    assert statuses == ("MISS", "HIT"), f"the cache said {statuses}"


def test_order_of_parameters(ask, kept):
    """Parameters in another order are the same address."""
    kept(PROJECTS)
    word = secrets.token_hex(8)
    first = ask(f"/api/v0/m/projects/?promise={word}&limit=5&childCount=true")
    second = ask(f"/api/v0/m/projects/?limit=5&_=12&childCount=true&promise={word}")
    statuses = first.headers.get("x-cache-status"), second.headers.get("x-cache-status")
    assert statuses == ("MISS", "HIT"), f"the cache said {statuses}"
    third = ask(f"/api/v0/m/projects/?limit=6&childCount=true&promise={word}")
    assert third.headers.get("x-cache-status") == "MISS", "another value is another address"


def test_long_address(ask, kept):
    """An address as long as browsers send them is answered and kept, and the servers behind stay in use."""
    kept(PROJECTS)
    path = f"/api/v0/m/projects/?promise={secrets.token_hex(8)}&word={'x' * 6000}"
    seen = [(answer.status, answer.headers.get("x-cache-status")) for answer in (ask(path), ask(path))]
    assert seen == [(200, "MISS"), (200, "HIT")]
    assert ask(f"/webclient/?experimenter=-1&word={'x' * 6000}").status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/v0/m/projects/", 405),
        ("DELETE", "/api/v0/m/projects/", 405),
        ("GET", "/webclient/login/", "no login"),
        ("GET", "/webclient//login/", "no login"),
        ("GET", "/webclient/%6cogin/", "no login"),
        ("GET", "/webgateway/su/somebody/", "no login"),
        ("GET", "/webadmin/login/", "no login"),
        ("POST", "/webadmin/forgottenpassword/", "no login"),
        ("POST", "/api/v0/login/", "no login"),
        ("GET", "/webclient/?username=somebody&password=x&server=1", 403),
        ("GET", "/webclient/?experimenter=-1&bsession=x&server=1", 403),
        ("GET", "/api/v0/m/projects/?%62session=x&server=1", 403),
        ("GET", "/api/v0/m/projects/?us%65rName=x&password=x", 403),
        ("GET", "/api/v0/m/projects/?" + "x" * 9000, 414),
    ],
)
def test_refused(ask, variables, method, path, status):
    """{method} {path:.60} is refused: {status}."""
    seen = ask(path, method=method)
    elsewhere = variables["nginx_cache_login_url"]
    if status == "no login" and elsewhere:
        assert (seen.status, seen.headers.get("location")) == (302, elsewhere)
    else:
        assert seen.status == (403 if status == "no login" else status), seen.status


DOWNLOADS = [
    "/webclient/get_original_file/1/",
    "/webclient/download_original_file/1/",
    "/webclient/annotation/1/",
    "/webclient/omero_table/1/csv/",
    "/webclient/load_original_metadata/1/",
    "/webgateway/archived_files/download/1/",
    "/webgateway/render_movie/1/z/0/",
    "/webgateway/table/1/query/?query=*",
]


@pytest.mark.parametrize("path", DOWNLOADS)
def test_downloads(ask, variables, path):
    """{path} is no page for visitors, or a file that browsers store and do not open, if the site offers downloads."""
    if any(re.search(pattern, path) for pattern in variables["nginx_cache_pages_extra"]):
        pytest.skip("the site lists it in nginx_cache_pages_extra")
    seen = ask(path)
    if not variables["nginx_cache_downloads"]:
        assert seen.status == 404, seen.status
        return
    assert seen.headers["content-type"] == "application/octet-stream"
    assert seen.headers["content-disposition"].startswith("attachment")
    assert seen.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in seen.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/feedback/comment/"),
        ("POST", "/feedback/feedback/"),
        ("GET", "/feedback/comment/../../webclient/"),
        ("GET", "/feedback/comment/%2e%2e/%2e%2e/webclient/"),
        ("GET", "/static/../feedback/comment/"),
        ("GET", "/api/v0/m/experimenters/"),
        ("GET", "/api/v0/m/experimentergroups/"),
        ("GET", "/api/v0/servers/"),
        ("GET", "/webclient/api/groups/"),
        ("GET", "/webclient/list_scripts/"),
        ("GET", "/webclient/action/addnewcontainer/"),
        ("GET", "/webgateway/original_file_paths/1/"),
        ("GET", "/webgateway/saveImgRDef/1/"),
        ("GET", "/url/?url=https://example.org/"),
        ("GET", "/no-such-page/"),
    ],
)
def test_unlisted(ask, variables, method, path):
    """{method} {path} is no page for visitors."""
    if any(re.search(pattern, path) for pattern in variables["nginx_cache_pages_extra"]):
        pytest.skip("the site lists it in nginx_cache_pages_extra")
    assert ask(path, method=method).status == 404


@pytest.mark.parametrize("sign", ["%0a", "%0D%0A", "%00", "%1b[31m", "%7f", "%E2%80%A8"])
def test_control_characters(ask, sign):
    """A path or parameters with a control character, {sign}, do not reach OMERO.web, whose log they would get into."""
    word = secrets.token_hex(8)
    # nginx itself refuses %00 in a path.
    assert ask(f"/webclient/{word}{sign}forged/").status in (400, 404)
    assert ask(f"/webclient/?experimenter=-1&word={word}{sign}forged").status == 404
    assert ask(f"/api/v0/m/projects/?word={word}{sign}forged").status == 404


def test_posted(ask):
    """Visitors post nothing."""
    assert ask("/webclient/userdata/", method="POST").status == 405


def test_hsts(ask, variables, host):
    """Browsers insist on HTTPS from the first visit on, if the certificate is not the role's own."""
    acme = host.file(f"/etc/letsencrypt/live/{variables['site_public_name']}/fullchain.pem").exists
    trusted = variables["nginx_cache_certificate"] or (variables["nginx_cache_acme_directory"] and acme)
    wanted = (
        f"max-age={variables['nginx_cache_hsts_seconds']}"
        if trusted and variables["nginx_cache_hsts_seconds"]
        else None
    )
    assert ask("/robots.txt").headers.get("strict-transport-security") == wanted


def test_large_header(knock):
    """Headers larger than any browser sends are refused."""
    assert knock("/robots.txt", headers={"X-Large": "x" * 9000}).status == 400


def test_large_body(ask, variables):
    """More than the site takes is refused before it is sent."""
    number, unit = re.fullmatch(r"(\d+)([kmg]?)", variables["nginx_cache_max_body"].lower()).groups()
    headers = {"Content-Length": str((int(number) << UNITS[unit]) + 1), "Expect": "100-continue"}
    assert ask("/webclient/", method="POST", headers=headers).status == 413


@pytest.mark.parametrize("name", ["example.org", "127.0.0.1", "localhost:443"])
def test_other_name(knock, name):
    """The site answers to its own name and to no other ({name})."""
    assert knock("/api/v0/m/projects/", headers={"Host": name}).status == 421


def test_what_answers_say(ask, variables):
    """Answers tell browsers to stay careful; what is kept may be read by those pages that the site lets."""
    policy, others = variables["nginx_cache_content_security_policy"].strip(), variables["nginx_cache_cors_origin"]
    for path in ("/webclient/?experimenter=-1", "/api/v0/m/projects/", "/robots.txt"):
        headers = ask(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "strict-origin-when-cross-origin", path
        assert headers["content-security-policy"] == policy, path
        for name, value in variables["nginx_cache_headers_extra"].items():
            assert headers[name.lower()] == value, f"{path}: {name}"
        allowed = headers.get("access-control-allow-origin")
        shared = any(re.search(zone["pattern"], path) for zone in variables["nginx_cache_zones"].values())
        assert allowed == (others or None if shared else None), f"{path}: {allowed}"


def test_compressed(ask, kept):
    """What is kept is kept as it is, and compressed for those who take it."""
    kept(STATIC)
    path = f"{STATIC}?promise={secrets.token_hex(8)}"
    packed = ask(path, headers={"Accept-Encoding": "gzip"})
    plain = ask(path)
    assert packed.headers.get("content-encoding") == "gzip"
    assert "content-encoding" not in plain.headers
    assert (packed.headers["x-cache-status"], plain.headers["x-cache-status"]) == ("MISS", "HIT")
    assert len(plain.body) > len(packed.body)


def test_watch(host):
    """The cache's volume is looked at all the time."""
    assert host.service("vitrine-cache-watch.timer").is_running
    assert not host.file("/run/vitrine-cache-unusable").exists, "the volume cannot be written to: see the journal"


def test_numbers(host, variables):
    """Nginx's numbers are there for Prometheus, if the site wants them."""
    if not variables["nginx_cache_exporter"]:
        assert not can_connect(host, "127.0.0.1", 9113), "something exports them"
        pytest.skip("the site has no exporter (nginx_cache_exporter)")
    seen = fetch(host, "127.0.0.1", 9113, "/metrics")
    assert "\nnginx_up 1\n" in seen.body, seen.body[:300]


def test_balanced(host, variables):
    """Every OMERO.web that is there for the public is asked, and no other."""
    written = host.file("/etc/nginx/conf.d/15-misses.conf").content_string
    upstreams = re.findall(r"upstream omero_web_\d+ \{(.*?)\}", written, re.DOTALL)
    asked = [re.findall(r"server (\S+) ([^;]*);", upstream) for upstream in upstreams]
    names = set(variables["groups"]["web"]) - set(variables["groups"].get("web_refresh", []))
    wanted = [f"{name}:{variables['network_services']['web']['port']}" for name in names]
    assert sorted(servers[0][0] for servers in asked) == sorted(wanted)
    for servers in asked:
        assert sorted(server for server, _ in servers) == sorted(wanted)
        assert [server for server, words in servers if "backup" not in words] == [servers[0][0]]
    queue = host.file("/etc/haproxy/vitrine-queue.cfg").content_string
    assert queue.count("127.0.0.1:90") == 1 + 2 * len(wanted), "the queue has other servers"


@pytest.mark.parametrize("port", [9000, 9002, 9010, 9113])
def test_own_ports(host, outside, variables, port):
    """What the proxy's operator and nginx itself use, port {port}, is out of reach from outside."""
    if port == 9113 and not variables["nginx_cache_exporter"]:
        pytest.skip("the site has no exporter (nginx_cache_exporter)")
    assert can_connect(host, "127.0.0.1", port), "nobody listens, so that nothing was seen"
    other = outside(port)[0]
    assert not other.reaches(port), f"{port} answers {other.name}"


def test_robots(knock, variables):
    """Crawlers are told how to behave."""
    seen = knock("/robots.txt")
    assert seen.status == 200, seen.status
    assert seen.body.strip() == variables["nginx_cache_robots"].strip()


def test_cookies_stay_out_of_the_cache(ask, kept):
    """What is cached was asked for without the visitor's cookies."""
    kept(PROJECTS)
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
    """TLS older than 1.2 is refused, and so are versions that the site does not accept."""
    target = f"{variables['site_public_name']}:443"
    old = visitor.run("openssl s_client -connect %s -tls1_1 -cipher ALL:@SECLEVEL=0 < /dev/null", target)
    assert old.rc != 0, "it took TLS 1.1"
    for version, option in (("TLSv1.2", "-tls1_2"), ("TLSv1.3", "-tls1_3")):
        seen = visitor.run(f"openssl s_client -connect %s {option} < /dev/null", target)
        wanted = version in variables["nginx_cache_tls_protocols"]
        assert (seen.rc == 0) == wanted, f"{version}: {seen.stderr.strip()[:200] or 'it was taken'}"


@pytest.mark.parametrize("name", ["web", "jupyterhub"])
def test_upstreams(variables, outside, name):
    """The service behind the proxy, {name}, is out of reach from outside."""
    service = variables["network_services"][name]
    upstreams = variables["groups"].get(service["group"], [])
    if not upstreams:
        pytest.skip(f"no host of the site has {name}")
    for upstream in upstreams:
        other = outside(service["port"], upstream)[0]
        assert not other.reaches(service["port"]), f"{upstream}:{service['port']} answers {other.name}"


def test_key(host):
    """The certificate's key is for root alone."""
    assert host.file("/etc/nginx/tls/site.key").mode == 0o600
