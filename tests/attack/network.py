"""Attempts from the site's own hosts: by somebody who is on one of them, with or without an account of a service."""

import itertools
import shlex

from attack.attempts import Absent, Attempt, Control, connects, kind, prints, says, succeeds

# What usually listens somewhere, in addition to what does on the site's hosts.
PORTS = [
    *(
        21,
        23,
        25,
        53,
        69,
        111,
        139,
        389,
        445,
        514,
        636,
        873,
        1099,
        2049,
        2375,
        2376,
        3000,
        3306,
        4061,
        4063,
        4064,
        4065,
    ),
    *(4066, 4080, 5000, 5432, 5555, 6379, 6380, 6381, 8000, 8001, 8080, 8081, 8443, 8888, 9000, 9001, 9090, 9100, 9113),
    *(9121, 9187, 9200, 10000, 11211, 20048, 27017, 50000),
]
WEAK = [
    "NULL",
    "aNULL",
    "eNULL",
    "EXPORT",
    "LOW",
    "DES",
    "3DES",
    "RC4",
    "MD5",
    "IDEA",
    "SEED",
    "PSK",
    "SRP",
    "ADH",
    "AECDH",
]


@kind("ports")
def ports(site):
    """No host reaches a port of another that the group model does not open to it."""
    for source in dict.fromkeys([site.visitor_name, *site.first("proxy"), *site.first("jupyterhub")]):
        for target, address in site.addresses.items():
            if target == source:
                continue
            free = site.open_to(source, target)
            if 22 in free:
                yield Control(f"{source} to {target}:22", site.tcp(source, address, 22), connects)
            for port in sorted({*PORTS, *site.listening[target]} - free):
                yield Attempt(f"{source} to {target}:{port}", site.tcp(source, address, port), connects)


@kind("TLS behind the proxy")
def inner_tls(site):
    """Neither OMERO.server nor PostgreSQL nor the session store agrees on old versions or weak ciphers."""
    services, more = site.variables["network_services"], {}
    places = [(site.one("web"), group, services["omero"]["port"], more) for group in site.first("omero")]
    places += [
        (site.one("omero_readwrite"), name, services["postgresql"]["port"], {"starttls": "postgresql"})
        for name in site.first("database")
    ]
    if site.variables["web_sessions_shared"]:
        store = site.variables["web_sessions_endpoint"]
        places.append((site.one("web"), store, services["web_sessions"]["port"], more))
    for source, target, port, options in places:
        reach = {"place": source, "do": "hello", "address": site.addresses[target], "port": port, **options}
        # OMERO.server gives ciphers without a certificate to those who ask, if the site lets it: its gate has that.
        yield Control(f"TLS of {target}:{port}", {**reach, "do": "send"} if not options else reach, connects)
        for version in ("SSLv3", "TLSv1", "TLSv1_1"):
            yield Attempt(f"{version} to {target}:{port}", {**reach, "version": version, "ciphers": "ALL"}, connects)
        for ciphers in WEAK:
            yield Attempt(f"{ciphers} to {target}:{port}", {**reach, "ciphers": ciphers}, connects)


@kind("the repository over NFS")
def nfs(site):
    """Neither root nor another user nor another path than an export's gets at files over NFS."""
    if not site.variables["groups"]["storage"]:
        raise Absent("the site has no storage host")
    client, server = site.one("omero_readwrite"), site.one("storage")
    own = site.variables["omero_system_uid"]
    port = site.variables["network_services"]["nfs"]["port"]
    exports = [each["name"] for each in site.variables["storage_exports"]]

    def url(path, uid, version=4):
        """Return a libnfs URL in quotes."""
        place = f"nfs://{site.addresses[server]}{path}?version={version}&nfsport={port}&uid={uid}&gid={uid}"
        return shlex.quote(place)

    def command(text, user=""):
        return {"place": client, "do": "run", "command": text, "user": user}

    yield Control("OMERO.server lists an export", command(f"nfs-ls {url(exports[0], own)}"), succeeds)
    for export, uid in itertools.product(exports, (0, 1, 33, 1000, 65534, own + 1)):
        # The name is the same each time, and what was written by mistake is removed (links).
        text = f"nfs-cp /etc/hostname {url(f'{export}/{site.mark}', uid)}"
        yield Attempt(f"user {uid} writes to {export}", command(text), succeeds)
    for export in exports:
        text = f"nfs-cp /etc/hostname {url(f'{export}/{site.mark}', own)}"
        yield Attempt(f"an account without rights writes to {export}", command(text, "nobody"), succeeds)
        text = f"nfs-ls {url(export, own)}"
        yield Attempt(f"an account without rights lists {export}", command(text, "nobody"), succeeds)
    roots = prints(r"root:[^:]*:0:0:")
    for path in ("/etc/passwd", "/../etc/passwd", *(f"{export}/../../../etc/passwd" for export in exports)):
        yield Attempt(f"reads {path}", command(f"nfs-cat {url(path, 0)}"), roots)
    for export, (link, target) in itertools.product(exports, site.links().items()):
        yield Attempt(
            f"reads {export} through a link to {target}", command(f"nfs-cat {url(f'{export}/{link}', 0)}"), roots
        )
    for path in ("/", "/srv", "/etc", "/root", "/var", "/home"):
        if path not in exports:
            yield Attempt(f"version 3 of {path}", command(f"timeout 3 nfs-ls {url(path, 0, 3)}"), succeeds)


@kind("PostgreSQL")
def postgresql(site):
    """No role but OMERO's gets into PostgreSQL over the network, and nobody from the database's own host."""
    client, database = site.one("omero_readwrite"), site.variables["database_name"]
    roles = ["postgres", "root", "admin", "replication", "public", site.variables["database_monitor_user"]]
    roles += [site.variables["database_readonly_user"]]

    def command(place, connection, user="", password=""):
        # A wrong password is no secret.
        given = f"PGCONNECT_TIMEOUT=5 PGPASSWORD={shlex.quote(password)}"
        text = f"{given} psql --no-psqlrc --no-password --command='select 1'"
        return {"place": place, "do": "run", "command": f"{text} {shlex.quote(connection)}", "user": user}

    yield Control(
        "OMERO.server", {"place": client, "do": "run", "command": "psql -Xc 'select 1' service=omero"}, succeeds
    )
    for role, name in itertools.product(roles, (database, "postgres")):
        how = command(client, f"service=omero user={role} dbname={name} passfile=/dev/null", password=role)
        yield Attempt(f"{role} to {name} with '{role}'", how, succeeds)
    for mode in ("disable", "allow"):
        how = command(client, f"service=omero user=postgres dbname={database} sslmode={mode}")
        yield Attempt(f"postgres with sslmode={mode}", how, succeeds)
    yield Attempt(
        "OMERO's connection by an account without rights", command(client, "service=omero", "nobody"), succeeds
    )
    own, port = site.one("database"), site.variables["network_services"]["postgresql"]["port"]
    for role, address in itertools.product(
        (*roles, site.variables["database_user"]), ("/var/run/postgresql", "127.0.0.1", "::1")
    ):
        how = command(
            own,
            f"host={address} port={port} dbname={database} user={role}",
            "nobody",
        )
        yield Attempt(f"{role} at {address} of the database's host", how, succeeds)


@kind("session stores")
def session_stores(site):
    """The session stores say nothing without their password."""
    place, ports = site.one("web"), site.variables["web_sessions_ports"]
    got = says(r"redis_version|\+PONG|^\+OK|^\$\d|^\*[1-9]|^:\d")
    words = [
        "PING",
        "INFO",
        "KEYS *",
        "CONFIG GET *",
        "CLIENT LIST",
        "DBSIZE",
    ]
    words += [
        "AUTH redis",
        "AUTH default default",
        "AUTH x",
        "HELLO 3",
        "EVAL 'return 1' 0",
        "MODULE LIST",
        "DEBUG SLEEP 0",
    ]
    own = {"place": place, "do": "send", "address": "127.0.0.1", "idle": 1}
    listening = [port for port in ports.values() if port in site.loopback[place]]
    for port in listening:
        yield Control(f"a connection to {port}", {**own, "port": port}, connects)
    for port, word in itertools.product(listening, words):
        yield Attempt(f"{word} to {port}", {**own, "port": port, "data": f"{word}\r\n"}, got)
    for port in listening:
        # What a browser or OMERO.web could be made to send.
        text = "POST / HTTP/1.1\r\nHost: localhost\r\n\r\nPING\r\n"
        yield Attempt(f"HTTP to {port}", {**own, "port": port, "data": text}, got)


LOGIN = """
import sys, omero
client = omero.client(sys.argv[1], int(sys.argv[2]))
client.createSession(sys.argv[3], sys.stdin.read())
print("logged in")
client.closeSession()
"""


@kind("logins at OMERO.server")
def omero_logins(site):
    """Nobody logs in at OMERO.server with a password that everybody tries first."""
    place = next(iter(site.first("omero_client")), "")
    if not place:
        raise Absent("the site has no host with the omero command line (group omero_client)")
    python = f"{site.variables['omero_client_virtualenv']}/bin/python"
    server, port = site.variables["omero_endpoint"], site.variables["network_services"]["omero"]["port"]

    def login(user, password):
        command = " ".join(map(shlex.quote, [python, "-c", LOGIN, server, str(port), user]))
        return {"place": place, "do": "run", "command": command, "input": password, "seconds": 45}

    curator = site.variables["omero_curator_user"], site.variables["omero_curator_password"]
    yield Control("the curator", login(*curator), prints("logged in"))
    for user, password in (
        *(("root", "root"), ("root", "ome"), ("root", ""), ("root", "password"), ("guest", "guest"), ("guest", "")),
        *((curator[0], curator[0]), ("public", "public"), ("admin", "admin")),
    ):
        yield Attempt(f"{user} with '{password}'", login(user, password), prints("logged in"))


@kind("OMERO's own administration")
def icegrid(site):
    """No account but root and the server's own reaches IceGrid, which takes orders without a password."""
    place = site.one("omero_readwrite")
    code = "import socket; socket.create_connection(('127.0.0.1', 4061), 2).close()"
    command = {"place": place, "do": "run", "command": f"python3 -c {shlex.quote(code)}"}
    yield Control("the server's own account", {**command, "user": site.variables["omero_system_user"]}, succeeds)
    for user in site.accounts(place):
        yield Attempt(f"{user} reaches 4061", {**command, "user": user}, succeeds)


@kind("secrets on the hosts")
def secrets(site):
    """No account without rights reads keys, passwords or other people's data."""
    for name in site.addresses:
        ordinary = {"place": name, "do": "run", "command": "head -c 1 /etc/passwd", "user": "nobody"}
        yield Control(f"what everybody may read on {name}", ordinary, succeeds)
        folders = site.secret_paths(name)
        for user, path in itertools.product(site.accounts(name), folders):
            quoted = shlex.quote(path)
            command = f"if test -d {quoted}; then ls -A {quoted} | grep -q .; else head -c 1 {quoted} | grep -q .; fi"
            if site.owns(name, user, path):
                continue
            how = {"place": name, "do": "run", "command": f"{command} 2>/dev/null", "user": user, "exists": path}
            yield Attempt(f"{user} reads {name}:{path}", how, succeeds)


@kind("becoming root")
def root(site):
    """No account without rights becomes root on a host."""
    commands = ["sudo -n id", "su -c id root </dev/null", "pkexec --disable-internal-agent id", "nsenter -t 1 -m id"]
    commands += ["systemd-run --no-ask-password --quiet --pipe --wait id", "systemctl --no-ask-password restart cron"]
    commands += ["mount -t tmpfs none /mnt", "chroot / id", "nft list ruleset", "ip link add dummy9 type dummy"]
    commands += ["touch /etc/cron.d/attack", "touch /etc/systemd/system/attack.service", "touch /usr/local/bin/attack"]
    commands += [
        "cat /dev/mem",
        "kill -0 1",
        "cat /proc/1/environ",
        "ls /proc/1/root/root",
        "journalctl -k -n 1 | grep -q kernel:",
    ]
    for name in site.addresses:
        yield Control(f"nobody on {name}", {"place": name, "do": "run", "command": "id", "user": "nobody"}, succeeds)
        for user, command in itertools.product(site.accounts(name)[:1], commands):
            yield Attempt(
                f"{user} on {name}: {command}", {"place": name, "do": "run", "command": command, "user": user}, succeeds
            )
