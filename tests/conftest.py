"""What the gates share: the promise and the journal in each report, and ways to reach the other hosts of the run."""

import base64
import contextlib
import dataclasses
import ipaddress
import json
import pathlib
import shlex
import socket
import subprocess
import time
from types import SimpleNamespace

import pytest
import testinfra
import yaml

# Fixtures for the scenarios that break things.
from faults import container, machine, reboot
from jinja2 import Environment, StrictUndefined
from plates import write_plate

__all__ = ["container", "machine", "reboot"]


ROLES = pathlib.Path(__file__).resolve().parents[1] / "roles"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Add host, groups, promise (the check's docstring) and, when it failed, its unit's journal to the report."""
    host = getattr(item, "funcargs", {}).get("host")
    if call.when == "setup":
        item.user_properties.append(("promise", promise_of(item)))
        item.user_properties.append(("groups", groups_of(item)))
        if host is not None:
            item.user_properties.append(("host", host.backend.hostname))
    marker = item.get_closest_marker("unit")
    if call.when == "call" and call.excinfo and marker and host is not None:
        item.user_properties.append(("journal", journal_of(host, marker.args[0])))
    return (yield)


def promise_of(item):
    """Return the first line of a check's docstring, with its parameters' values."""
    promise = (item.function.__doc__ or item.name).strip().splitlines()[0].rstrip(".")
    values = {
        name: value
        for name, value in getattr(getattr(item, "callspec", None), "params", {}).items()
        if name != "_testinfra_host"
    }
    return promise.format(**values) if values else promise


def groups_of(item):
    """Return the groups on whose hosts a check runs (list of str)."""
    return [name.removeprefix("ansible://") for name in getattr(item.module, "testinfra_hosts", [])]


def journal_of(host, unit):
    """Return the last ten lines that a systemd unit wrote on a host."""
    return host.run("journalctl --unit=%s --lines=10 --no-pager --output=short", unit).stdout


@pytest.fixture(scope="session")
def reach(request):
    """Return a function from a host's name to the Testinfra host of this run."""
    inventory = request.config.getoption("--ansible-inventory")
    return lambda name: testinfra.get_host(f"ansible://{name}", ansible_inventory=inventory)


@pytest.fixture
def variables(host):
    """Return the variables that the run has for the host under test."""
    return host.ansible.get_variables()


def names_of(host, role, **values):
    """Return what a host's distribution calls what a role needs, from the files that the role itself loads.

    Args:
        host: Testinfra host.
        role: str, such as "omero_web".
        values: what the files' templates ask for.

    Returns:
        dict from a name without the role's, such as "redis_service", to its value.
    """
    name, release = host.system_info.distribution.capitalize(), host.system_info.release
    major = release.split(".")[0]
    # As role distribution loads them: the family's, then what differs in a version. Whatever is none of Debian's kin
    # has RHEL's names, or none.
    family = "Debian" if name in ("Debian", "Ubuntu") else "RedHat"
    folder = ROLES / role / "vars"
    raw = yaml.safe_load((folder / f"{family}.yml").read_text())
    for stem in dict.fromkeys([f"{family}-{major}", f"{name}-{major}", f"{name}-{release}"]):
        if (path := folder / f"{stem}.yml").exists():
            raw |= yaml.safe_load(path.read_text())
    fill = Environment(undefined=StrictUndefined, autoescape=False).from_string  # noqa: S701 (names, no pages)
    return {
        key.removeprefix(f"__{role}_"): fill(value).render(values) if isinstance(value, str) else value
        for key, value in raw.items()
    }


@pytest.fixture
def outsiders(variables):
    """Return a function from clients, as in network_services, to the names of the hosts that are not among them."""

    def names(*clients):
        groups = variables["groups"]
        inside = {name for client in clients for name in groups.get(client, [])}
        inside |= {name for name, address in variables["site_addresses"].items() if may_connect(address, clients)}
        return [name for name in groups["hosts"] if name not in inside]

    return names


@dataclasses.dataclass(frozen=True)
class Outsider:
    """A host that must not be able to connect to a service.

    Attributes:
        name: str, for messages.
        host: Testinfra host that tries to connect.
        address: str, where this host finds the host with the service.
    """

    name: str
    host: object
    address: str

    def reaches(self, port):
        """Tell whether a port (int) can be reached within a second; a firewall that drops packets does not answer."""
        return can_connect(self.host, self.address, port, 1)


@pytest.fixture
def outside(variables, outsiders, reach):
    """Return a function that finds the hosts that may not connect, by the group model, to a port (int) of a host (str).

    By default, that host is the one under test. The function returns a list of Outsider: all other hosts of the site
    that may not connect, or else the controller. If the controller cannot tell either, or if everyone may connect, the
    check is skipped with the reason.
    """

    def find(port, target=variables["inventory_hostname"]):
        own = variables if target == variables["inventory_hostname"] else reach(target).ansible.get_variables()
        clients = [client for service in services_of(own) if service["port"] == port for client in service["clients"]]
        if "world" in clients:
            pytest.skip(f"the site opens port {port} to everyone")
        names = [name for name in outsiders(*clients) if name != target]
        others = [Outsider(name, reach(name), own["internal_address"]) for name in names]
        return others or [controller_outside(own, clients)]

    return find


def services_of(variables):
    """Return the services of a host that the group model opens to others.

    Args:
        variables: dict, the host's.

    Returns:
        A list of dict, as in network_services.
    """
    public = variables["public_ice_services"] if variables["site_public_ice"] else {}
    return [
        service
        for service in (variables["network_services"] | public).values()
        if variables["inventory_hostname"] in variables["groups"].get(service["group"], [])
    ]


def may_connect(address, clients):
    """Tell whether an address is among those clients that are addresses or networks.

    Args:
        address: str.
        clients: iterable of str; names of groups are ignored.

    Returns:
        bool.
    """
    for client in clients:
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(address) in ipaddress.ip_network(client):
                return True
    return False


def controller_outside(own, clients):
    """Return the controller as an Outsider, or skip the check if a refused connection would prove nothing.

    Args:
        own: dict, the variables of the host with the service.
        clients: iterable of str: the groups, addresses and networks that may connect.
    """
    name, hosts = own["inventory_hostname"], own["site_addresses"].values()
    world = [service["port"] for service in services_of(own) if "world" in service["clients"]]
    controller = testinfra.get_host("local://")
    reason = f"does not reach {name} at {own['internal_address']}"
    for address in dict.fromkeys([own["internal_address"], own.get("ansible_host", name)]):
        source = source_towards(address)
        if source is None:
            continue
        if source in hosts or ipaddress.ip_address(source).is_loopback:
            reason = "is a host of the site itself"
        elif may_connect(source, clients):
            reason = "may connect"
        # A closed port proves something only if another port of the host can be reached.
        elif any(can_connect(controller, address, port) for port in world):
            return Outsider("the controller", controller, address)
    pytest.skip(f"no other host of the site can try, and the controller {reason}")


def source_towards(address):
    """Return the controller's address (str) from which it would reach another (str), or None without a route."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # Sends nothing.
            probe.connect((address, 9))
            return probe.getsockname()[0]
    except OSError:
        return None


@pytest.fixture
def visitor(variables, outsiders, reach):
    """Return the host that acts as a visitor: one without special access to the proxy, or else the controller.

    If the public address does not answer the controller, as behind a bastion, it is the proxy's own host.
    """
    if names := outsiders("proxy", "web"):
        return reach(names[0])
    controller = testinfra.get_host("local://")
    open_there = can_connect(controller, variables["site_public_name"], variables["network_services"]["https"]["port"])
    return controller if open_there else reach(variables["inventory_hostname"])


def run_with_input(host, command, text):
    """Run a command on a host with `text` on its standard input: the way for secrets, which no process list shows.

    Args:
        host: Testinfra host, reached over SSH, or the controller.
        command: str, a shell command.
        text: str, its standard input.

    Returns:
        subprocess.CompletedProcess with text output.
    """
    if host.backend.NAME == "local":
        return subprocess.run(
            ["sh", "-c", command], input=text, capture_output=True, text=True, check=False, timeout=120
        )
    backend = host.backend.ansible_runner.get_host(host.backend.hostname).backend
    ssh, arguments = backend._build_ssh_command(backend.get_command(command))
    return subprocess.run(
        shlex.split(backend.quote(" ".join(ssh), *arguments)),
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def omero_client(variables, reach):
    """Return a host with the omero command line, if possible another one than the host under test."""
    names = variables["groups"].get("omero_client", [])
    if not names:
        pytest.skip("the site has no host with the omero command line (group omero_client)")
    return reach(min(names, key=lambda name: name == variables["inventory_hostname"]))


@pytest.fixture
def asker(variables, reach):
    """Return the host that connects to the OMERO.server under test: a client's host, or else the server's own."""
    names = [*variables["groups"].get("omero_client", []), *variables["groups"].get("web", [])]
    own = variables["inventory_hostname"]
    return reach(min(names, key=lambda name: name == own, default=own))


@pytest.fixture
def login(request, host, variables):
    """Return a function that logs in at the server's address on the network, and out again.

    Runs on another host, if one has the omero command line, or else on the server itself. The password goes by
    standard input.
    """
    place = f"{variables['inventory_hostname']}:{variables['network_services']['omero']['port']}"
    if variables["groups"].get("omero_client"):
        client = request.getfixturevalue("omero_client")
        return lambda user, password: run_omero(client, place, user, password, "sessions who")
    home, account = variables["omero_server_dir"], variables["omero_system_user"]
    own = f"env OMERODIR={home}/OMERO.server {home}/venv/bin/omero"
    return lambda user, password: run_omero(host, place, user, password, "sessions who", account, own)


def run_omero(client, place, user, password, command, account="nobody", omero="omero"):
    """Log in with the omero command line, run one of its commands, and log out.

    Args:
        client: Testinfra host with the command line.
        place: str, host:port of the server, or a wss:// address.
        user: str.
        password: str; it goes by standard input.
        command: str, such as "sessions who", or a list of such; what follows one that fails is not run.
        account: str, the system user that runs the command line.
        omero: str, the shell command that starts the command line.

    Returns:
        subprocess.CompletedProcess with text output.
    """
    address, _, port = (place, "", "") if place.startswith("wss:") else place.rpartition(":")
    omero = f"runuser --user={account} --preserve-environment -- {omero}"
    script = "; ".join(
        [
            "set -e",
            "OMERO_USERDIR=$(mktemp --directory)",
            "trap 'rm -r $OMERO_USERDIR' EXIT",
            f"chown {account} $OMERO_USERDIR",
            "OMERO_PASSWORD=$(cat)",
            "export OMERO_PASSWORD OMERO_USERDIR",
            f"{omero} login --quiet --server {address} {'--port ' + port if port else ''} --user {user}",
            *[f"{omero} {each}" for each in ([command] if isinstance(command, str) else command)],
            f"{omero} logout",
        ]
    )
    return run_with_input(client, script, password)


# A script of a user: each ends by printing what it found as JSON; the password comes by standard input.
BEGIN = """
import json, pathlib, sys, tempfile
import ezomero, numpy, omero
from omero.gateway import BlitzGateway
server, port, user, given = json.loads(sys.argv[1])
password = sys.stdin.read()
connection = BlitzGateway(user, password, host=server, port=port, secure=True)
if not connection.connect():
    sys.exit("cannot log in")
def refused(work):
    try:
        work()
    except Exception as error:
        return type(error).__name__
"""
END = """
connection.close()
print(json.dumps(result))
"""


@pytest.fixture
def script(omero_client, variables):
    """Return a function that runs a script as a user with what it is given; it returns what the script found.

    The server is the one that clients are told, or another that is named.

    It waits for a server that starts with its host.
    """

    def run(who, body, given=None, server=variables["omero_endpoint"]):
        arguments = json.dumps(
            [server, variables["network_services"]["omero"]["port"], variables[f"omero_{who}_user"], given]
        )
        python = f"{variables['omero_client_virtualenv']}/bin/python"
        command = f"{python} -c {shlex.quote(BEGIN + body + END)} {shlex.quote(arguments)}"
        end = time.monotonic() + 180
        while True:
            done = run_with_input(omero_client, command, variables[f"omero_{who}_password"])
            if "cannot log in" not in done.stderr or time.monotonic() > end:
                break
            time.sleep(1)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.strip().splitlines()[-1])

    return run


@pytest.fixture
def omero_import(variables, reach):
    """Return a function that runs `omero import` on the OMERO.server that writes, as its user, logged in as somebody.

    It takes a target (str), a path (str) and who it is in the inventory, such as "public"; it returns a
    subprocess.CompletedProcess.
    """
    server = reach(variables["groups"]["omero_readwrite"][0])
    home = variables["omero_server_dir"]
    path = f"{home}/venv/bin:{home}/OMERO.server/tools/bin:/usr/bin:/bin"

    def run(target, path_of_file, who="curator"):
        login = f"--server=localhost --user={variables[f'omero_{who}_user']}"
        command = f"omero import {login} --transfer=ln_s --target={shlex.quote(target)} {shlex.quote(path_of_file)}"
        script = (
            "DIR=$(mktemp --directory); trap 'rm -r $DIR' EXIT; cd $DIR; OMERO_PASSWORD=$(cat); export OMERO_PASSWORD;"
            f" env OMERODIR={home}/OMERO.server OMERO_USERDIR=$DIR PATH={path} {command}"
        )
        shell = f"runuser --user={variables['omero_system_user']} -- bash -c {shlex.quote(script)}"
        return run_with_input(server, shell, variables[f"omero_{who}_password"])

    return run


@pytest.fixture
def put(variables, reach):
    """Return a function that puts bytes into a file of this name on the OMERO.server that writes."""
    with writer(reach(variables["groups"]["omero_readwrite"][0])) as write:
        yield write


@pytest.fixture
def put_at_client(omero_client):
    """Return a function that puts bytes into a file of this name on a host of clients."""
    with writer(omero_client) as write:
        yield write


@contextlib.contextmanager
def writer(host):
    """Give a function that puts bytes into a file of this name on a host and returns its path; take it away then."""
    made = host.check_output("mktemp --directory /run/vitrine-import-XXXXXX")
    host.check_output("chmod 755 %s", made)

    def write(name, content):
        path = f"{made}/{name}"
        done = run_with_input(host, f"base64 --decode > {shlex.quote(path)}", base64.b64encode(content).decode())
        assert done.returncode == 0, done.stderr
        return path

    yield write
    host.check_output("rm --recursive %s", made)


@pytest.fixture
def plate(put, tmp_path):
    """Return a function that puts a plate there (plates.py), its OME-XML altered by a function; it returns the path."""

    def write(change=None):
        write_plate(tmp_path / "plate.ome.tif", change)
        return put("plate.ome.tif", (tmp_path / "plate.ome.tif").read_bytes())

    return write


def can_connect(host, address, port, seconds=3):
    """Tell whether a host gets a TCP connection.

    Args:
        host: Testinfra host that tries.
        address: str, name or address.
        port: int.
        seconds: int, how long it tries; a firewall that drops says nothing.

    Returns:
        bool.
    """
    code = f"import socket; socket.create_connection(({address!r}, {port}), {seconds}).close()"
    return host.run("python3 -c %s", code).rc == 0


def check_mounts(host, unit):
    """Check that a unit's data are where they should be, and that systemd asks for that before each start.

    Args:
        host: Testinfra host.
        unit: str, a systemd service without `.service`, as role mount_guard knows it.

    Raises:
        AssertionError: with what the guard says.
    """
    asks = host.check_output("systemctl show --property=ExecCondition %s.service", unit)
    assert "vitrine-mount-guard" in asks, f"{unit} would start on whatever is mounted"
    seen = host.run("vitrine-mount-guard /etc/vitrine/mounts/%s.json", unit)
    assert seen.rc == 0, seen.stderr.strip()


def check_unit(host, unit, settings):
    """Check that the site's settings of a unit override all others, and that systemd has read them.

    Args:
        host: Testinfra host.
        unit: str, a systemd service without `.service`.
        settings: dict from names of the section [Service] to a value or a list of them.

    Raises:
        AssertionError: The unit has other settings, which the message lists.
    """
    lines = host.check_output("systemctl cat %s.service", unit).splitlines()
    for name, value in settings.items():
        wanted = [f"{name}={each}" for each in (value if isinstance(value, list) else [value])]
        seen = [line for line in lines if line.startswith(f"{name}=")]
        assert seen[-len(wanted) :] == wanted, f"{unit}: {seen}"
    if settings:
        assert host.check_output("systemctl show --property=NeedDaemonReload --value %s.service", unit) == "no"


# Runs on the asking host with nothing but Python's standard library; a redirect is an answer, not a way to go.
FETCH = """
import http.client, json, socket, ssl, sys
ask = json.load(sys.stdin)
if ask["tls"]:
    # With cadata= it would not load the authorities of the system.
    context = ssl.create_default_context()
    if ask["trust"]:
        context.load_verify_locations(cadata=ask["trust"])
    connection = http.client.HTTPSConnection(ask["address"], ask["port"], timeout=60, context=context)
else:
    connection = http.client.HTTPConnection(ask["address"], ask["port"], timeout=60)
connection.request(ask["method"], ask["path"], body=ask["body"] or None, headers=ask["headers"])
answer = connection.getresponse()
body = answer.read().decode("utf-8", "replace")
headers = {name.lower(): ", ".join(answer.headers.get_all(name)) for name in answer.headers}
json.dump({"status": answer.status, "headers": headers, "body": body}, sys.stdout)
"""


def fetch(host, address, port, path, *, tls=False, trust="", method="GET", headers=None, body=""):
    """Ask a web server from a host, as a visitor would.

    Args:
        host: Testinfra host that tries to connect.
        address: str, name or address of the server.
        port: int.
        path: str, with its query.
        tls: bool, whether to speak TLS; the certificate is always checked.
        trust: str, a PEM certificate to trust beside the system's.
        method: str.
        headers: dict of str to str.
        body: str, what is sent.

    Returns:
        SimpleNamespace with status (int), headers (dict, names in lower case) and body (str).

    Raises:
        AssertionError: when there was no answer; its text is what the asking host saw.
    """
    ask = {"address": address, "port": port, "path": path, "tls": tls, "trust": trust, "method": method, "body": body}
    run = run_with_input(host, f"python3 -c '{FETCH}'", json.dumps(ask | {"headers": headers or {}}))
    lines = run.stderr.strip().splitlines()
    assert run.returncode == 0, f"no answer from {address}:{port}{path}: {lines[-1] if lines else 'silence'}"
    return SimpleNamespace(**json.loads(run.stdout))
