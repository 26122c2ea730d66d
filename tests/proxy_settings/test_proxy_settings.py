"""The proxy as molecule/proxy/settings.yml has set it up."""

import pytest
from conftest import fetch
from faults import wait_until

testinfra_hosts = ["ansible://proxy"]
pytestmark = pytest.mark.unit("nginx")

NAME = "proxy.vitrine.test"


@pytest.fixture
def visitor(outsiders, reach):
    """Return a host that is nobody special to the proxy."""
    return reach(outsiders("proxy", "web")[0])


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
        ("/webclient/login/", 302, "https://curators.vitrine.test/webclient/"),
        ("/study/another/", 404, None),
    ],
)
def test_places(ask, path, status, place):
    """{path} is answered with status {status}, and sent to {place}."""
    seen = ask(path)
    assert (seen.status, seen.headers.get("location")) == (status, place)


def test_renewal_refused(host, visitor, ask):
    """A renewal that the ACME server does not answer fails, and leaves the certificate as it is."""
    before = serial(visitor)
    host.check_output("systemctl stop pebble")
    assert host.run("certbot renew --force-renewal --no-random-sleep-on-renew").rc != 0
    host.check_output("systemctl reload nginx")
    assert serial(visitor) == before
    assert ask("/robots.txt").status == 200
