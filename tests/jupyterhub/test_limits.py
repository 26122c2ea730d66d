"""What keeps users of JupyterHub, and strangers at its login, from harming others."""

import concurrent.futures
import json
import secrets
import shlex
import urllib.parse

import pytest
from conftest import run_with_input
from test_jupyterhub import client, names, running, settings, unit

__all__ = ["client", "names", "running", "settings", "unit"]

testinfra_hosts = ["ansible://jupyterhub"]
pytestmark = [pytest.mark.unit("jupyterhub"), pytest.mark.usefixtures("host")]

# Runs on the hub's host: several logins at once, each claiming to come from another address; prints the answers.
GUESS = """
import concurrent.futures, http.client, json, re, sys, urllib.parse
ask = json.load(sys.stdin)

def guess(number):
    claimed = {"Host": ask["host"], "X-Forwarded-For": f"10.255.0.{number}", "X-Real-Ip": f"10.255.1.{number}"}
    connection = http.client.HTTPConnection(*ask["place"], timeout=30)
    connection.request("GET", ask["path"], headers=claimed)
    answer = connection.getresponse()
    token = re.search(r'name="_xsrf" value="([^"]+)"', answer.read().decode()).group(1)
    cookies = "; ".join(cookie.split(";")[0] for cookie in answer.headers.get_all("Set-Cookie"))
    form = urllib.parse.urlencode({"_xsrf": token, "username": ask["name"], "password": "wrong"})
    kind = {"Cookie": cookies, "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", ask["path"], form, claimed | kind)
    return connection.getresponse().status

with concurrent.futures.ThreadPoolExecutor(ask["number"]) as pool:
    print(json.dumps(list(pool.map(guess, range(ask["number"])))))
"""


def test_the_owner_is_not_locked_out(host, client, settings):
    """Wrong passwords from elsewhere are refused after some, whatever address they claim, and the owner can log in."""
    user, password = client(0)
    site, allowed = urllib.parse.urlsplit(user.url), settings["jupyterhub_login_attempts"]
    ask = {"host": site.netloc, "path": f"{site.path}hub/login", "name": user.user, "number": allowed + 3}
    # A program on the host can connect to the hub itself, or to the proxy before it.
    for place in (["127.0.0.1", 8081], [settings["jupyterhub_address"], settings["jupyterhub_port"]]):
        run = run_with_input(host, f"python3 -c {shlex.quote(GUESS)}", json.dumps(ask | {"place": place}))
        assert run.returncode == 0, run.stderr[-500:]
        seen = json.loads(run.stdout)
        assert set(seen) <= {403, 429}, f"{place}: {seen}"
        # Less than allowed are checked while the host still waits after a former gate.
        assert seen.count(403) <= allowed, (
            f"{place}: {seen.count(403)} wrong passwords were checked, {allowed} are allowed"
        )
        answer = user.log_in(password)
        assert answer.status_code == 302, f"the owner could not log in: {answer.status_code} {answer.text[:200]}"


def test_wrong_passwords_wait(client, settings):
    """After too many wrong passwords for a name, its address has to wait, and can still log in with other names."""
    allowed, name = settings["jupyterhub_login_attempts"], f"nobody-{secrets.token_hex(4)}"

    def guess(_):
        guest, _ = client(0)
        guest.user = name
        return guest.log_in("wrong")

    with concurrent.futures.ThreadPoolExecutor(allowed) as pool:
        answers = list(pool.map(guess, range(allowed)))
    assert {answer.status_code for answer in answers} == {403}, [answer.status_code for answer in answers]
    refused = guess(0)
    assert refused.status_code == 429, f"wrong password number {allowed + 1}: {refused.status_code}"
    assert 0 < int(refused.headers["Retry-After"]) <= settings["jupyterhub_login_pause"]
    user, password = client(0)
    assert user.log_in(password).status_code == 302, f"{user.user} could not log in"
