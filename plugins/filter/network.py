"""Filters that resolve the clients of services and exports: groups, IPv4 addresses and networks, and `world`."""

import difflib
import ipaddress
import re

# Text that can only be meant as an address: no group has such a name.
ADDRESS = re.compile(r"[0-9.]+(/.*)?")


def client_hosts(clients, groups):
    """Return the hosts of the groups among clients.

    Args:
        clients: list of str, names of groups, IPv4 addresses or networks, or `world`.
        groups: dict from names of groups to lists of host names, as Ansible has it.

    Returns:
        A sorted list of str; addresses, networks and `world` have no hosts.
    """
    return sorted({host for client in clients if client in groups for host in groups[client]})


def client_addresses(clients, groups, addresses):
    """Return the addresses that clients connect from.

    Args:
        clients: list of str, as for client_hosts.
        groups: dict from names of groups to lists of host names.
        addresses: mapping from a host's name to a mapping with its `internal_address`, as Ansible's hostvars.

    Returns:
        A sorted list of str, IPv4 addresses and networks without duplicates or overlaps, because some versions of
        nftables refuse sets that overlap. `world` has none.
    """
    found = {str(addresses[host]["internal_address"]) for host in client_hosts(clients, groups)}
    found |= {str(client) for client in clients if client not in groups and client != "world"}
    # Of 192.168.1.9 and 192.168.1.9/32, the first is kept: the firewall looks for the host's own address.
    networks = {ipaddress.ip_network(text): text for text in sorted(found, reverse=True)}
    return sorted(
        text
        for network, text in networks.items()
        if not any(network != other and network.subnet_of(other) for other in networks)
    )


def client_problems(clients, groups):
    """Return what is wrong with clients.

    Args:
        clients: list of str, as for client_hosts.
        groups: dict or list with the names of all groups.

    Returns:
        A list of str, a clause for each problem; empty if there is none.
    """
    if not isinstance(clients, list):
        return [f"clients is '{clients}', expected a list"]
    return [problem for client in clients if (problem := client_problem(str(client), groups))]


def client_problem(client, groups):
    """Return what is wrong with a client (str), as for client_problems; None if it is right."""
    if client == "world" or client in groups:
        return None
    if not ADDRESS.fullmatch(client):
        wanted = near(client, [*groups, "world"])
        return f"clients contains '{client}', expected a group, world, or an IPv4 address or network{wanted}"
    try:
        network = ipaddress.IPv4Network(client)
    except ValueError as problem:
        # As in "10.0.0.1/24 has host bits set".
        wanted = "an IPv4 address such as 192.168.1.9, or a network such as 192.168.1.0/24"
        return f"clients contains '{client}', expected {wanted} ({problem})"
    return "clients contains '0.0.0.0/0', expected world" if network.prefixlen == 0 else None


def near(word, names):
    """Return the name (one of a list of str) that is close to a word, as a question in brackets, or an empty string."""
    found = difflib.get_close_matches(word, names, n=1, cutoff=0.7)
    return f" ({found[0]}?)" if found else ""


def service_problems(service, groups):
    """Return what is wrong with an entry of network_services.

    Args:
        service: dict with `port`, `group` and `clients`.
        groups: dict or list with the names of all groups.

    Returns:
        A list of str, a clause for each problem; empty if there is none.
    """
    if not isinstance(service, dict):
        return [f"it is '{service}', expected port, group and clients"]
    problems = []
    port, group = service.get("port"), service.get("group")
    if isinstance(port, bool) or not re.fullmatch("[0-9]+", str(port)) or not 0 < int(port) < 65536:
        problems.append(f"port is '{port}', expected a number from 1 to 65535")
    if group not in groups:
        problems.append(f"group is '{group}', expected a group{near(str(group), list(groups))}")
    return problems + client_problems(service.get("clients"), groups)


class FilterModule:
    """The filters of this plugin."""

    def filters(self):
        """Return the filters by name."""
        return {
            "client_addresses": client_addresses,
            "client_hosts": client_hosts,
            "client_problems": client_problems,
            "service_problems": service_problems,
        }
