"""Attempts by somebody who has a notebook account: with its kernel, its cookies, and what its server answers."""

import itertools
import urllib.parse

from attack.attempts import Attempt, Control, answers, connects, either, has_header, kind, says, succeeds
from attack.network import PORTS
from attack.public import METADATA

JSON = {"Content-Type": "application/json"}


@kind("another's server and the hub")
def others(site):
    """Who is logged in at the hub is nobody but the own self there."""
    own, other = site.hub_users()
    cookies = site.hub_cookies()
    yield Control("the own account", site.hub("GET", f"hub/api/users/{own}", cookies), answers(200))
    for path in (
        *("hub/api/users", "hub/api/groups", "hub/api/services", "hub/api/proxy", "hub/api/info", "hub/admin"),
        *(
            f"hub/api/users/{other}",
            f"hub/api/users/{other}/tokens",
            f"hub/spawn/{other}",
            f"hub/api/users/{own}/../{other}",
        ),
        *(
            f"user/{other}/lab",
            f"user/{other}/api/contents",
            f"user/{other}/api/kernels",
            f"user/{other}/api/terminals",
        ),
        *(
            f"user/{other}/files/x",
            f"user/{own}/../{other}/lab",
            f"user/{own}%2f..%2f{other}/lab",
            f"user/{own}/%2e%2e/{other}/lab",
        ),
        *(f"user/{other}//lab", f"user/{other.upper()}/lab", f"user/{other}/?token=x", f"user/{other};/lab"),
    ):
        # The own entry is in the list of users that somebody without rights gets.
        got = says(other, 200) if path in ("hub/api/users", "hub/api/groups") else answers(200, 201)
        yield Attempt(f"GET {path}", site.hub("GET", path, cookies), got)
    for method, path, body in (
        ("POST", f"hub/api/users/{other}/server", "{}"),
        ("DELETE", f"hub/api/users/{other}/server", ""),
        ("POST", f"hub/api/users/{other}/tokens", "{}"),
        ("POST", f"hub/api/users/{own}/tokens", '{"roles": ["admin"]}'),
        ("POST", f"hub/api/users/{own}/tokens", '{"scopes": ["admin:users", "servers"]}'),
        ("PATCH", f"hub/api/users/{own}", '{"admin": true}'),
        ("PATCH", f"hub/api/users/{own}", f'{{"name": "{other}"}}'),
        ("POST", "hub/api/users", '{"usernames": ["attack"]}'),
        ("POST", "hub/api/groups/attack", "{}"),
        ("DELETE", f"hub/api/users/{other}", ""),
        ("POST", "hub/api/proxy", "{}"),
        ("POST", f"hub/api/users/{own}/shares", f'{{"user": "{other}"}}'),
        ("POST", f"user/{other}/api/kernels", "{}"),
        ("POST", f"user/{other}/api/terminals", "{}"),
        ("DELETE", f"user/{other}/api/kernels/x", ""),
        ("PUT", f"user/{other}/api/contents/x", '{"type": "file", "format": "text", "content": "x"}'),
        ("POST", f"user/{other}/api/shutdown", "{}"),
    ):
        yield Attempt(f"{method} {path} {body[:24]}", site.hub(method, path, {**JSON, **cookies}, body), answers())


@kind("requests forged by other sites")
def forged(site):
    """What another site makes a user's browser send does nothing at the hub and at the user's server."""
    own, _ = site.hub_users()
    logged_in = {"Cookie": site.hub_cookies()["Cookie"]}
    yield Control("the own account", site.hub("GET", f"hub/api/users/{own}", site.hub_cookies()), answers(200))
    origins = {
        "from elsewhere": {"Origin": "https://attack.invalid", "Referer": "https://attack.invalid/"},
        "from nowhere": {"Origin": "null"},
        "without an origin": {},
        "from a similar name": {
            "Origin": f"https://{site.name}.attack.invalid",
            "Referer": f"https://{site.name}.attack.invalid/",
        },
    }
    for (what, headers), (path, kind_of_body) in itertools.product(
        origins.items(),
        itertools.product(
            (f"hub/api/users/{own}/tokens", f"user/{own}/api/kernels", f"user/{own}/api/terminals"),
            ("text/plain", "application/x-www-form-urlencoded"),
        ),
    ):
        ask = site.hub("POST", path, {**logged_in, **headers, "Content-Type": kind_of_body}, "{}")
        yield Attempt(f"POST {path} ({kind_of_body}) {what}", ask, answers())
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "YXR0YWNrYXR0YWNrYXR0YQ==",
    }
    for what, headers in list(origins.items())[:2]:
        for path in (f"user/{own}/api/kernels/{site.kernel()}/channels", f"user/{own}/api/events/subscribe"):
            ask = site.hub("GET", path, {**logged_in, **headers, **upgrade}, idle=2)
            yield Attempt(f"a websocket to {path.rpartition('/')[2]} {what}", ask, answers(101))


@kind("the network from a notebook")
def network(site):
    """A notebook reaches neither a cloud's metadata nor ports that its host may not reach either."""
    hub = site.one("jupyterhub")
    place = {"place": "notebook", "do": "send", "connect": 1}
    public = site.variables["network_services"]["https"]["port"]
    yield Control("the site itself", {**place, "address": site.name, "port": public, "connect": 5}, connects)
    for address in (*METADATA, "fd00:ec2::254", "fd20:ce::254", "::ffff:169.254.169.254"):
        yield Attempt(f"metadata at {address}", {**place, "address": address, "port": 80}, connects)
    for target, address in site.addresses.items():
        if target == hub:
            continue
        for port in sorted({*PORTS, *site.listening[target]} - site.open_to(hub, target)):
            yield Attempt(f"{target}:{port}", {**place, "address": address, "port": port}, connects)


@kind("a notebook and its host")
def its_host(site):
    """A notebook reads, writes and becomes nothing that is not its own."""
    _, other = site.hub_users()
    homes = site.hub_variables["jupyterhub_data_dir"]
    place = {"place": "notebook", "do": "run"}
    yield Control("the own home", {**place, "command": "cd && touch .attack && rm .attack"}, succeeds)
    for command in (
        *(
            "sudo -n id",
            "su -c id root </dev/null",
            "cat /etc/shadow",
            "ls /root",
            "dmesg",
            "cat /dev/mem",
        ),
        *(
            f"ls {homes}/hub",
            f"ls {homes}/home/{other}",
            f"cat {homes}/hub/jupyterhub.sqlite",
            "cat /etc/jupyterhub/*.env",
        ),
        *(
            "touch /etc/attack",
            "touch /usr/local/bin/attack",
            "touch /var/attack",
            "touch /run/attack && rm /run/attack",
            "touch /dev/shm/../attack",
        ),
        *(
            "mount -t tmpfs none /tmp",
            "unshare -m true",
            "unshare -Ur true",
            "chroot / true",
            "nsenter -t 1 -m true",
            "kill -0 1",
        ),
        *(
            "cat /proc/1/environ",
            "ls /proc/1/fd",
            "ls /proc/1/root",
            "pgrep -u root",
            f"pgrep -u {other}",
        ),
        *(
            "systemctl --no-ask-password start cron",
            "systemd-run --no-ask-password --quiet --wait true",
            "crontab -l",
        ),
        *(
            "systemctl --user start x.service",
            "echo 1 > /proc/sys/kernel/sysrq",
            "nft list ruleset",
        ),
        *(
            "python3 -c 'import os; os.setuid(0)'",
            "python3 -c 'import ctypes,sys; sys.exit(ctypes.CDLL(None).ptrace(16, 1, 0, 0) != 0)'",
        ),
        *(
            "echo x > /sys/fs/cgroup/cgroup.procs",
            "ls /var/spool/cron/crontabs",
            "cat /etc/ssh/ssh_host_ed25519_key",
            "ip link add dummy9 type dummy",
        ),
        *(
            "journalctl -n 1 -u jupyterhub | grep -q jupyterhub",
            f"cat /run/jupyterhub/users/{other}/*",
            "cat /run/jupyterhub/faillock/root",
        ),
        "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
        *(
            "find / -xdev -perm -4000 -exec test -u {} \\; -exec {} -n id \\; 2>/dev/null | grep -q uid=0",
            f"touch {homes}/attack",
        ),
    ):
        yield Attempt(command[:70], {**place, "command": f"({command}) 2>/dev/null"}, succeeds)


@kind("what a notebook answers")
def notebook_answers(site):
    """No header that a notebook sends back reaches beyond its own pages."""
    user, _ = site.hub_users()
    yield Control("the user's own page", site.hub("GET", f"user/{user}/lab", site.hub_cookies()), answers(200))

    def ask(**headers):
        query = urllib.parse.urlencode({name.replace("_", "-"): value for name, value in headers.items()})
        return site.hub("GET", f"user/{user}/{site.mark}?{query}")

    elsewhere = either(
        has_header("Set-Cookie", "attack="),
        says("dataTree|login|nginx_up|Active connections|not available", 200, 302, 403, 503),
    )
    for page in (
        "/webclient/?experimenter=-1",
        "/webclient/?username=attack&password=x&server=1",
        "/unavailable.html",
        "/robots.txt",
    ):
        yield Attempt(f"X-Accel-Redirect: {page}", ask(X_Accel_Redirect=page), elsewhere)
    for name, value in {
        "Service-Worker-Allowed": "/",
        "Clear-Site-Data": '"*"',
        "Strict-Transport-Security": "max-age=0",
        "Public-Key-Pins": "x",
        "Alt-Svc": 'h3="attack.invalid:443"',
        "Report-To": '{"group":"x"}',
        "NEL": '{"report_to":"x"}',
        "X-Accel-Expires": "3600",
        "X-Accel-Buffering": "no",
        "X-Accel-Limit-Rate": "1",
    }.items():
        yield Attempt(
            f"{name}: {value}",
            ask(**{name: value}),
            has_header(name, f"^{value[:8]}" if value.isalnum() else "attack|\\*|/|0|x"),
        )
    for cookie in (
        "attack=1; Path=/",
        "attack=1; Path=/webclient/",
        f"attack=1; Domain={site.name}",
        "__Host-attack=1; Path=/; Secure",
    ):
        yield Attempt(
            f"Set-Cookie: {cookie}",
            ask(Set_Cookie=cookie),
            has_header("Set-Cookie", r"attack=1(?!.*path=/(?:jupyter/)?user/)"),
        )
