"""What happens to the proxy when something breaks. Breaks it: for scenarios, never for a site in use."""

import pytest
from conftest import fetch
from faults import check_refuses, wait_until

testinfra_hosts = ["ansible://proxy"]
pytestmark = pytest.mark.unit("nginx")

UNIT = "nginx"


@pytest.fixture
def answers(host, variables, outsiders, reach):
    """Return a function that tells whether a visitor gets the public page."""
    visitor = reach(outsiders("proxy", "web")[0])
    certificate = host.file("/etc/nginx/tls/site.pem").content_string

    def ask():
        try:
            page = fetch(visitor, variables["site_public_name"], 443, "/", tls=True, trust=certificate)
        except AssertionError:
            return False
        return page.status == 302

    return ask


def test_killed(host, answers):
    """A proxy that was killed starts again by itself."""
    wait_until(answers, "the proxy did not start with its host")
    host.check_output("systemctl kill --signal=KILL %s", UNIT)
    wait_until(answers, "the proxy did not start again by itself")
    assert host.check_output("systemctl show --property=NRestarts --value %s", UNIT) != "0", "it was not killed"


@pytest.mark.parametrize("what", ["gone", "that of another host"])
def test_wrong_volume(host, machine, variables, answers, what):
    """With its cache's volume {what} the proxy does not start and says why; when that is mended it starts by itself."""
    path = variables["data_volumes"][0]["path"]
    check_refuses(host, machine, UNIT, path, what)
    wait_until(answers, "the proxy did not start by itself")
