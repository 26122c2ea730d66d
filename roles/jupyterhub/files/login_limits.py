"""Limits wrong passwords at JupyterHub's login by address and name, so that nobody can lock out an account's owner.

An account that is locked after wrong passwords, as pam_faillock does it, can be locked by anyone who knows its name.
Here only the address that sent the wrong passwords has to wait, and only for that name. The counts are kept in memory.
"""

import asyncio
import collections
import hashlib
import ipaddress
import math
import pathlib
import secrets
import socket
import sys
import time

from tornado.web import HTTPError

# The kernel's tables of connections, which tell the account of a local program that connects.
TABLES = [pathlib.Path("/proc/net/tcp"), pathlib.Path("/proc/net/tcp6")]
LISTENS = "0A"
# Names are counted in this number of groups for each address, so that invented names do not use up the memory.
GROUPS = 256
ENTRIES = 100_000
# Seconds until wrong passwords are forgotten, and until the answer to a wrong one.
WINDOW = 900
DELAY = 2


class Attempts:
    """Wrong passwords by address and name."""

    def __init__(self, allowed, pause, clock=time.monotonic):
        """Take what is allowed.

        Args:
            allowed: int, the number of wrong passwords for a name from an address.
            pause: number, the seconds that the address then has to wait.
            clock: function that returns the time in seconds.
        """
        self.allowed = allowed
        self.pause = pause
        self.clock = clock
        self.key = secrets.token_bytes(16)
        # From address and group to the number of wrong passwords and the time of the last, the oldest first.
        self.wrong = collections.OrderedDict()

    def place(self, address, name):
        """Return the key of an address (str) and a name (str); which names share a group differs between processes."""
        digest = hashlib.blake2b(name.encode(errors="replace"), key=self.key, digest_size=8).digest()
        return address, int.from_bytes(digest, "big") % GROUPS

    def begin(self, address, name):
        """Count an attempt as wrong before the password is checked, so that simultaneous attempts are counted as well.

        Args:
            address: str, where the attempt comes from.
            name: str, whether or not there is such an account.

        Returns:
            int: the seconds to wait, or 0 if the password may be checked.
        """
        now, place = self.clock(), self.place(address, name)
        number, last = self.wrong.get(place, (0, now))
        if number >= self.allowed and now < last + self.pause:
            return math.ceil(last + self.pause - now)
        if number >= self.allowed or now > last + WINDOW:
            number = 0
        self.wrong[place] = number + 1, now
        self.wrong.move_to_end(place)
        while len(self.wrong) > ENTRIES:
            self.wrong.popitem(last=False)
        return 0

    def succeed(self, address, name):
        """Forget the wrong passwords of an address (str) for a name (str)."""
        self.wrong.pop(self.place(address, name), None)


def end_of(address, port):
    """Return the two forms (set of str) in which the kernel's tables give an IPv4 address (str) and a port (int)."""
    number = f"{int.from_bytes(socket.inet_aton(address), sys.byteorder):08X}"
    mapped = f"{0:016X}{int.from_bytes(bytes.fromhex('0000FFFF'), sys.byteorder):08X}{number}"
    return {f"{number}:{port:04X}", f"{mapped}:{port:04X}"}


def accounts(tables, ours, peer, proxy):
    """Find the accounts of the program that has connected and of the proxy.

    Args:
        tables: iterable of str, lines of /proc/net/tcp and /proc/net/tcp6.
        ours: pair of str and int, this end of the connection.
        peer: pair of str and int, the other end, on the same host.
        proxy: pair of str and int, where only the proxy listens.

    Returns:
        A pair of user IDs (int, or None if it is not in the tables).
    """
    here, there, listening = end_of(*ours), end_of(*peer), end_of(*proxy)
    connected = owner = None
    for line in tables:
        _, local, remote, state, _, _, _, account, *_ = line.split()
        if local in there and remote in here:
            connected = int(account)
        elif local in listening and state == LISTENS:
            owner = int(account)
    return connected, owner


def visitor_of(forwarded, trusted):
    """Find a visitor's address among those that proxies have added, each at the end.

    Args:
        forwarded: str, the header X-Forwarded-For. Only its end is certain; a visitor can send a beginning.
        trusted: collection of str, addresses of the site's proxies.

    Returns:
        ipaddress.IPv4Address or IPv6Address, or None if there is none.
    """
    for each in reversed(forwarded.split(",")):
        try:
            address = ipaddress.ip_address(each.strip().partition("%")[0])
        except ValueError:
            return None
        address = getattr(address, "ipv4_mapped", None) or address
        if str(address) not in trusted:
            return address
    return None


def place_of(address):
    """Return what counts as one address (str): of IPv6, the network of 64 bits in which a host chooses its own."""
    if address is None:
        return "unknown"
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


def limited(authenticator, *, attempts, pause, trusted, proxy):
    """Return a subclass of an authenticator that limits wrong passwords.

    Args:
        authenticator: subclass of jupyterhub.auth.Authenticator.
        attempts: int, the number of wrong passwords for a name from an address.
        pause: number, the seconds that the address then has to wait.
        trusted: collection of str, addresses of the site's proxies.
        proxy: pair of str and int, where only configurable-http-proxy listens.
    """
    counts = Attempts(attempts, pause)

    class Limited(authenticator):
        """Answers late if the password is wrong, and not at all after too many from the same address."""

        async def authenticate(self, handler, data):
            """Check a password, as the superclass does; raises HTTPError with status 429 after too many wrong ones."""
            address = address_of(handler.request, trusted, proxy)
            # PAM reads names only up to a null character.
            name = data.get("username", "").partition("\0")[0]
            if seconds := counts.begin(address, name):
                self.log.warning("Login refused after too many wrong passwords (%r@%s)", name[:32], address)
                error = HTTPError(
                    429, "Too many wrong passwords for this name from your address. Try again in %i seconds.", seconds
                )
                error.headers = {"Retry-After": str(seconds)}
                raise error
            result = await super().authenticate(handler, data)
            if result is None:
                await asyncio.sleep(DELAY)
            else:
                counts.succeed(address, name)
            return result

    return Limited


def address_of(request, trusted, proxy):
    """Return where a request comes from (str), regardless of what its sender claims.

    Users' programs on this host can connect to the hub or to its proxy with headers of their own. So the headers count
    only in requests of the proxy's own account; of others, the account counts.

    Args:
        request: tornado.httputil.HTTPServerRequest. Its remote_ip is corrected, for the log.
        trusted: collection of str, addresses of the site's proxies.
        proxy: pair of str and int, where only configurable-http-proxy listens.
    """
    connection = request.connection.stream.socket
    lines = [line for table in TABLES if table.exists() for line in table.read_text().splitlines()[1:]]
    connected, owner = accounts(lines, connection.getsockname()[:2], connection.getpeername()[:2], proxy)
    if connected is None or connected != owner:
        return f"account {connected}"
    address = visitor_of(",".join(request.headers.get_list("X-Forwarded-For")), trusted)
    if address:
        request.remote_ip = str(address)
    return place_of(address)
