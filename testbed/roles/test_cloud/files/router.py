"""Stand-in for neutron's agents if servers boot: routers, floating IPs, security groups. serve.py runs it.

Reads neutron's database every second and sets, in the cloud's namespace, the gateways' addresses on the networks'
bridges and iptables' rules; floating IPs that are in force it calls ACTIVE there, as the agent does. All routers are
this one namespace, so that two networks with the same range would be in each other's way. At a rule of a security group
whose kind it does not know it ends, and says so in log/router.out.
"""

import collections
import json
import pathlib
import time

from test_cloud import run

OUT = "eth0"
# The columns of each query are the arguments of the tuples that `rules` takes.
Gateway = collections.namedtuple("Gateway", "bridge address cidr outside")
Floating = collections.namedtuple("Floating", "address fixed")
Port = collections.namedtuple("Port", "id address groups")
Rule = collections.namedtuple("Rule", "group direction remote_group remote_range protocol low high")
QUESTIONS = {
    "gateways": (
        Gateway,
        """
        select 'brq' || left(inside.network_id, 11), inside.ip_address, subnets.cidr,
               case when routers.enable_snat then outside.ip_address end
        from routerports
        join routers on routers.id = routerports.router_id
        join ipallocations inside on inside.port_id = routerports.port_id
        join subnets on subnets.id = inside.subnet_id
        left join ipallocations outside on outside.port_id = routers.gw_port_id
        where routerports.port_type = 'network:router_interface' order by 1, 2
        """,
    ),
    "floating": (
        Floating,
        """
        select floating_ip_address, fixed_ip_address from floatingips
        where fixed_ip_address is not null and router_id is not null order by 1
        """,
    ),
    "ports": (
        Port,
        """
        select ports.id, ip_address, array_remove(array_agg(security_group_id order by security_group_id), null)
        from ports
        join ipallocations on ipallocations.port_id = ports.id
        left join securitygroupportbindings bindings on bindings.port_id = ports.id
        left join portsecuritybindings security on security.port_id = ports.id
        where ports.device_owner like 'compute:%' and coalesce(security.port_security_enabled, true)
        group by 1, 2 order by 1, 2
        """,
    ),
    "policies": (
        Rule,
        """
        select security_group_id, direction::text, remote_group_id, remote_ip_prefix, protocol,
               port_range_min, port_range_max
        from securitygrouprules where ethertype = 'IPv4' and remote_address_group_id is null order by 1, 2, 3, 4, 5, 6
        """,
    ),
}
IN_FORCE = """
    update floatingips set status = case when fixed_port_id is null then 'DOWN' else 'ACTIVE' end
    where (fixed_port_id is null) <> (status = 'DOWN')
"""
UNKNOWN = "select count(*) from securitygrouprules where remote_address_group_id is not null"


def rules(network, gateways, floating, ports, policies):
    """Return the input of iptables-restore.

    Args:
        network: str, first two numbers of the cloud's range.
        gateways: list of Gateway.
        floating: list of Floating.
        ports: list of Port.
        policies: list of Rule.
    """
    nat = [f"-A PREROUTING -d {each.address}/32 -j DNAT --to-destination {each.fixed}" for each in floating]
    nat += [f"-A POSTROUTING -s {each.fixed}/32 -o {OUT} -j SNAT --to-source {each.address}" for each in floating]
    nat += [
        f"-A POSTROUTING -s {each.cidr} -o {OUT} -j SNAT --to-source {each.outside}"
        for each in gateways
        if each.outside
    ]
    addresses = collections.defaultdict(set)
    for port in ports:
        for group in port.groups:
            addresses[group].add(port.address)
    chains, jumps, allowed = [], {"egress": [], "ingress": []}, []
    for port in ports:
        for direction, own in (("egress", "-s"), ("ingress", "-d")):
            chain = f"{direction}-{port.id[:11]}"
            chains.append(f":{chain} - [0:0]")
            jumps[direction].append(f"-A FORWARD {own} {port.address}/32 -j {chain}")
            for policy in policies:
                if policy.group in port.groups and policy.direction == direction:
                    allowed += [f"-A {chain}{words} -j RETURN" for words in matches(policy, addresses)]
            allowed.append(f"-A {chain} -j DROP")
    return "\n".join(
        [
            *("*nat", ":PREROUTING ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]", *nat, "COMMIT"),
            *("*filter", ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", *chains),
            # The services themselves have no route to the outside; only forwarded packets of servers may leave.
            f"-A OUTPUT -o {OUT} ! -d {network}.0.0/16 -j REJECT",
            "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            # From outside, a server can be reached only at its floating IP.
            f"-A FORWARD -i {OUT} -m conntrack ! --ctstate DNAT -j DROP",
            *(*jumps["egress"], *jumps["ingress"], *allowed, "COMMIT", ""),
        ]
    )


def matches(policy, addresses):
    """Return the iptables arguments for the packets that a Rule allows: a list with an item for each remote.

    Args:
        policy: Rule.
        addresses: dict of set of str, by security group.
    """
    option = "-s" if policy.direction == "ingress" else "-d"
    words = f" -p {policy.protocol}" if policy.protocol else ""
    if policy.protocol in ("tcp", "udp") and policy.low is not None:
        words += f" --dport {policy.low}:{policy.high}"
    elif policy.protocol == "icmp" and policy.low is not None:
        words += f" --icmp-type {policy.low}" + (f"/{policy.high}" if policy.high is not None else "")
    elif policy.low is not None:
        raise ValueError(f"{policy}: this stand-in supports only ports of tcp and udp, and types of icmp")
    if policy.remote_group:
        return [f" {option} {address}/32{words}" for address in sorted(addresses[policy.remote_group])]
    return [f" {option} {policy.remote_range}{words}" if policy.remote_range else words]


def ask(connection):
    """Query neutron's database (connection: psycopg2's); returns the arguments of `rules` (dict of lists)."""
    with connection, connection.cursor() as cursor:
        cursor.execute(UNKNOWN)
        if cursor.fetchone()[0]:
            raise ValueError("a security group's rule has an address group, which this stand-in does not support")
        answers = {}
        for name, (kind, question) in QUESTIONS.items():
            cursor.execute(question)
            answers[name] = [kind(*row) for row in cursor.fetchall()]
    return answers


def set_gateways(gateways):
    """Set exactly the gateways' addresses on existing bridges (gateways: list of Gateway)."""
    wanted = collections.defaultdict(set)
    for gateway in gateways:
        wanted[gateway.bridge].add(f"{gateway.address}/{gateway.cidr.split('/')[1]}")
    # Links of other kinds are listed as empty.
    for link in filter(None, json.loads(run("ip", "-json", "address", "show", "type", "bridge"))):
        name = link["ifname"]
        there = {f"{each['local']}/{each['prefixlen']}" for each in link["addr_info"] if each["family"] == "inet"}
        for address in there - wanted[name]:
            run("ip", "address", "delete", address, "dev", name)
        for address in wanted[name] - there:
            run("ip", "address", "add", address, "dev", name)


def bridges():
    """Return the names of existing bridges."""
    return sorted(path.parent.name for path in pathlib.Path("/proc/sys/net/ipv4/conf").glob("brq*/forwarding"))


def main(top, network):
    """Follow neutron's database for ever (top: str, the cloud's folder; network: str, as in `rules`)."""
    for name in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"):
        pathlib.Path("/proc/sys", name).write_text("1")
    # Servers use only IPv4: other traffic between them would bypass the security groups.
    run("ip6tables", "--policy", "FORWARD", "DROP")
    # The module is installed in the cloud's environment, but not in that of the unit tests, which only use `rules`.
    import psycopg2

    connection = psycopg2.connect(host=f"{top}/database/socket", user="postgres", dbname="neutron")
    before = None
    while True:
        now = ask(connection)
        if (now, bridges()) != before:
            set_gateways(now["gateways"])
            run("iptables-restore", stdin=rules(network, **now))
            with connection, connection.cursor() as cursor:
                cursor.execute(IN_FORCE)
            before = (now, bridges())
            print(json.dumps(now), flush=True)
        time.sleep(1)
