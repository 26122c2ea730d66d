"""JupyterHub as its users see it, through the site's proxy, and what must stay closed to them and to everyone."""

import concurrent.futures
import contextlib
import json
import pathlib
import secrets
import socket
import ssl
import time
import urllib.parse

import pytest
import requests
import urllib3
import websocket
from conftest import can_connect, check_unit, run_with_input

testinfra_hosts = ["ansible://jupyterhub"]
# The host for the report's sake: several checks only ask from the controller.
pytestmark = [pytest.mark.unit("jupyterhub"), pytest.mark.usefixtures("host")]

SERVICES = ["jupyterhub", "jupyterhub-proxy", "jupyterhub-idle-culler"]

# What a user's own settings can add: a page without a login that sends any headers. For the gate's own account only,
# and for ten minutes.
STRANGE = """
import time
from jupyter_server.files import handlers
from tornado.web import RequestHandler

class Strange(RequestHandler):
    def get(self):
        for name, value in HEADERS:
            self.add_header(name, value)
        self.write("strange")

if time.time() < UNTIL:
    handlers.default_handlers.insert(0, ("/strange", Strange))
"""
# Each acts on the host name, on nginx or on other pages, rather than on the answer alone.
STRANGE_HEADERS = {
    "Service-Worker-Allowed": "/",
    "Clear-Site-Data": '"cookies"',
    "Strict-Transport-Security": "max-age=1",
    "Access-Control-Allow-Origin": "https://strange.invalid",
    "Alt-Svc": "clear",
    "Refresh": "9999; url=/strange",
    "X-Accel-Redirect": "/robots.txt",
    "X-Accel-Expires": "1",
    "X-Strange": "1",
}


class Client:
    """A browser of the hub: one user's cookies, nothing else."""

    def __init__(self, url, user):
        """Take the hub's address, with a slash at the end, and the user's name."""
        self.url = url
        self.user = user
        self.kernel = ""
        self.page = None
        self.session = requests.Session()
        # Whose certificate it is, is the proxy's gate's to ask; nor has the controller's own way out to do with it.
        self.session.verify = False
        self.session.trust_env = False
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def call(self, method, path, **options):
        """Send a request as the hub's pages do, with the token against cross-site requests; returns the response."""
        url = self.url + path
        # The hub and each server have a token of their own; the one with the longest path is the nearest.
        tokens = [cookie for cookie in self.session.cookies if cookie.name == "_xsrf" and url.partition(cookie.path)[1]]
        headers = {"Referer": self.url}
        if tokens:
            headers["X-XSRFToken"] = max(tokens, key=lambda cookie: len(cookie.path)).value
        return self.session.request(method, url, headers=headers, timeout=30, **options)

    def log_in(self, password):
        """Fill in the login form; returns the response to it."""
        self.call("GET", "hub/login")
        return self.call("POST", "hub/login", data={"username": self.user, "password": password}, allow_redirects=False)

    def servers(self):
        """Return the user's servers as the hub knows them: a dict, empty when none runs."""
        return self.call("GET", f"hub/api/users/{self.user}").json()["servers"]

    def start(self):
        """Start the user's server and wait until it is ready."""
        answer = self.call("POST", f"hub/api/users/{self.user}/server")
        # 400: one runs already, left by a gate that was interrupted.
        assert answer.status_code in (201, 202, 400), f"{answer.status_code}: {answer.text[:200]}"
        wait_for(lambda: self.servers().get("", {}).get("ready"), f"{self.user}'s server did not become ready")

    def stop(self):
        """Stop the user's server and wait until it is gone."""
        answer = self.call("DELETE", f"hub/api/users/{self.user}/server")
        assert answer.status_code in (202, 204), f"{answer.status_code}: {answer.text[:200]}"
        wait_for(lambda: not self.servers(), f"{self.user}'s server did not stop")

    def compute(self, code):
        """Run a cell in the kernel of the user's server, which goes with it; returns what the cell printed."""
        if not self.kernel:
            answer = self.call("POST", f"user/{self.user}/api/kernels")
            assert answer.status_code == 201, f"no kernel: {answer.status_code} {answer.text[:200]}"
            self.kernel = answer.json()["id"]
        url = f"{self.url}user/{self.user}/api/kernels/{self.kernel}/channels"
        request = requests.Request("GET", url)
        header = requests.cookies.get_cookie_header(self.session.cookies, request.prepare())
        connection = websocket.create_connection(
            url.replace("https://", "wss://", 1),
            cookie=header,
            origin="https://" + urllib.parse.urlsplit(url).netloc,
            http_no_proxy=["*"],
            sslopt={"cert_reqs": ssl.CERT_NONE, "check_hostname": False},
            timeout=20,
        )
        with contextlib.closing(connection):
            message = {
                "header": {
                    "msg_id": secrets.token_hex(16),
                    "msg_type": "execute_request",
                    "session": secrets.token_hex(16),
                    "username": self.user,
                    "version": "5.3",
                },
                "parent_header": {},
                "metadata": {},
                "channel": "shell",
                "content": {"code": code, "silent": False, "store_history": False, "allow_stdin": False},
            }
            connection.send(json.dumps(message))
            printed = ""
            while True:
                answer = json.loads(connection.recv())
                if answer["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                    continue
                content = answer["content"]
                if answer["msg_type"] == "stream":
                    printed += content["text"]
                elif answer["msg_type"] == "error":
                    pytest.fail(f"the cell failed: {content['ename']}: {content['evalue']}")
                elif answer["msg_type"] == "status" and content["execution_state"] == "idle":
                    return printed


def wait_for(condition, otherwise, seconds=60):
    """Ask until a condition holds; fail, saying `otherwise`, when it does not within some seconds."""
    for _ in range(seconds * 2):
        if condition():
            return
        time.sleep(0.5)
    pytest.fail(otherwise)


def together(action, clients):
    """Call a method of each client at once, and wait for all: starting and stopping is mostly waiting."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for done in [pool.submit(action, client) for client in clients]:
            done.result()


@pytest.fixture(scope="module")
def settings(host):
    """Return the variables that the run has for the host."""
    return host.ansible.get_variables()


@pytest.fixture(scope="module", autouse=True)
def names(settings):
    """Resolve names that the controller does not know as the hosts do (name_resolution_addresses)."""
    known, ask = settings["name_resolution_addresses"], socket.getaddrinfo

    def find(name, *more, **options):
        try:
            return ask(name, *more, **options)
        except socket.gaierror:
            if name not in known:
                raise
            return ask(known[name], *more, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", find)
        yield


@pytest.fixture(scope="module")
def client(settings):
    """Return a function that makes a client for one of the gate's two accounts, and its password."""
    users = settings["jupyterhub_gate_users"]
    if not users:
        pytest.skip("jupyterhub_gate_users is empty: nobody to log in as")

    def make(number):
        folder = pathlib.Path(settings["jupyterhub_passwords_dir"])
        return Client(settings["site_jupyterhub_url"], users[number]), (folder / users[number]).read_text().strip()

    return make


@pytest.fixture(scope="module")
def strange(host, settings, client):
    """Let the second account's server, once it starts, have a page that sends what the site must not let through."""
    user = client(1)[0].user
    home = f"{settings['jupyterhub_data_dir']}/home/{user}"
    path = f"{home}/.jupyter/jupyter_server_config.py"
    headers = [*STRANGE_HEADERS.items(), *[("Set-Cookie", cookie) for cookie in strange_cookies(user)]]
    code = STRANGE.replace("HEADERS", repr(headers)).replace("UNTIL", str(time.time() + 600))
    done = run_with_input(host, f"runuser --user={user} -- sh -c 'mkdir -p {home}/.jupyter && cat > {path}'", code)
    assert done.returncode == 0, done.stderr
    yield
    host.check_output("runuser --user=%s -- rm %s", user, path)


def strange_cookies(user):
    """Return cookies that a user's server may not set, and the last one, which it may."""
    places = ["/", "/jupyter/", "/jupyter/hub/", f"/jupyter/user/{user}/; Domain=strange.invalid"]
    return [f"strange-{number}=1; Path={place}" for number, place in enumerate([*places, f"/jupyter/user/{user}/"])]


@pytest.fixture(scope="module")
def running(client, strange):
    """Return both accounts' clients, logged in at a server each; the servers are gone afterwards."""
    clients = []
    try:
        for number in (0, 1):
            user, password = client(number)
            answer = user.log_in(password)
            assert answer.status_code == 302, f"{user.user} could not log in: {answer.status_code}"
            clients.append(user)
        together(Client.start, clients)
        # The server, too, wants to know who comes: its page has the browser logged in.
        for user in clients:
            user.page = user.call("GET", f"user/{user.user}/lab")
        yield clients
    finally:
        together(Client.stop, [user for user in clients if user.servers()])


@pytest.fixture(scope="module")
def unit(host):
    """Return a function from a user's name to the properties of the systemd service that is that user's server."""

    def properties(name):
        lines = host.check_output("systemctl show jupyter-%s-singleuser.service", name).splitlines()
        return dict(line.partition("=")[::2] for line in lines)

    return properties


@pytest.mark.parametrize("service", SERVICES)
def test_starts_at_boot(host, variables, service):
    """The service {service} runs with the site's limits and starts at boot."""
    assert host.service(service).is_running, "it does not run"
    assert host.service(service).is_enabled
    check_unit(host, service, variables["jupyterhub_service_settings"] if service == "jupyterhub" else {})


def test_wrong_password(client):
    """A wrong password is refused."""
    user, password = client(0)
    answer = user.log_in("wrong")
    assert answer.status_code == 403, f"the hub answered {answer.status_code}"
    assert user.call("GET", "hub/api/user").status_code in (401, 403), "yet the hub let it in"
    assert user.log_in(password).status_code == 302, "the right password was refused as well"


def test_no_account_for_others(client):
    """Nobody can sign up, and an account of the host that is not a user of the hub cannot log in."""
    user, _ = client(0)
    answer = user.call("GET", "hub/signup")
    assert answer.status_code in (403, 404), f"the page to sign up: {answer.status_code}"
    user.user = "root"
    answer = user.log_in("")
    assert answer.status_code == 403, f"root's login: {answer.status_code}"


def test_computes(running):
    """A user logs in over HTTPS, gets JupyterLab, and a cell computes."""
    visitor = running[0]
    assert visitor.page.status_code == 200, f"JupyterLab's page: {visitor.page.status_code}"
    assert "jupyter-config-data" in visitor.page.text, "the page is not JupyterLab's"
    printed = visitor.compute("print(6 * 7)")
    assert printed.strip() == "42", f"6 * 7 printed {printed!r}"


def test_cookies_over_tls_only(running):
    """Browsers send no cookie of the hub or of a user's server without TLS."""
    for user in running:
        names = {cookie.name for cookie in user.session.cookies}
        assert {"_xsrf", "jupyterhub-hub-login", f"jupyterhub-user-{user.user}"} <= names, sorted(names)
        assert not [cookie.name for cookie in user.session.cookies if not cookie.secure]


def test_strange_answers(running):
    """A user's server cannot act on the site's host name: what it sends beyond its own pages is dropped."""
    visitor, neighbour = running
    answer = visitor.call("GET", f"user/{neighbour.user}/strange")
    assert answer.status_code == 200, answer.status_code
    assert answer.text == "strange", f"nginx obeyed the user's server: {answer.text[:100]}"
    got = {name: answer.headers[name] for name in STRANGE_HEADERS if name in answer.headers}
    assert not {name for name, value in got.items() if value == STRANGE_HEADERS[name]}, got
    cookies = [cookie for cookie in visitor.session.cookies if cookie.name.startswith("strange-")]
    assert [(cookie.name, cookie.path, cookie.secure) for cookie in cookies] == [
        ("strange-4", f"/jupyter/user/{neighbour.user}/", True)
    ]


def test_service_workers(running):
    """A script of a user's server is not given to a browser that would install it as a service worker."""
    visitor, neighbour = running
    path = f"user/{neighbour.user}/strange"
    assert visitor.call("GET", path).status_code == 200
    answer = visitor.session.get(visitor.url + path, headers={"Service-Worker": "script"}, timeout=30)
    assert answer.status_code == 403, answer.status_code


def test_not_as_root(host, running, unit):
    """A user's server runs under the user's own account, with no way to root."""
    for user in running:
        process = unit(user.user)["MainPID"]
        seen = host.check_output("ps --no-headers -o user:32 -p %s", process).strip()
        assert seen == user.user, f"{user.user}'s server runs as {seen}"
        status = dict(line.split(":\t", 1) for line in host.check_output(f"cat /proc/{process}/status").splitlines())
        assert status["NoNewPrivs"] == "1", "it may get privileges from a set-user-ID program"
        assert int(status["CapBnd"], 16) == 0, f"it may have the capabilities {status['CapBnd']}"


def test_limits(host, settings, running, unit):
    """A user's server has a limit of memory and of processor time."""
    properties = unit(running[0].user)
    assert properties["MemoryMax"].isdigit(), f"MemoryMax is {properties['MemoryMax']}"
    assert properties["CPUQuotaPerSecUSec"] != "infinity", "no limit of processor time"
    # Where systemd has the memory controller, what the kernel enforces.
    limit = host.file(f"/sys/fs/cgroup{properties['ControlGroup']}/memory.max")
    if limit.exists:
        assert limit.content_string.strip() == properties["MemoryMax"]


def test_others_servers(running):
    """A user's browser does not get at another's server, nor stop it."""
    visitor, neighbour = running
    for path in (f"user/{neighbour.user}/lab", f"user/{neighbour.user}/api/contents"):
        answer = visitor.call("GET", path)
        assert answer.status_code in (403, 404), f"{path}: {answer.status_code}"
    answer = visitor.call("DELETE", f"hub/api/users/{neighbour.user}/server")
    assert answer.status_code in (403, 404), f"stopping it: {answer.status_code}"
    assert neighbour.servers(), "it was stopped"


def test_others_files(running, settings):
    """A user's code reads neither another's home nor the hub's database, tokens and environment."""
    visitor, neighbour = running
    code = f"""
import os, pathlib
me = pathlib.Path.home()
state = me.parent.parent / "hub"
tokens = "/etc/jupyterhub/proxy.env"
for path in [me.parent / "{neighbour.user}", state, state / "jupyterhub.sqlite", tokens, "/etc/shadow"]:
    try:
        os.listdir(path) if os.path.isdir(path) else open(path).close()
        print("read", path)
    except PermissionError:
        print("denied", path)
try:
    (me.parent.parent / "written").touch()
    print("read, and written to,", me.parent.parent)
except OSError:
    print("denied writing")
"""
    printed = visitor.compute(code).splitlines()
    assert len(printed) == 6, printed
    assert not [line for line in printed if not line.startswith("denied")], printed


def test_others_ports(running):
    """A user's code gets no answer from another's server or kernel, the proxy or the hub without their tokens."""
    visitor, neighbour = running
    server, transport = neighbour.compute(
        "import ipykernel, json, os\n"
        "print(os.environ['JUPYTERHUB_SERVICE_URL'])\n"
        "print(json.loads(ipykernel.get_connection_info())['transport'])"
    ).split()
    # Over TCP, whoever is on the host may listen to what a kernel prints.
    assert transport == "ipc", f"a kernel talks over {transport}"
    code = f"""
import urllib.request, urllib.error
for url in ["{server}api/contents", "http://127.0.0.1:8001/api/routes", "http://127.0.0.1:8081/jupyter/hub/api/users"]:
    try:
        print(urllib.request.urlopen(url, timeout=5).status, url)
    except urllib.error.HTTPError as error:
        print(error.code, url)
    except urllib.error.URLError as error:
        print("no connection", url)
"""
    printed = visitor.compute(code).splitlines()
    answers = [line.rpartition(" ")[0] for line in printed]
    # On a host that the hub shares, there is not even a connection (jupyterhub_confined).
    assert answers[2] == "403", printed
    assert set(answers[:2]) <= {"403", "no connection"}, printed


def test_other_services(host, running, settings):
    """A user's code cannot connect to the services of other layers on the hub's host."""
    if not settings["jupyterhub_confined"]:
        pytest.skip("the hub has a host of its own")
    lines = host.check_output("ss --no-header --listening --tcp --numeric").splitlines()
    places = {tuple(line.split()[3].rpartition(":")[::2]) for line in lines}
    local = {"0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "[::]": "::1"}  # noqa: S104 (as ss prints them)
    # 8081 is the hub's own.
    closed = sorted(
        (local.get(address, address.strip("[]").partition("%")[0]), int(port))
        for address, port in places
        if int(port) not in [8081, *settings["jupyterhub_open_ports"]]
    )
    assert closed, "no other service listens, so that nothing was tried"
    code = f"""
import socket
for place in {closed}:
    try:
        socket.create_connection(place, 2).close()
        print(*place)
    except OSError:
        pass
"""
    reached = running[0].compute(code).splitlines()
    assert not reached, f"reached: {reached}"
    # The host's own programs can connect, so that the refusals prove something.
    assert any(can_connect(host, address, port, 2) for address, port in closed), "no program at all gets a connection"


def test_listens(host, variables, outside):
    """No service that the group model does not name listens where others can reach it."""
    named = [
        service["port"]
        for service in variables["network_services"].values()
        if variables["inventory_hostname"] in variables["groups"][service["group"]]
    ]
    hub = variables["network_services"]["jupyterhub"]["port"]
    seen = [line.split()[3] for line in host.check_output("ss --no-header --listening --tcp --numeric").splitlines()]
    assert f"{variables['internal_address']}:{hub}" in seen, f"the proxy does not listen on port {hub}"
    strays = {}
    for address, _, port in (entry.rpartition(":") for entry in seen):
        if int(port) == hub:
            assert address == variables["internal_address"], f"port {port} is open on {address}"
        elif int(port) not in named and not address.startswith(("127.", "[::1]")):
            strays[int(port)] = address
    # The firewall closes the ports on which the processes of OMERO.server and of the NFS server listen for each other.
    if strays and {"omero", "storage"} & set(variables["group_names"]):
        strays = {port: address for port, address in strays.items() if outside(port)[0].reaches(port)}
    assert not strays, f"open, as port: address: {strays}"


def test_door(variables, reach, outside):
    """The site's proxy reaches the hub's port, and other hosts do not."""
    address, port = variables["internal_address"], variables["network_services"]["jupyterhub"]["port"]
    for name in variables["groups"]["proxy"]:
        assert can_connect(reach(name), address, port), f"{name} did not reach port {port}"
    other = outside(port)[0]
    assert not other.reaches(port), f"{other.name} reached port {port}"


def test_servers_stop(host, running, unit):
    """A user stops the server, and its processes are gone."""
    visitor = running[0]
    assert visitor.servers(), "no server to stop"
    visitor.stop()
    assert unit(visitor.user)["ActiveState"] in ("inactive", "failed"), "its service still runs"
    assert host.run("pgrep --uid %s", visitor.user).stdout == "", "processes of the user are left"
