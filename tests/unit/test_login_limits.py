"""Wrong passwords at JupyterHub's login: the address that sends them waits, and the owner of the account never does."""

import asyncio
import importlib.util
import logging
import sys
from types import ModuleType, SimpleNamespace

import pytest

from vitrine_cli.site import PROJECT

HUB, PROXY = ("127.0.0.1", 8081), ("127.0.0.1", 8001)
# As Linux writes them: the proxy (account 61184) listens on 8001 and connects from port 40000; account 1001 from 40001
# with an IPv6 socket, and from 40002; a connection from 40003 has been closed by its program.
TABLES = """
  0: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000 61184 0 1 1 0 100 0 0 10 0
  1: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0 0 2 1 0 100 0 0 10 0
  2: 0100007F:9C40 0100007F:1F91 01 00000000:00000000 00:00000000 00000000 61184 0 3 1 0 100 0 0 10 0
  3: 0100007F:1F91 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0 0 4 1 0 100 0 0 10 0
  4: 0000000000000000FFFF00000100007F:9C41 0000000000000000FFFF00000100007F:1F91 01 0:0 00:0 0 1001 0 5 1 0 100 0 0 10 0
  5: 0100007F:9C42 0100007F:1F91 01 00000000:00000000 00:00000000 00000000  1001 0 6 1 0 100 0 0 10 0
  6: 0100007F:9C43 0100007F:1F91 06 00000000:00000000 00:00000000 00000000     0 0 0 1 0 100 0 0 10 0
""".strip().splitlines()


class HTTPError(Exception):
    """Stands in for tornado's."""

    def __init__(self, status, message, *values):
        """Take what tornado's takes."""
        super().__init__(message % values)
        self.status_code = status


@pytest.fixture
def limits(monkeypatch, tmp_path):
    """Return the module as the hub loads it, with connections as above and answers without delay."""
    web = ModuleType("tornado.web")
    web.HTTPError = HTTPError
    monkeypatch.setitem(sys.modules, "tornado", ModuleType("tornado"))
    monkeypatch.setitem(sys.modules, "tornado.web", web)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = importlib.util.spec_from_file_location("login_limits", PROJECT / "roles/jupyterhub/files/login_limits.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "tcp").write_text("\n".join(["heading", *TABLES]) + "\n")
    monkeypatch.setattr(module, "TABLES", [tmp_path / "tcp", tmp_path / "tcp6"])
    monkeypatch.setattr(module, "DELAY", 0)
    return module


@pytest.fixture
def time():
    """Return a clock whose time can be set."""
    return SimpleNamespace(now=1000.0)


@pytest.fixture
def attempts(limits, time):
    """Return counts of three attempts with a pause of 300 seconds."""
    return limits.Attempts(3, 300, clock=lambda: time.now)


class Authenticator:
    """Stands in for the hub's: one password for all names."""

    log = logging.getLogger("hub")
    checked = 0

    async def authenticate(self, _, data):
        """Return the name if the password is right."""
        Authenticator.checked += 1
        return {"right": data["username"]}.get(data["password"])


@pytest.fixture
def hub(limits):
    """Return a function that tries to log in, and returns the name, None or the status of a refusal."""
    made = limits.limited(Authenticator, attempts=3, pause=300, trusted=["192.168.1.16"], proxy=PROXY)()

    def log_in(name, password, forwarded="10.0.0.1,192.168.1.16", port=40000):
        socket = SimpleNamespace(getsockname=lambda: HUB, getpeername=lambda: ("127.0.0.1", port))
        request = SimpleNamespace(
            connection=SimpleNamespace(stream=SimpleNamespace(socket=socket)),
            headers=SimpleNamespace(get_list=lambda _: [forwarded]),
            remote_ip="claimed",
        )
        log_in.seen = request
        data = {"username": name, "password": password}
        try:
            return asyncio.run(made.authenticate(SimpleNamespace(request=request), data))
        except HTTPError as error:
            return error.status_code if 0 < int(error.headers["Retry-After"]) <= 300 else None

    return log_in


def test_the_owner_is_not_locked_out(hub):
    """Wrong passwords from elsewhere leave the owner alone; the sender is refused, with the right one too."""
    assert [hub("ada", "wrong") for _ in range(20)] == [None] * 3 + [429] * 17
    assert hub("ada", "right") == 429
    assert hub("ada", "right", "10.0.0.2,192.168.1.16") == "ada"
    # Others behind the same address, with their own names.
    assert hub("bob", "right") == "bob"


def test_refused_without_a_check(hub):
    """A refused password is not even looked at."""
    before = Authenticator.checked
    for _ in range(10):
        hub("ada", "wrong")
    assert Authenticator.checked == before + 3


def test_a_claimed_address_does_not_count(hub):
    """What a visitor sends as X-Forwarded-For comes before what the proxies add."""
    answers = [hub("ada", "wrong", f"10.9.9.{number}, 10.0.0.1, 192.168.1.16") for number in range(5)]
    assert answers == [None] * 3 + [429] * 2
    assert hub.seen.remote_ip == "10.0.0.1", "the log shows another address"


@pytest.mark.parametrize("port", [40001, 40002, 40003, 50000])
def test_a_local_program_does_not_choose_its_address(hub, port):
    """A notebook that connects to the hub itself is counted by its account, whatever headers it sends."""
    answers = [hub("ada", "wrong", f"10.9.9.{number},192.168.1.16", port) for number in range(5)]
    assert answers == [None] * 3 + [429] * 2
    assert hub.seen.remote_ip == "claimed"
    assert hub("ada", "right") == "ada"


def test_over_the_proxy_from_the_host(hub):
    """A notebook that connects to the proxy instead is seen with its host's own address."""
    answers = [hub("ada", "wrong", f"10.9.9.{number},192.168.1.15") for number in range(5)]
    assert answers == [None] * 3 + [429] * 2


def test_a_name_with_a_null_character(hub):
    """PAM reads the name up to the null character, and so do the counts."""
    assert [hub(f"ada\0{number}", "wrong") for number in range(5)] == [None] * 3 + [429] * 2


def test_a_right_password_clears_the_count(attempts):
    """Whoever mistypes and then succeeds starts anew."""
    for _ in range(10):
        assert attempts.begin("a", "ada") == 0
        assert attempts.begin("a", "ada") == 0
        attempts.succeed("a", "ada")


def test_simultaneous_attempts(attempts):
    """Attempts are counted when they begin, so that a hundred at once do not all pass."""
    assert [attempts.begin("a", "ada") for _ in range(5)] == [0, 0, 0, 300, 300]


def test_the_pause_ends(attempts, time):
    """Refused attempts do not prolong the pause, and after it the address has all its attempts again."""
    for _ in range(3):
        attempts.begin("a", "ada")
    time.now += 299.5
    assert attempts.begin("a", "ada") == 1
    time.now += 0.5
    assert [attempts.begin("a", "ada") for _ in range(4)] == [0, 0, 0, 300]


def test_old_mistakes_are_forgotten(attempts, time):
    """Mistakes of some days do not add up."""
    for _ in range(10):
        assert attempts.begin("a", "ada") == 0
        time.now += 901


def test_memory_is_limited(attempts, limits, monkeypatch):
    """Invented names and addresses do not use up the memory, and names do not push out their address's counts."""
    monkeypatch.setattr(limits, "ENTRIES", 2000)
    for _ in range(3):
        attempts.begin("a", "ada")
    for number in range(5000):
        attempts.begin("a", f"name{number}")
    assert len(attempts.wrong) <= limits.GROUPS
    assert attempts.begin("a", "ada") > 0
    for number in range(5000):
        attempts.begin(f"address{number}", "ada")
    assert len(attempts.wrong) == 2000


@pytest.mark.parametrize(
    ("forwarded", "place"),
    [
        ("10.0.0.1,192.168.1.16", "10.0.0.1"),
        ("::ffff:10.0.0.1, ::ffff:192.168.1.16", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6, 192.168.1.16", "2001:db8:1:2::/64"),
        ("10.0.0.1, nonsense", "unknown"),
        ("192.168.1.16", "unknown"),
        ("", "unknown"),
    ],
)
def test_addresses(limits, forwarded, place):
    """The last address that is not one of the site's proxies, and the network of an IPv6 address."""
    assert limits.place_of(limits.visitor_of(forwarded, ["192.168.1.16"])) == place


def test_pam_locks_no_account():
    """PAM only checks: a lock there would be the owner's, and a delay would keep a thread of the hub."""
    lines = (PROJECT / "roles/jupyterhub/templates/pam.j2").read_text().splitlines()
    modules = [line.split()[2:] for line in lines if line.startswith("auth")]
    assert [module[0] for module in modules] == ["pam_succeed_if.so", "pam_unix.so"]
    assert "nodelay" in modules[1]
