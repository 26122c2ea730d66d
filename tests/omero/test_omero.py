"""OMERO.server as its clients, and everyone else, sees it."""

import re
import shlex
import xml.etree.ElementTree
from datetime import datetime, timedelta

import pytest
from conftest import check_mounts, check_unit

testinfra_hosts = ["ansible://omero"]
pytestmark = pytest.mark.unit("omero-server")

# As IceGrid calls what OMERO calls otherwise.
PROCESSES = {"Storm": "OMERO.IceStorm"}
# An ERROR of so many seconds after Blitz is ready belongs to the start: nobody has asked for anything yet, and what
# Blitz looks for in vain (a repository, IceStorm) is looked for at once. That scripts cannot be parsed yet
# (ParamsCache) is no fault: Processor comes ten seconds later; nor that the check for newer versions (UpgradeCheck)
# gets no answer.
START = 15
HARMLESS = ("ParamsCache", "UpgradeCheck")
LOGGED_ERROR = re.compile(r"[\d-]+ [\d:,]+ ERROR\b")


@pytest.fixture
def folder(variables):
    """Return the folder of the releases, their virtualenv and configuration."""
    return variables["omero_server_dir"]


def test_starts_at_boot(host, variables):
    """OMERO.server runs with the site's limits, starts at boot, and refuses to start without its volume."""
    service = host.service("omero-server")
    assert service.is_running, "it does not run"
    assert service.is_enabled
    check_mounts(host, "omero-server")
    check_unit(host, "omero-server", variables["omero_server_service_settings"])


def test_processes(host, folder):
    """Every process that the settings name is active, and the router."""
    text = host.file(f"{folder}/OMERO.server/etc/grid/config.xml").content_string
    found = re.findall(r'name="omero.server.nodedescriptors" value="master:([^"]+)"', text)
    assert found, "omero.server.nodedescriptors names none"
    names = ["OMERO.Glacier2", *(PROCESSES.get(each, each) for each in found[-1].split(","))]
    path = re.search(
        r"(?:^| )PATH=(\S+)", host.check_output("systemctl show omero-server --property=Environment --value")
    )
    command = f"PATH={path[1]} icegridadmin --Ice.Config={folder}/OMERO.server/etc/internal.cfg -e %s"
    seen = host.check_output(command, "; ".join(f"server state {each}" for each in names)).splitlines()
    states = dict(zip(names, seen, strict=True))
    wrong = {name: state for name, state in states.items() if not state.startswith("active ")}
    assert not wrong, f"not active: {wrong}"


def test_log(host, folder):
    """Blitz logs no error while it starts."""
    lines = host.check_output(f"cat {folder}/var/log/Blitz-0.log").splitlines()
    starts = [index for index, line in enumerate(lines) if "Creating OMERO.blitz" in line]
    if not starts:
        pytest.skip("the log of the start is archived by now")
    lines = lines[starts[-1] :]
    ready = next((line for line in lines if "now accepting connections" in line), lines[0])
    end = time_of(ready) + timedelta(seconds=START)
    errors = [line for line in lines if LOGGED_ERROR.match(line) and time_of(line) < end]
    errors = [line for line in errors if not any(word in line for word in HARMLESS)]
    assert not errors, "; ".join(line[:200] for line in errors[:5])


def time_of(line):
    """Return when a line of Blitz' log was written (datetime)."""
    return datetime.strptime(line[:19], "%Y-%m-%d %H:%M:%S")


def test_login(login, variables):
    """A user logs in over TLS at the server's address on the network, and out again."""
    seen = login(variables["omero_public_user"], variables["omero_public_password"])
    assert seen.returncode == 0, (seen.stderr or seen.stdout).strip()
    assert variables["omero_public_user"] in seen.stdout


def test_administrator(login, variables):
    """OMERO's administrator has the generated password."""
    seen = login("root", variables["omero_root_password"])
    assert seen.returncode == 0, (seen.stderr or seen.stdout).strip()


def test_wrong_password(login, variables):
    """A wrong password is refused."""
    seen = login(variables["omero_public_user"], "wrong")
    assert seen.returncode != 0, "the server took it"
    assert "Password check failed" in seen.stderr + seen.stdout, (seen.stderr or seen.stdout).strip()


def test_no_default_password(login):
    """OMERO's well-known default password is refused."""
    seen = login("root", "omero")
    assert seen.returncode != 0, "the server took it"
    assert "Password check failed" in seen.stderr + seen.stdout, (seen.stderr or seen.stdout).strip()


def test_certificate(host, asker, variables, folder):
    """The server shows its own certificate, over TLS 1.2 or newer, and speaks with nobody anonymously."""
    server, port = variables["internal_address"], variables["network_services"]["omero"]["port"]
    code = f"import ssl; print(ssl.get_server_certificate(({server!r}, {port})))"
    shown = asker.check_output("python3 -c %s", code)
    # In a chain, the server's own certificate is the first.
    own = host.file(f"{folder}/certificates/server.pem").content_string.partition("-----END")[0]
    assert shown.partition("-----END")[0].strip() == own.strip()
    anonymous = f"openssl s_client -connect {server}:{port} -tls1_2 -cipher aNULL:@SECLEVEL=0 < /dev/null"
    assert asker.run(anonymous).rc != 0, "it took an anonymous cipher"
    old = f"openssl s_client -connect {server}:{port} -tls1_1 -cipher DEFAULT:@SECLEVEL=0 < /dev/null"
    assert asker.run(old).rc != 0, "it took TLS 1.1"


def test_upgrade_check(host, variables, folder):
    """Nobody is told which version runs, unless the site says whom: `omero admin diagnostics` asks the host itself."""
    if variables["omero_server_upgrades_url"]:
        pytest.skip("the site asks for newer versions")
    # What the command would ask, without asking.
    code = (
        "from omero.config import ConfigXml; from omero.plugins.prefs import WriteableConfigControl as Control;"
        " from omero.util.upgrade_check import UpgradeCheck; UpgradeCheck.run = lambda self: None;"
        f" config = ConfigXml({f'{folder}/OMERO.server/etc/grid/config.xml'!r}, read_only=True);"
        " print(Control.run_upgrade_check(None, config, 'diagnostics').url)"
    )
    command = f"runuser --user=%s -- env OMERODIR={folder}/OMERO.server {folder}/venv/bin/python -c %s"
    assert host.check_output(command, variables["omero_system_user"], code) == "file:///dev/null"


@pytest.fixture
def elsewhere(variables, outside):
    """Return a function from a port that nobody may reach to an Outsider, one of the server's clients if possible."""
    clients = {name for group in ("omero_client", "web") for name in variables["groups"].get(group, [])}
    return lambda port: max(outside(port), key=lambda other: other.name in clients)


def test_without_tls(elsewhere):
    """The port without TLS is out of reach."""
    other = elsewhere(4063)
    assert not other.reaches(4063), f"port 4063 answers {other.name}"


def test_internal_ports(host, elsewhere, variables):
    """What the server's processes listen on for each other, without a password, is out of reach for other hosts."""
    lines = host.check_output("ss --no-header --listening --tcp --numeric").splitlines()
    ports = {
        int(line.split()[3].rpartition(":")[2]) for line in lines if not line.split()[3].startswith(("127.", "[::1]"))
    }
    inside = sorted(ports - {each["port"] for each in variables["network_services"].values()})
    assert inside, "no process listens for the others"
    open_ports = [port for port in inside[-2:] if elsewhere(port).reaches(port)]
    assert not open_ports, f"open: {open_ports}"


def test_other_hosts(variables, outside):
    """Hosts that the group model does not name do not reach OMERO.server."""
    port = variables["network_services"]["omero"]["port"]
    for other in outside(port):
        assert not other.reaches(port), f"{other.name} reached it"


def test_least_privilege(host, variables, folder):
    """The server runs as its own user, and others on the host cannot read its secrets."""
    user = variables["omero_system_user"]
    owners = set(host.check_output("ps -o user= -C icegridnode,glacier2router | sort -u").split())
    assert owners == {user}, f"it runs as {owners}"
    files = ("OMERO.server/etc/grid/config.xml", "certificates/server.p12", "config/10-vitrine.omero")
    for path in (f"{folder}/{name}" for name in files):
        assert host.file(path).size > 0
        assert host.run(f"runuser --user=nobody -- cat {path}").rc != 0, f"{path} is readable for others"


def test_confined(host, variables):
    """The server may write where it must and nowhere else, and opens as many files as OMERO wants, or as the site says."""
    wanted = {"LimitNOFILE": "16384", "UMask": "0027", "NoNewPrivileges": "yes", "ProtectSystem": "strict"}
    # What the site sets itself, systemd may show in another notation (32K as 32768).
    wanted = {name: value for name, value in wanted.items() if name not in variables["omero_server_service_settings"]}
    if not wanted:
        pytest.skip("omero_server_service_settings sets all of these itself")
    shown = host.check_output("systemctl show omero-server --property=%s", ",".join(wanted)).splitlines()
    assert dict(line.split("=", 1) for line in shown) == wanted


def test_release(host, variables, folder):
    """OMERO.server is a release unpacked beside others, and not writable for the user that runs it."""
    home = f"{folder}/OMERO.server"
    assert host.file(home).is_symlink
    command = f"runuser --user=%s -- find {home}/lib {home}/sql -writable ! -type l"
    writable = host.check_output(command, variables["omero_system_user"])
    assert writable == "", f"writable: {writable}"


def test_configuration(host, folder):
    """The server's settings are those of the inventory, and no other."""
    changed = [name for name in host.check_output(f"ls {folder}/config").split() if name != "10-vitrine.omero"]
    if host.run(f"sha1sum --check --quiet --strict {folder}/config.sha1").rc != 0:
        changed.append("10-vitrine.omero")
    lines = host.check_output(f"cat {folder}/config/*.omero").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines]
    wanted = {words[3]: words[4] for words in commands if words[:3] == ["config", "set", "--"]}
    assert wanted, "no setting was found"
    # As `omero config get` reads it, which would write the file anew.
    profiles = xml.etree.ElementTree.fromstring(host.file(f"{folder}/OMERO.server/etc/grid/config.xml").content_string)  # noqa: S314 (our own)
    found = {each.get("name"): each.get("value") for each in profiles.find("properties[@id='default']")}
    del found["omero.config.version"]
    changed += sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    # Names alone: passwords are among the values.
    assert not changed, f"changed by hand: {', '.join(changed)}"
