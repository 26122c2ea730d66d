"""What keeps users of JupyterHub, and strangers at its login, from harming others."""

import concurrent.futures
import json
import secrets
import shlex
import urllib.parse

import pytest
from conftest import run_with_input
from jupyterhub.test_jupyterhub import client, names, running, settings, strange, unit

__all__ = ["client", "names", "running", "settings", "strange", "unit"]

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
    places = [["127.0.0.1", 8081]]
    # If the site's proxy is on this host, its address is believed; users' programs cannot connect to this port.
    if settings["jupyterhub_address"] not in settings["jupyterhub_trusted_proxies"]:
        places.append([settings["jupyterhub_address"], settings["jupyterhub_port"]])
    for place in places:
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


def test_limits_hold(host, running, settings, unit):
    """The kernel enforces the limits of memory, CPUs and processes of a user's server."""
    properties = unit(running[0].user)
    folder = host.file(f"/sys/fs/cgroup{properties['ControlGroup']}")
    limits = {"memory.max": properties["MemoryMax"], "pids.max": properties["TasksMax"]}
    seen = {name: host.file(f"{folder.path}/{name}") for name in [*limits, "cpu.max"]}
    missing = [name for name, file in seen.items() if not file.exists]
    if missing and settings["jupyterhub_accept_unlimited_servers"]:
        pytest.skip(
            f"{', '.join(missing)} not enforced by this kernel, accepted by jupyterhub_accept_unlimited_servers"
        )
    assert not missing, f"the kernel does not enforce {missing}: a user can stop the host"
    assert {name: seen[name].content_string.strip() for name in limits} == limits
    assert not seen["cpu.max"].content_string.startswith("max"), "no limit of processor time"


def test_processes_are_limited(running):
    """A user's account cannot have processes without number, whatever the control groups enforce."""
    limits = running[0].compute("import resource\nprint(*resource.getrlimit(resource.RLIMIT_NPROC))").split()
    assert limits == ["1024", "1024"], limits


def test_temporary_files_are_limited(running, settings):
    """A user can fill neither the host's memory through /run and /dev/shm, nor its system disk through /tmp."""
    code = """
import os
user = os.environ["JUPYTER_RUNTIME_DIR"]
for path in [user, "/tmp", "/var/tmp", "/dev/shm"]:
    size = os.statvfs(path)
    print(path, os.path.ismount(path), size.f_blocks * size.f_frsize >> 20, size.f_files < 10**7)
    with open(path + "/tried", "w") as file:
        file.write("x")
    os.remove(path + "/tried")
"""
    printed = [line.split() for line in running[0].compute(code).splitlines()]
    size = str(settings["jupyterhub_user_temporary"])
    assert [line[1:] for line in printed] == [["True", "16", "True"], *[["True", size, "True"]] * 3], printed


def test_writable_places(running):
    """Besides these and the home directory, a user's code can write to no file system of the host."""
    code = """
import os
print(os.path.expanduser("~"), os.environ["JUPYTER_RUNTIME_DIR"])
for line in open("/proc/self/mountinfo"):
    place, options = line.split()[4:6]
    if "rw" in options.split(",") and os.path.isdir(place) and os.access(place, os.W_OK):
        print(place)
"""
    mine, *seen = running[0].compute(code).splitlines()
    # Message queues are private (PrivateIPC), and have limits of their own.
    allowed = {*mine.split(), "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue"}  # noqa: S108 (those of the unit)
    assert not set(seen) - allowed, sorted(set(seen) - allowed)


def test_metadata(host, running, unit):
    """A user's code cannot connect to the metadata service of a cloud, at none of its addresses."""
    denied = unit(running[0].user)["IPAddressDeny"].split()
    rules = host.check_output("nft list chain inet vitrine_jupyterhub metadata")
    account = host.check_output("id --user %s", running[0].user)
    assert account in rules.replace(",", " ").split(), "the rules do not name the account"
    for address in ("169.254.0.0/16", "fe80::a9fe:0/112", "fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe"):
        # systemd writes single addresses with their prefix.
        assert {address, f"{address}/128"} & set(denied), f"{address} is not in IPAddressDeny: {denied}"
        assert address in rules, f"{address} is not in the rules"
    code = """
import socket
for address in ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "fd00:42::42"]:
    try:
        socket.create_connection((address, 80), 2).close()
        print(address)
    except OSError:
        pass
"""
    reached = running[0].compute(code).split()
    assert not reached, f"reached: {reached}"


def test_system_calls_are_limited(running):
    """A user's program gets an error from system calls that no notebook needs."""
    code = """
import ctypes, os
child = os.fork()
if not child:
    libc = ctypes.CDLL(None, use_errno=True)
    # Asks to be traced, which any program may without the filter.
    os._exit(ctypes.get_errno() if libc.ptrace(0, 0, 0, 0) < 0 else 0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert running[0].compute(code).strip() == "1", "ptrace is permitted"


def test_packages_are_roots(host):
    """Nobody but root can change the programs of hub and notebooks, nor can the account that installed them."""
    command = "find /opt/jupyterhub ! -type l ( ! -user root -o -perm /022 ) -print -quit"
    assert host.check_output(command.replace("(", "\\(").replace(")", "\\)")) == ""


@pytest.mark.parametrize("service", ["jupyterhub", "jupyterhub-proxy", "jupyterhub-idle-culler", "a user's server"])
def test_exposure(host, running, service):
    """By systemd's own measure, {service} is exposed no more than 3.0 of 10."""
    name = service if service.startswith("jupyterhub") else f"jupyter-{running[0].user}-singleuser"
    lines = host.run("systemd-analyze security --no-pager %s.service", name).stdout.splitlines()
    assert lines, "systemd-analyze printed nothing"
    assert float(lines[-1].partition(".service: ")[2].split()[0]) <= 3, lines[-1]
