#!/usr/bin/python
"""Whether an OpenStack can give what a site wants, before anything is made."""

DOCUMENTATION = r"""
module: openstack_preflight
short_description: Check what a site wants of an OpenStack
description:
  - Logs in, looks for image, flavors, external network and volume types, and compares quotas with what is missing.
  - Refuses a network, subnet or router of the wanted name that is another's, and a volume that would have to shrink.
  - Fails with every problem at once, each in the cloud's own words or names, with a remedy. Changes nothing.
  - Needs openstacksdk in the interpreter.
options:
  cloud: {description: Entry of clouds.yaml., type: str, required: true}
  image: {description: Name of the image of every server., type: str, required: true}
  external_network: {description: Name of the network that floating IPs come from., type: str, required: true}
  network: {description: Name of the site's own network, subnet and router., type: str, required: true}
  tag: {description: Tag that these carry when they are this environment's., type: str, required: true}
  security_groups: {description: Names of the wanted security groups., type: list, elements: str, default: []}
  servers:
    description: The wanted servers.
    type: list
    elements: dict
    required: true
    options:
      name: {description: The server's name in the cloud., type: str, required: true}
      flavor: {description: Name of its flavor., type: str, required: true}
      floating_ip: {description: Whether it gets a floating IP., type: bool, default: false}
      floating_ip_address: {description: "The one that it gets, which must be the project's.", type: str}
      boot_volume: {description: "Size of the volume that it boots from, in GiB; else the flavor's.", type: int}
  volumes:
    description: The wanted volumes.
    type: list
    elements: dict
    default: []
    options:
      name: {description: The volume's name in the cloud., type: str, required: true}
      size: {description: "Its size, in GiB.", type: int, required: true}
      type: {description: Name of its type; the cloud's default one where left out., type: str}
      volume: {description: Name or id of the volume that it is a clone of., type: str}
      snapshot: {description: Name or id of the snapshot that it is made of., type: str}
"""

RETURN = r"""
missing_servers: {description: Wanted servers that are not there., type: list, elements: str, returned: success}
missing_volumes: {description: Wanted volumes that are not there., type: list, elements: str, returned: success}
needs:
  description: What is still to be made, as quotas count it.
  type: dict
  returned: success
  sample: {instances: 6, cores: 8, ram: 10240, volumes: 3, gigabytes: 30, ports: 7, networks: 1, security groups: 8}
"""

from ansible.module_utils.basic import AnsibleModule

try:
    import openstack
    from keystoneauth1.exceptions import ClientException, Unauthorized
    from openstack.exceptions import ConfigException, SDKException
except ImportError as problem:
    missing_library = problem
else:
    missing_library = None

# Units of what quotas count, where it is not a number of things.
UNITS = {"ram": " MiB", "gigabytes": " GiB"}


class RefusedError(Exception):
    """The cloud cannot even be asked; the text says why."""


def connect(name):
    """Log in to a cloud.

    Args:
        name: str, entry of clouds.yaml.

    Returns:
        openstack.connection.Connection with a token.

    Raises:
        RefusedError: There is no such entry, nobody answers, or the cloud does not let the user in.
    """
    try:
        cloud = openstack.connect(cloud=name)
        cloud.authorize()
    except ConfigException as fault:
        raise RefusedError(
            f"clouds.yaml: {fault} Name an entry of it, or set OS_CLIENT_CONFIG_FILE to the file."
        ) from fault
    except (ClientException, SDKException) as fault:
        remedy = "Look at the address in clouds.yaml, and whether it can be reached from here."
        # openstacksdk wraps what keystone said.
        if isinstance(fault, Unauthorized) or "HTTP 401" in str(fault):
            remedy = "Look at user, project and password in clouds.yaml."
        raise RefusedError(f"logging in to the cloud {name} failed: {fault} {remedy}") from fault
    return cloud


def absences(wanted, offered, kind, variable):
    """Say which wanted names a cloud does not offer.

    Args:
        wanted: iterable of str.
        offered: iterable of str.
        kind: str, what they are.
        variable: str, where they are set.

    Returns:
        list of str, a sentence for each.
    """
    offered = sorted(offered)
    return [
        f"{kind} '{name}' ({variable}) is not in this cloud; it has {', '.join(offered) or 'none'}."
        for name in sorted(set(wanted) - set(offered))
    ]


def shortages(needs, quotas):
    """Say which quotas do not suffice.

    Args:
        needs: dict of str to int, what is still to be made.
        quotas: dict of str to (used, limit), both int; a negative limit is none.

    Returns:
        list of str, a sentence for each.
    """
    return [
        f"quota of {name}: {needs[name]}{UNITS.get(name, '')} more are needed, and {max(limit - used, 0)}"
        f"{UNITS.get(name, '')} are left ({used} of {limit} in use). Ask the cloud's operator for more, or want less."
        for name, (used, limit) in quotas.items()
        if limit >= 0 and needs[name] > 0 and used + needs[name] > limit
    ]


def count(servers, volumes, flavors, floating, groups, network):
    """Count what is to be made, as quotas do.

    Args:
        servers: list of dict, the missing servers.
        volumes: list of dict, the missing volumes.
        flavors: dict of str to an object with vcpus and ram (MiB).
        floating: int, missing floating IPs.
        groups: int, missing security groups.
        network: dict of str to int, what is missing of networks, subnets and routers.

    Returns:
        dict of str to int.
    """
    known = [flavors[each["flavor"]] for each in servers if each["flavor"] in flavors]
    boot = [each["boot_volume"] for each in servers if each["boot_volume"]]
    return {
        "instances": len(servers),
        "cores": sum(each.vcpus for each in known),
        "ram": sum(each.ram for each in known),
        "volumes": len(volumes) + len(boot),
        "gigabytes": sum(each["size"] for each in volumes) + sum(boot),
        # The router has one in the site's network.
        "ports": len(servers) + network["routers"],
        "floating IPs": floating,
        "security groups": groups,
        **network,
    }


def read_quotas(cloud):
    """Ask for the project's quotas; returns a dict of str to (used, limit)."""
    compute = cloud.compute.get_limits().absolute
    storage = cloud.block_storage.get_limits().absolute
    network = cloud.network.get_quota(cloud.current_project_id, details=True)
    details = {
        "ports": network.ports,
        "floating IPs": network.floating_ips,
        "security groups": network.security_groups,
        "networks": network.networks,
        "subnets": network.subnets,
        "routers": network.routers,
    }
    return {
        "instances": (compute.instances_used, compute.instances),
        "cores": (compute.total_cores_used, compute.total_cores),
        "ram": (compute.total_ram_used, compute.total_ram),
        "volumes": (storage.total_volumes_used, storage.max_total_volumes),
        "gigabytes": (storage.total_gigabytes_used, storage.max_total_volume_gigabytes),
        **{name: (used_of(detail), detail["limit"]) for name, detail in details.items()},
    }


def used_of(detail):
    """What neutron counts as taken (detail: dict with used and reserved)."""
    return detail["used"] + int(detail["reserved"])


def look(cloud, wanted):
    """Compare what is wanted with what the cloud has.

    Args:
        cloud: openstack.connection.Connection.
        wanted: dict, the module's parameters.

    Returns:
        (problems: list of str, result: dict as in RETURN).
    """
    flavors = {each.name: each for each in cloud.compute.flavors()}
    there = {each.name: each for each in cloud.compute.servers()}
    volumes = {each.name: each for each in cloud.block_storage.volumes()}
    missing = [each for each in wanted["servers"] if each["name"] not in there]
    missing_volumes = [each for each in wanted["volumes"] if each["name"] not in volumes]
    floating = [each for each in wanted["servers"] if each["floating_ip"] and not each["floating_ip_address"]]
    without = [each for each in floating if not has_floating_ip(there.get(each["name"]))]
    groups = set(wanted["security_groups"]) - {each.name for each in cloud.network.security_groups()}
    addresses = list(cloud.network.ips())
    # What an environment had, and no server has now, is given again.
    spare = [each for each in addresses if wanted["tag"] in each.tags and not each.fixed_ip_address]
    network, problems = look_at_network(cloud, wanted["network"], wanted["tag"])
    needs = count(missing, missing_volumes, flavors, max(len(without) - len(spare), 0), len(groups), network)
    problems += absences(
        [wanted["image"]], {each.name for each in cloud.image.images() if each.status == "active"}, "image", "image"
    )
    problems += absences({each["flavor"] for each in wanted["servers"]}, flavors, "flavor", "servers")
    problems += absences(
        [wanted["external_network"]],
        {each.name for each in cloud.network.networks(is_router_external=True)},
        "external network",
        "external_network",
    )
    problems += absences(
        {each["floating_ip_address"] for each in wanted["servers"] if each["floating_ip_address"]},
        {each.floating_ip_address for each in addresses},
        "floating IP",
        "servers",
    )
    types = {each["type"] for each in wanted["volumes"] if each["type"]}
    problems += absences(types, {each.name for each in cloud.block_storage.types()}, "volume type", "volumes")
    sources = {"volume": list(volumes.values()), "snapshot": list(cloud.block_storage.snapshots())}
    for kind, offered in sources.items():
        problems += unfit_sources([each for each in missing_volumes if each[kind]], kind, offered)
    sizes = {name: each.size for name, each in volumes.items()}
    problems += shrinking(wanted["volumes"], sizes)
    needs["gigabytes"] += sum(
        max(each["size"] - sizes.get(each["name"], each["size"]), 0) for each in wanted["volumes"]
    )
    problems += shortages(needs, read_quotas(cloud))
    result = {
        "missing_servers": [each["name"] for each in missing],
        "missing_volumes": [each["name"] for each in missing_volumes],
        "needs": needs,
    }
    return problems, result


def look_at_network(cloud, name, tag):
    """Look for network, subnet and router of the wanted name.

    Args:
        cloud: openstack.connection.Connection.
        name: str.
        tag: str, what is this environment's carries it.

    Returns:
        (missing: dict as for count, problems: list of str).
    """
    missing, problems = {}, []
    for kind in ("networks", "subnets", "routers"):
        same = list(getattr(cloud.network, kind)(name=name, project_id=cloud.current_project_id))
        missing[kind] = 0 if same else 1
        problems += [
            f"a {kind[:-1]} '{name}' is there already ({each.id}) and not this site's: it has no tag {tag}. Choose"
            f" another name for the site. If a run of this site was cut off, tag it and run this again:"
            f" openstack {kind[:-1]} set --tag {tag} {each.id}"
            for each in same
            if tag not in each.tags
        ]
    return missing, problems


def unfit_sources(volumes, kind, offered):
    """Say which volumes cannot be made of what they shall be made of.

    Args:
        volumes: list of dict, the missing volumes of the kind.
        kind: str, volume or snapshot.
        offered: list of the cloud's volumes or snapshots, with id, name and size (GiB).

    Returns:
        list of str, a sentence for each.
    """
    problems = []
    for volume in volumes:
        sources = [each for each in offered if volume[kind] in (each.id, each.name)]
        if len(sources) != 1:
            problems.append(
                f"volume '{volume['name']}' shall be made of the {kind} '{volume[kind]}', and there are {len(sources)}"
                f" of that name. Name one that is there, by its id if need be."
            )
        problems += [
            f"volume '{volume['name']}' shall have {volume['size']} GiB, and the {kind} '{volume[kind]}' that it is"
            f" made of has {each.size}. Want as much or more."
            for each in sources
            if each.size > volume["size"]
        ]
    return problems


def shrinking(volumes, sizes):
    """Say which volumes would have to shrink, which none can (volumes: list of dict; sizes: dict of int, GiB)."""
    return [
        f"volume '{each['name']}' has {sizes[each['name']]} GiB, expected {each['size']}; a volume can only grow."
        f" Want what it has."
        for each in volumes
        if sizes.get(each["name"], 0) > each["size"]
    ]


def has_floating_ip(server):
    """Tell whether a server (openstack.compute.v2.server.Server or None) has a floating IP."""
    addresses = [each for network in (server.addresses if server else {}).values() for each in network]
    return any(each.get("OS-EXT-IPS:type") == "floating" for each in addresses)


def main():
    """Run the module."""
    text, needed = {"type": "str"}, {"type": "str", "required": True}
    server = {
        "name": needed,
        "flavor": needed,
        "floating_ip": {"type": "bool", "default": False},
        "floating_ip_address": text,
        "boot_volume": {"type": "int"},
    }
    volume = {
        "name": needed,
        "size": {"type": "int", "required": True},
        "type": text,
        "volume": text,
        "snapshot": text,
    }
    module = AnsibleModule(
        argument_spec={
            "cloud": needed,
            "image": needed,
            "external_network": needed,
            "network": needed,
            "tag": needed,
            "security_groups": {"type": "list", "elements": "str", "default": []},
            "servers": {"type": "list", "elements": "dict", "required": True, "options": server},
            "volumes": {"type": "list", "elements": "dict", "default": [], "options": volume},
        },
        supports_check_mode=True,
    )
    if missing_library:
        module.fail_json(
            msg=f"openstack_preflight cannot run: {missing_library}. scripts/deploy installs what it needs."
        )
    try:
        problems, result = look(connect(module.params["cloud"]), module.params)
    except RefusedError as refusal:
        problems = [str(refusal)]
    except (ClientException, SDKException) as fault:
        problems = [f"the cloud did not answer a question: {fault}"]
    if problems:
        number = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "\n".join(f"  {each}" for each in problems)
        module.fail_json(
            msg=f"The cloud cannot give what the site wants, and nothing was made. {number}:\n{lines}",
            problems=problems,
        )
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
