"""What the attempts need to know about the site, and how they are made from where they come."""

import concurrent.futures
import contextlib
import io
import json
import pathlib
import secrets
import shlex
import time
import urllib.parse

import pytest
import testinfra
from attack import network, notebook, public  # noqa: F401 (they register their kinds)
from attack.attempts import KINDS, Absent, Row, carry_out, table
from conftest import may_connect, run_with_input, services_of
from jupyterhub.test_jupyterhub import Client, together

SEND = pathlib.Path(__file__).with_name("send.py").read_text()
# What a user may put into the own home: answers without a login, with the headers that the address asks for.
OWN_HANDLER = """
from jupyter_server.serverapp import ServerWebApplication
from tornado.web import RequestHandler

class Attack(RequestHandler):
    def get(self):
        for name in self.request.query_arguments:
            self.set_header(name, self.get_query_argument(name))
        self.finish("from the notebook")

inner = ServerWebApplication.init_handlers
def more(self, *arguments, **options):
    return [(r".*/MARK", Attack), *inner(self, *arguments, **options)]
ServerWebApplication.init_handlers = more
"""


class Site:
    """The site as the attempts see it.

    Attributes:
        variables: dict, those of the proxy's host.
        name: str, the public name.
        addresses: dict from names of hosts to addresses.
        visitor_name: str, the host that acts as a visitor, or "" for the controller.
        listening, loopback: dict from names of hosts to sets of int: TCP ports open to others, and on the loopback.
        mine, mark: str, words of this run.
        user: str, an account of the hub.
    """

    def __init__(self, variables, reach):
        """Take the variables (dict) and a function from a host's name to its Testinfra host."""
        self.variables = variables
        self.reach = reach
        self.name = variables["site_public_name"]
        self.addresses = variables["site_addresses"]
        groups = variables["groups"]
        inside = {*groups["proxy"], *groups["web"]}
        self.visitor_name = next((name for name in self.addresses if name not in inside), "")
        self.visitor = reach(self.visitor_name) if self.visitor_name else testinfra.get_host("local://")
        self.each = {name: reach(name).ansible.get_variables() for name in self.addresses}
        self.mine = secrets.token_hex(8)
        self.mark = f".vitrine-attack-{self.mine}"
        self.hub_variables = self.each[groups["jupyterhub"][0]] if groups.get("jupyterhub") else {}
        self.user = (self.hub_variables.get("jupyterhub_gate_users") or ["nobody"])[0]
        self.listening, self.loopback = {}, {}
        for name in self.addresses:
            lines = reach(name).check_output("ss --no-header --listening --tcp --numeric").splitlines()
            places = [line.split()[3].rpartition(":")[::2] for line in lines]
            own = {int(port) for address, port in places if address.startswith(("127.", "[::1]"))}
            everywhere = {int(port) for address, port in places if address in ("0.0.0.0", "*", "[::]")}  # noqa: S104
            self.listening[name] = {int(port) for _, port in places} - (own - everywhere)
            self.loopback[name] = own | everywhere
        self.clients, self.tried = [], False
        self.undo = contextlib.ExitStack()

    def first(self, group):
        """Return the first host of a group as a list, empty if there is none."""
        return self.variables["groups"].get(group, [])[:1]

    def one(self, group):
        """Return the first host of a group (str); without one, the kind is left out."""
        if not self.first(group):
            raise Absent(f"the site has no host in the group {group}")
        return self.first(group)[0]

    def open_to(self, source, target):
        """Return the ports (set of int) of a host that another host may use."""
        groups, own = self.variables["groups"], self.each[target]
        return {
            service["port"]
            for service in services_of(own)
            for client in service["clients"]
            if client == "world"
            or source in groups.get(client, [])
            or may_connect(self.addresses.get(source, ""), [client])
        }

    # Attempts over HTTP, from the visitor.

    def raw(self, text, **more):
        """Return how a text is sent to the site over TLS."""
        port = self.variables["network_services"]["https"]["port"]
        return {"place": "visitor", "do": "send", "address": self.name, "port": port, "tls": True, "data": text, **more}

    def ask(self, method, target, headers=None, body=None, name="", **more):
        """Return how the site is asked over HTTPS."""
        return self.raw(request(method, target, name or self.name, headers, body), name=name, **more)

    def plain(self, method, target, headers=None):
        """Return how the site is asked over HTTP."""
        port = self.variables["network_services"]["http"]["port"]
        return self.raw(request(method, target, self.name, headers, None)) | {"port": port, "tls": False}

    def hello(self, **more):
        """Return how TLS is negotiated with the site."""
        return self.raw("") | {"do": "hello", **more}

    def tcp(self, source, address, port):
        """Return how a host connects to a port."""
        place = "visitor" if source == self.visitor_name else source
        return {"place": place, "do": "send", "address": address, "port": port, "connect": 1}

    # The hub.

    def hub(self, method, path, headers=None, body=None, **more):
        """Return how the hub is asked for a path without the leading slash; users' servers may have their own names."""
        if not self.first("jupyterhub"):
            raise Absent("the site has no JupyterHub")
        base = self.variables["site_jupyterhub_url"]
        if path.startswith("user/") and self.clients:
            # Where the browser of the logged-in user ended, which may be another name.
            base = self.clients[0].page.url.partition("user/")[0]
            if f"{self.clients[0].user}/" not in path:
                base = base.replace(f"//{self.clients[0].user}.", f"//{path.split('/')[1]}.")
        address = urllib.parse.urlsplit(base)
        return self.ask(method, address.path + path, headers, body, name=address.hostname, **more)

    def hub_users(self):
        """Return the names of both accounts: the own one, and the neighbour's."""
        self.log_in()
        return [client.user for client in self.clients]

    def hub_cookies(self):
        """Return headers (dict): the cookies of the own account, and its token against forged requests."""
        self.log_in()
        cookies = list(self.clients[0].session.cookies)
        token = next((cookie.value for cookie in cookies if cookie.name == "_xsrf"), "")
        return {
            "Cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in cookies),
            "X-XSRFToken": token,
            "Referer": self.variables["site_jupyterhub_url"],
        }

    def kernel(self):
        """Return the identifier of a kernel of the own account."""
        self.log_in()
        self.clients[0].compute("pass")
        return self.clients[0].kernel

    def client(self, number):
        """Return a browser and the password of one of the gate's accounts."""
        users = self.hub_variables.get("jupyterhub_gate_users")
        if not users:
            raise Absent("the site has no JupyterHub, or jupyterhub_gate_users is empty")
        folder = pathlib.Path(self.hub_variables["jupyterhub_passwords_dir"])
        return Client(self.variables["site_jupyterhub_url"], users[number]), (
            folder / users[number]
        ).read_text().strip()

    def log_in(self):
        """Log both accounts in, and start their servers, the first one with its own handler."""
        if self.clients:
            return
        assert not self.tried, "the accounts could not be logged in, as said above"
        self.tried = True
        (own, _), (other, _) = pair = self.client(0), self.client(1)
        host = self.reach(self.one("jupyterhub"))
        place = f"~{own.user}/.jupyter/jupyter_server_config.py"
        # As the user, who could not write to a folder that root made.
        text = f"mkdir --parents ~{own.user}/.jupyter && cat > {place}"
        write = f"runuser --user={own.user} -- sh -c {shlex.quote(text)}"
        assert run_with_input(host, write, OWN_HANDLER.replace("MARK", self.mark)).returncode == 0
        self.undo.callback(host.run, f"rm --force {place}")
        for client, password in pair:
            assert client.log_in(password).status_code == 302, f"{client.user} could not log in"
        self.undo.callback(together, Client.stop, [own, other])
        together(Client.start, [own, other])
        for client in (own, other):
            client.page = client.call("GET", f"user/{client.user}/lab")
        self.clients = [own, other]

    # The hosts.

    def links(self):
        """Put symbolic links into each export's folder; return a dict from their names to where they lead."""
        server = self.reach(self.one("storage"))
        found = {
            f"{self.mark}-{number}": target for number, target in enumerate(("/etc/passwd", "../../../../etc/passwd"))
        }
        for export in self.variables["storage_exports"]:
            folder = f"{self.each[self.one('storage')]['nfs_server_data_dir']}/{export['folder']}"
            for link, target in found.items():
                server.run("ln --symbolic --force %s %s", target, f"{folder}/{link}")
                self.undo.callback(server.run, "rm --force %s %s", f"{folder}/{link}", f"{folder}/{self.mark}")
        return found

    def accounts(self, name):
        """Return accounts of a host that have no business with others' data: nobody, and those of services."""
        own = [self.each[name].get("omero_web_user"), "redis", "www-data"]
        host = self.reach(name)
        return ["nobody", *(user for user in own if user and host.user(user).exists)]

    def secret_paths(self, name):
        """Return paths on a host that only root and one service may read."""
        own, groups = self.each[name], self.variables["groups"]
        paths = ["/etc/shadow", "/etc/ssh/ssh_host_ed25519_key", "/root", "/etc/sudoers"]
        if name in groups["proxy"]:
            paths += ["/etc/nginx/tls/site.key"]
        if name in groups["web"]:
            web = own["omero_web_dir"]
            paths += [f"{web}/OMERO.web/etc/grid/config.xml", f"{web}/config/10-vitrine.omero"]
            paths += ["/etc/haproxy/haproxy.cfg", "/etc/redis/redis.conf", "/var/lib/redis"]
        if name in groups["omero"]:
            server = own["omero_server_dir"]
            paths += [
                f"{server}/OMERO.server/etc/grid/config.xml",
                f"{server}/config/10-vitrine.omero",
                f"{server}/var",
            ]
            paths += [f"{own['database_client_dir']}/{each}" for each in ("client.key", "pgpass")]
            paths += [f"{own['omero_server_data_dir']}/{each}" for each in ("ManagedRepository", "Files", "certs")]
        if name in groups["database"]:
            paths += [f"{own['postgresql_data_dir']}/{own['database_version']}/main"]
        if name in groups["jupyterhub"]:
            hub = own["jupyterhub_data_dir"]
            paths += [
                "/etc/jupyterhub/proxy.env",
                "/etc/jupyterhub/culler.env",
                f"{hub}/hub",
                f"{hub}/home/{self.user}",
            ]
        return paths

    def owns(self, name, user, path):
        """Tell whether a path is the account's own on a host: what its service needs to run."""
        own = self.each[name]
        needs = {own["omero_web_user"]: [own["omero_web_dir"]], "redis": ["/etc/redis", "/var/lib/redis"]}
        return path.startswith(tuple(needs.get(user, ["-"])))

    def run(self, place, attempts):
        """Make attempts (list of dict) from a place (str); returns what came back (list of dict)."""
        if place == "login":
            with concurrent.futures.ThreadPoolExecutor(max_workers=6) as pool:
                return list(pool.map(self.try_login, attempts))
        if place == "notebook":
            self.log_in()
            code = f"import io, sys\nsys.stdin = io.StringIO({json.dumps(attempts)!r})\n{SEND}"
            return json.loads(self.clients[0].compute(code).strip().splitlines()[-1])
        host = self.visitor if place == "visitor" else self.reach(place)
        done = run_with_input(host, f"python3 -c {shlex.quote(SEND)}", json.dumps(attempts))
        assert done.returncode == 0, f"{place}: {done.stderr.strip()[-300:]}"
        return json.loads(done.stdout)

    def try_login(self, attempt):
        """Log in at the hub as somebody (dict); returns the answer as if it had come over the connection."""
        answer = Client(self.variables["site_jupyterhub_url"], attempt["user"]).log_in(attempt["password"])
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        return {"text": f"HTTP/1.1 {answer.status_code} x\r\n{head}\r\n"}


def request(method, target, name, headers, body):
    """Write a request (str); headers that are given replace the usual ones."""
    text = io.StringIO()
    usual = {"Host": name, "User-Agent": "attack", "Accept": "*/*", "Connection": "close"}
    if body is not None:
        usual["Content-Length"] = str(len(body.encode("latin-1")))
    text.write(f"{method} {target} HTTP/1.1\r\n")
    for key, value in (usual | (headers or {})).items():
        text.write(f"{key}: {value}\r\n")
    text.write(f"\r\n{body or ''}")
    return text.getvalue()


@pytest.fixture(scope="module")
def rows(host, reach):
    """Return a function from a kind's name to its Row; the table is in the site's reports."""
    variables = host.ansible.get_variables()
    site, seen, folder = Site(variables, reach), {}, pathlib.Path(variables["reports_dir"])

    def row(name):
        begun = time.monotonic()
        try:
            found = carry_out(name, KINDS[name], site, site.run)
        except Absent as reason:
            pytest.skip(str(reason))
        seen[name] = Row(name, found.attempts, found.through, found.void, time.monotonic() - begun)
        # Each time, so that there is a table also of a run that was interrupted.
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "attack.txt").write_text(table(seen.values()))
        return seen[name]

    with site.undo:
        yield row
