"""Starts and stops an OpenStack for tests: test_cloud.py start|stop NAME TOP RANGE [VENV [IMAGE]].

  NAME   name of the network namespace
  TOP    folder of the cloud, which `stop` removes; must either not exist or have been created by `start`
  RANGE  first two numbers of the private /16 that the cloud uses, such as 10.214
  VENV   virtual environment with requirements.txt (start)
  IMAGE  Podman image that servers boot (start); without it servers only become ACTIVE

The services are real: keystone, placement, glance, neutron, cinder, nova, with PostgreSQL. Their back ends are
stand-ins: nova's own fake driver, or a driver that boots containers (servers.py), files as volumes (volumes.py), and
rows in a table with router.py instead of neutron's agents. The services cannot reach anything outside of the range;
servers that boot have Internet access through this machine, like its own containers.

Prints JSON: {"changed": true or false}. clouds.yaml in TOP has the entries admin, services and openstack.
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PODMAN = HERE.parents[3] / "scripts/podman"
# Name of a server's container.
CONTAINER = "{cloud}-{server}"
# In seconds.
START_LIMIT = 120
STOP_LIMIT = 10


class FailedError(Exception):
    """A step failed; the text names the step and quotes the program's output."""


class Cloud:
    """An OpenStack on this machine.

    Args:
        name: str, of its network namespace.
        top: pathlib.Path, its folder.
        network: str, first two numbers of its range.
    """

    def __init__(self, name, top, network):
        """Store the arguments; nothing is started."""
        self.name, self.top, self.network = name, top, network
        self.address = f"{network}.0.2"
        # Names of interfaces have at most 15 characters.
        self.link = f"v{name[-12:]}"
        self.mark = top / "test-cloud"
        self.image = top / "server-image"
        self.processes = {}

    def start(self, venv, image=""):
        """Start the cloud; returns False if it is already running.

        Args:
            venv: pathlib.Path, virtual environment with the services.
            image: str, Podman's image that servers boot; empty for servers that do not.

        Raises:
            FailedError: It does not come up; what was there of it stays for a look, and stop removes it.
        """
        import settings

        if self.is_up(settings.SERVICES):
            if (there := self.image.read_text()) != image:
                raise FailedError(f"{self.name} runs with image '{there}', expected '{image}'. Stop it first.")
            return False
        # Remove the remains of an interrupted start.
        self.stop()
        own = ("etc", "log", "images", "lock", "state", "volumes", "servers")
        for folder in (*own, "database", "images/tasks", "images/staging", "state/cinder"):
            (self.top / folder).mkdir(parents=True, exist_ok=True)
        self.top.chmod(0o711)
        for folder in own:
            (self.top / folder).chmod(0o700)
        self.mark.write_text(self.name)
        self.image.write_text(image)
        self.make_network()
        if image:
            self.open_way_out()
        self.make_database(settings.DATABASES)
        clouds = self.write_clouds()
        settings.write(self.top, venv, self.address, clouds["services"]["auth"]["password"], image)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            fillers = (self.fill_keystone, self.fill_nova, self.fill_neutron, self.fill_others)
            for done in [pool.submit(filler, venv / "bin", clouds) for filler in fillers]:
                done.result()
        # nova queries the catalogue when it starts.
        first = ("keystone", "placement", "glance", "neutron")
        for project in first:
            self.serve(venv, project)
        self.wait_for("keystone", settings.SERVICES["keystone"])
        self.fill(venv, "accounts")
        for project in settings.SERVICES:
            if project not in first:
                self.serve(venv, project)
        self.serve(venv, "router")
        for project, port in settings.SERVICES.items():
            self.wait_for(project, port)
        self.find_hosts(venv / "bin", settings.HOSTS)
        self.fill(venv, "offers")
        (self.top / "complete").touch()
        return True

    def stop(self):
        """Stop the cloud and remove all its files; returns False if there was nothing to remove.

        Raises:
            FailedError: The folder is none of a test cloud.
        """
        there = self.top.exists() and any(self.top.iterdir())
        if there and not self.mark.exists():
            raise FailedError(f"{self.top} is not the folder of a test cloud (it has no file test-cloud); it was kept.")
        has_network = pathlib.Path("/run/netns", self.name).exists()
        if has_network:
            self.end_services()
        if self.image.exists() and self.image.read_text():
            self.end_servers()
        # After a reboot of this machine the file exists, but the server does not run.
        if (self.top / "database/data/postmaster.pid").exists() and self.postgres_runs():
            self.postgres("pg_ctl", "stop", "--pgdata", self.top / "database/data", "--mode", "immediate")
        # The link first, since that of a deleted namespace disappears only some time later.
        if pathlib.Path("/sys/class/net", self.link).exists():
            run("ip", "link", "delete", self.link)
        if has_network:
            run("ip", "netns", "delete", self.name)
        if self.top.exists():
            shutil.rmtree(self.top)
        # The site's folder, if it is empty.
        with contextlib.suppress(OSError):
            self.top.parent.rmdir()
        return there or has_network

    def is_up(self, services):
        """Tell whether a complete cloud answers on every port of services (dict, name to port)."""
        return (self.top / "complete").exists() and all(self.answers(port) for port in services.values())

    def make_network(self):
        """Create the namespace, the link to it and the route; the namespace has no default route."""
        inside = ("ip", "-n", self.name)
        taken = run("ip", "-json", "route", "show", "root", f"{self.network}.0.0/16").strip()
        if json.loads(taken or "[]"):
            raise FailedError(f"{self.network}.0.0/16 is in use on this machine: {taken}. Choose another range.")
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "address", "add", f"{self.network}.0.1/30", "dev", self.link)
        run("ip", "link", "set", self.link, "up")
        run(*inside, "address", "add", f"{self.address}/30", "dev", "eth0")
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "link", "set", "eth0", "up")
        # Packets for missing servers are dropped here.
        run(*inside, "route", "add", "unreachable", f"{self.network}.0.0/16")
        run("ip", "route", "add", f"{self.network}.0.0/16", "via", self.address)

    def open_way_out(self):
        """Forward traffic of servers through this machine, but not that of the services' own address."""
        pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        for table, chain, *rule in self.way_out():
            run("iptables", "--wait", "--table", table, "--insert", chain, *rule)
        run("ip", "-n", self.name, "route", "add", "default", "via", f"{self.network}.0.1")

    def close_way_out(self):
        """Undo the changes of `open_way_out` on this machine, as far as they exist."""
        for table, chain, *rule in self.way_out():
            with contextlib.suppress(FailedError):
                run("iptables", "--wait", "--table", table, "--delete", chain, *rule)

    def way_out(self):
        """Return this machine's firewall rules (tuples of table, chain, arguments) for the servers' external range."""
        outside = f"{self.network}.1.0/24"
        return (
            ("nat", "POSTROUTING", "-s", outside, "!", "-d", f"{self.network}.0.0/16", "-j", "MASQUERADE"),
            ("filter", "FORWARD", "-i", self.link, "-s", outside, "-j", "ACCEPT"),
            ("filter", "FORWARD", "-o", self.link, "-d", outside, "-j", "ACCEPT"),
        )

    def end_servers(self):
        """Remove all servers, the volumes' devices, and the forwarding rules."""
        label = f"label=vitrine-cloud={self.name}"
        if left := podman("ps", "--all", "--quiet", "--filter", label).split():
            podman("rm", "--force", "--time", 0, *left)
        for line in run("losetup", "--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE").splitlines():
            device, _, file = line.partition(" ")
            if file.startswith(f"{self.top}/volumes/"):
                run("losetup", "--detach", device)
        self.close_way_out()

    def make_database(self, names):
        """Start the cloud's own PostgreSQL, which listens only on a socket, with databases (names: tuple of str)."""
        folder = self.top / "database"
        (folder / "socket").mkdir()
        for each in (folder, folder / "socket"):
            shutil.chown(each, "postgres", "postgres")
            each.chmod(0o700)
        # The data are expendable, so they need not reach the disk.
        options = f"-k {folder}/socket -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=200"
        self.postgres("initdb", "--pgdata", folder / "data", "--auth", "trust", "--no-sync", "--encoding", "UTF8")
        self.postgres(
            "pg_ctl", "start", "--wait", "--pgdata", folder / "data", "--log", folder / "log", "--options", options
        )
        for name in names:
            self.postgres("createdb", "--host", folder / "socket", name)

    def postgres(self, program, *arguments):
        """Run a program of PostgreSQL (str) as the user postgres."""
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
        if not found:
            raise FailedError(f"{program} is missing on this machine: apt-get install postgresql")
        as_user = ("setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups")
        return run(*as_user, found[-1], *arguments, folder="/", env={"LC_ALL": "C.UTF-8"})

    def postgres_runs(self):
        """Tell whether the cloud's PostgreSQL runs."""
        try:
            self.postgres("pg_ctl", "status", "--pgdata", self.top / "database/data")
        except FailedError:
            return False
        return True

    def write_clouds(self):
        """Write clouds.yaml with new passwords; returns its entries (dict)."""
        entries = {}
        for entry, user in (("admin", "admin"), ("services", "service"), ("openstack", "vitrine")):
            entries[entry] = {
                "auth": {
                    "auth_url": f"http://{self.address}:5000/v3",
                    "username": user,
                    "password": secrets.token_urlsafe(24),
                    "project_name": user,
                    "user_domain_id": "default",
                    "project_domain_id": "default",
                },
                "region_name": "RegionOne",
            }
        path = self.top / "clouds.yaml"
        path.touch(mode=0o600)
        # JSON is YAML.
        path.write_text(json.dumps({"clouds": entries}, indent=2))
        return entries

    def fill_keystone(self, programs, clouds):
        """Create keystone's tables, keys and administrator."""
        url = f"http://{self.address}:5000/v3"
        manage = (programs / "keystone-manage", "--config-file", self.top / "etc/keystone/keystone.conf")
        for folder in ("fernet-keys", "credential-keys"):
            (self.top / "etc/keystone" / folder).mkdir(mode=0o700)
        run(*manage, "db_sync")
        run(*manage, "fernet_setup", "--keystone-user", "root", "--keystone-group", "root")
        urls = [each for kind in ("public", "internal", "admin") for each in (f"--bootstrap-{kind}-url", url)]
        # In the environment, which other users of the machine cannot see.
        password = {"OS_BOOTSTRAP_PASSWORD": clouds["admin"]["auth"]["password"]}
        run(*manage, "bootstrap", "--bootstrap-region-id", "RegionOne", *urls, env=password)

    def fill_nova(self, programs, _):
        """Create nova's tables and cells."""
        import settings

        manage = (programs / "nova-manage", "--config-file", self.top / "etc/nova/nova.conf")
        run(*manage, "api_db", "sync")
        run(*manage, "cell_v2", "map_cell0", "--database_connection", settings.database(self.top, "nova_cell0"))
        run(*manage, "cell_v2", "create_cell", "--name", "cell1")
        run(*manage, "db", "sync")

    def fill_neutron(self, programs, _):
        """Create neutron's tables and the rows of its agents."""
        run(programs / "python", HERE / "neutron_tables.py", self.top, self.address)

    def fill_others(self, programs, _):
        """Create the tables of placement, glance and cinder."""
        etc = self.top / "etc"
        run(programs / "placement-manage", "--config-file", etc / "placement/placement.conf", "db", "sync")
        run(programs / "glance-manage", "--config-file", etc / "glance/glance-api.conf", "db_sync")
        run(programs / "cinder-manage", "--config-file", etc / "cinder/cinder.conf", "db", "sync")

    def fill(self, venv, what):
        """Run catalogue.py to create accounts or offers (what)."""
        image = self.image.read_text()
        run(venv / "bin/python", HERE / "catalogue.py", what, self.top / "clouds.yaml", f"{self.network}.1.0/24", image)

    def serve(self, venv, project):
        """Start a project (str) in the namespace."""
        program = ("nsenter", f"--net=/run/netns/{self.name}", venv / "bin/python", HERE / "serve.py", project)
        with (self.top / f"log/{project}.out").open("w") as log:
            self.processes[project] = subprocess.Popen(
                [*map(str, program), str(self.top), str(venv), self.address],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.top,
                env=environment() | {"TEST_CLOUD_TOP": str(self.top)},
            )

    def wait_for(self, project, port):
        """Wait until a project (str) answers at its port (int).

        Raises:
            FailedError: It ended, or took too long.
        """
        end = time.monotonic() + START_LIMIT
        while not self.answers(port):
            if self.processes[project].poll() is not None or time.monotonic() > end:
                said = (self.top / f"log/{project}.out").read_text()[-2000:]
                raise FailedError(f"{project} did not start (logs: {self.top}/log). Its output:\n{said}")
            time.sleep(0.5)

    def find_hosts(self, programs, hosts):
        """Wait until nova has registered its compute hosts (hosts: tuple of str)."""
        manage = (programs / "nova-manage", "--config-file", self.top / "etc/nova/nova.conf", "cell_v2")
        end = time.monotonic() + START_LIMIT
        while True:
            run(*manage, "discover_hosts", "--by-service")
            known = run(*manage, "list_hosts")
            if all(host in known for host in hosts):
                return
            if time.monotonic() > end:
                raise FailedError(f"nova does not find its hosts {', '.join(hosts)}; it knows:\n{known}")
            time.sleep(1)

    def answers(self, port):
        """Tell whether a process listens on a port (int) of the cloud."""
        with contextlib.suppress(OSError), socket.create_connection((self.address, port), timeout=2):
            return True
        return False

    def end_services(self):
        """End all processes in the namespace: neutron renames itself, and a list of process IDs might be outdated."""
        end = time.monotonic() + STOP_LIMIT
        while found := run("ip", "netns", "pids", self.name).split():
            if time.monotonic() > end:
                raise FailedError(f"processes {', '.join(found)} in the namespace {self.name} do not end")
            for number in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(number), signal.SIGKILL)
            time.sleep(0.2)


def environment():
    """Return the environment of the services, without the caller's, whose proxies and settings would affect them."""
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "no_proxy": "*"}


def podman(*arguments):
    """Run Podman (arguments: list of str or path); returns what it printed."""
    return run(PODMAN, *arguments, env={"HOME": "/root"})


def run(*command, env=None, folder=None, stdin=None):
    """Run a program.

    Args:
        command: list of str or path.
        env: dict, further environment.
        folder: str, where it runs.
        stdin: str, what it is given to read.

    Returns:
        str, what it printed.

    Raises:
        FailedError: It failed.
    """
    done = subprocess.run(
        [str(each) for each in command],
        input=stdin or "",
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment() | (env or {}),
    )
    if done.returncode:
        raise FailedError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
    return done.stdout


def main(arguments):
    """Carry out a request (arguments: list of str, the command line)."""
    if len(arguments) not in (4, 5, 6) or arguments[0] not in ("start", "stop"):
        sys.exit(__doc__)
    action, name, top, network, *further = arguments
    cloud = Cloud(name, pathlib.Path(top), network)
    try:
        changed = cloud.start(pathlib.Path(further[0]), *further[1:]) if action == "start" else cloud.stop()
    except FailedError as problem:
        sys.exit(str(problem))
    print(json.dumps({"changed": changed}))


if __name__ == "__main__":
    main(sys.argv[1:])
