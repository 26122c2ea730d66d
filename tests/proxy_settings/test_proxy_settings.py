"""The proxy with the settings of molecule/settings."""

import json

import pytest
from conftest import can_connect, fetch, run_omero
from faults import wait_until

testinfra_hosts = ["ansible://proxy"]
pytestmark = pytest.mark.unit("nginx")

NAME = "images.vitrine.test"


@pytest.fixture
def authority(host):
    """Return the certificate of the ACME server's authority (PEM)."""
    trust = host.file("/etc/pebble/pebble.pem").content_string
    return fetch(host, "localhost", 15000, "/roots/0", tls=True, trust=trust).body


@pytest.fixture
def ask(visitor, authority):
    """Return a function that asks the proxy, and trusts no other than the ACME server's authority."""
    return lambda path, **more: fetch(visitor, NAME, 443, path, tls=True, trust=authority, **more)


def serial(visitor):
    """Return the number of the certificate that a visitor is shown."""
    command = f"openssl s_client -connect {NAME}:443 -servername {NAME} < /dev/null | openssl x509 -noout -serial"
    return visitor.check_output(command)


def test_certificate(ask):
    """A visitor is shown a certificate of the ACME server's authority."""
    assert ask("/webclient/?experimenter=-1").status == 200


def test_renewal(host, visitor, ask):
    """A renewed certificate is shown without anybody's help."""
    assert host.service("certbot.timer").is_enabled
    assert host.service("certbot.timer").is_running
    before = serial(visitor)
    host.check_output("certbot renew --force-renewal --no-random-sleep-on-renew")
    wait_until(lambda: serial(visitor) != before, "the old one is still shown")
    assert ask("/robots.txt").status == 200


def test_ciphers(visitor):
    """A visitor of the site's own name is offered ciphers of today alone, and no session tickets."""
    command = f"openssl s_client -connect {NAME}:443 -servername {NAME} -tls1_2 -cipher %s < /dev/null"
    assert visitor.run(command, "ECDHE-ECDSA-AES256-SHA384").rc != 0
    today = visitor.run(command, "ECDHE-ECDSA-AES256-GCM-SHA384")
    assert today.rc == 0, today.stderr
    assert "TLS session ticket" not in today.stdout


def test_answers(ask):
    """Answers ask browsers to come by HTTPS for a year, and let no other site's page read them."""
    headers = ask("/api/v0/m/projects/").headers
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("path", "status", "place"),
    [
        ("/study/old-name/", 301, f"https://{NAME}/webclient/?show=project-1"),
        ("/elsewhere", 301, "https://elsewhere.vitrine.test/"),
        ("/%C3%A9tude/", 301, f"https://{NAME}/webclient/?show=project-2"),
        ("/webclient/login/", 302, "https://curators.vitrine.test/webclient/"),
        ("/study/another/", 404, None),
        # OMERO.web does not know what the site has added, and is not asked for what it has removed.
        ("/searchengine/", 404, None),
        ("/gallery/search/", 404, None),
    ],
)
def test_places(ask, path, status, place):
    """{path} is answered with status {status}, and sent to {place}."""
    seen = ask(path)
    assert (seen.status, seen.headers.get("location")) == (status, place)


def test_where_to_connect(ask, variables):
    """OMERO's clients are told where to connect."""
    said = json.loads(ask("/connection/omero.json").body)
    assert (said["host"], said["port"]) == (NAME, 4164)
    assert said["websocket"] == f"wss://{NAME}:443/omero-ws"
    servers = [(server["name"], server["host"], server["port"]) for server in said["servers"]]
    assert servers == [(name, NAME, 15060 + place) for place, name in enumerate(variables["groups"]["omero"])]


@pytest.mark.parametrize(
    "place", [f"{NAME}:4164", f"{NAME}:15060", f"wss://{NAME}:443/omero-ws"], ids=["all", "one", "websocket"]
)
def test_ice(reach, variables, place):
    """An OMERO client from outside logs in at {place} and is answered by the server."""
    client = reach(variables["groups"]["omero_client"][0])
    query = "hql --quiet --style plain 'select g.name from ExperimenterGroup g where g.id = 0'"
    done = run_omero(client, place, variables["omero_curator_user"], variables["omero_curator_password"], query)
    assert "0,system" in done.stdout, done.stdout + done.stderr


def test_ice_wrong_password(reach, variables):
    """Whoever has another password is refused there too."""
    client = reach(variables["groups"]["omero_client"][0])
    done = run_omero(client, f"{NAME}:4164", variables["omero_curator_user"], "wrong", "sessions who")
    assert done.returncode != 0
    assert "Password check failed" in done.stdout + done.stderr, done.stdout + done.stderr


def test_ice_elsewhere(visitor, variables):
    """Past the proxy, OMERO.server is out of reach from outside."""
    for name in variables["groups"]["omero"]:
        for port in (4063, 4064, 4065, 4066, 4164, 4166):
            assert not can_connect(visitor, variables["site_addresses"][name], port, 1), f"{name}:{port} answers"


def test_renewal_refused(host, visitor, ask):
    """A renewal that the ACME server does not answer fails, and leaves the certificate as it is."""
    before = serial(visitor)
    host.check_output("systemctl stop pebble")
    assert host.run("certbot renew --force-renewal --no-random-sleep-on-renew").rc != 0
    host.check_output("systemctl reload nginx")
    assert serial(visitor) == before
    assert ask("/robots.txt").status == 200
