#!/usr/bin/python
"""Checks that an OpenStack can provide a site, before anything is created."""

DOCUMENTATION = r"""
module: openstack_preflight
short_description: Check that an OpenStack can provide a site
description:
  - Logs in, looks for image, flavors, external network and volume types, and compares quotas with missing resources.
  - Refuses a network, subnet or router that has the site's name but belongs to something else, and a volume that would
    have to shrink.
  - Fails with all problems at once, each with the cloud's own names or messages and a remedy. Changes nothing.
  - Requires openstacksdk in the Python interpreter that runs the module.
options:
  cloud: {description: Name of the entry in clouds.yaml., type: str, required: true}
  image: {description: Name of the image of every server., type: str, required: true}
  external_network: {description: Name of the network that provides floating IPs., type: str, required: true}
  network: {description: "Name of the site's own network, subnet and router.", type: str, required: true}
  tag: {description: Tag of network resources that belong to this environment., type: str, required: true}
  security_groups: {description: Names of the site's security groups., type: list, elements: str, default: []}
  servers:
    description: Servers of the site.
    type: list
    elements: dict
    required: true
    options:
      name: {description: Name of the server in the cloud., type: str, required: true}
      flavor: {description: Name of the server's flavor., type: str, required: true}
      floating_ip: {description: Whether the server gets a floating IP., type: bool, default: false}
      floating_ip_address: {description: Floating IP of the project to assign., type: str}
      boot_volume: {description: Size of the server's boot volume in GiB; by default it has none., type: int}
  volumes:
    description: Volumes of the site.
    type: list
    elements: dict
    default: []
    options:
      name: {description: Name of the volume in the cloud., type: str, required: true}
      size: {description: Size of the volume in GiB., type: int, required: true}
      type: {description: Name of the volume's type; by default that of the cloud., type: str}
      volume: {description: Name or ID of a volume to clone., type: str}
      snapshot: {description: Name or ID of a snapshot from which the volume is created., type: str}
"""

RETURN = r"""
missing_servers: {description: Servers that do not exist yet., type: list, elements: str, returned: success}
missing_volumes: {description: Volumes that do not exist yet., type: list, elements: str, returned: success}
needs:
  description: Resources still to be created, in the units of quotas.
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

# Units of quotas that are not plain numbers.
UNITS = {"ram": " MiB", "gigabytes": " GiB"}


class RefusedError(Exception):
    """The cloud cannot even be queried; the text gives the reason."""


def connect(name):
    """Log in to a cloud.

    Args:
        name: str, entry of clouds.yaml.

    Returns:
        openstack.connection.Connection with a token.

    Raises:
        RefusedError: There is no such entry, nothing answers, or the cloud rejects the user.
    """
    try:
        cloud = openstack.connect(cloud=name)
        cloud.authorize()
    except ConfigException as fault:
        raise RefusedError(
            f"clouds.yaml: {fault} Use the name of an entry, or set OS_CLIENT_CONFIG_FILE to the file."
        ) from fault
    except (ClientException, SDKException) as fault:
        remedy = "Check the address in clouds.yaml, and that it can be reached from here."
        # openstacksdk wraps keystone's message.
        if isinstance(fault, Unauthorized) or "HTTP 401" in str(fault):
            remedy = "Check user, project and password in clouds.yaml."
        raise RefusedError(f"logging in to the cloud {name} failed: {fault} {remedy}") from fault
    return cloud


def absences(wanted, offered, kind, variable):
    """List the names that a cloud does not offer.

    Args:
        wanted: iterable of str.
        offered: iterable of str.
        kind: str, the kind of the names.
        variable: str, the variable that sets them.

    Returns:
        list of str, a sentence for each.
    """
    offered = sorted(offered)
    return [
        f"{kind} '{name}' ({variable}) is not in this cloud; it has {', '.join(offered) or 'none'}."
        for name in sorted(set(wanted) - set(offered))
    ]


def shortages(needs, quotas):
    """List the quotas that do not suffice.

    Args:
        needs: dict of str to int, the resources still to be created.
        quotas: dict of str to (used, limit), both int; a negative limit means no limit.

    Returns:
        list of str, a sentence for each.
    """
    return [
        f"quota of {name}: {needs[name]}{UNITS.get(name, '')} more are needed, and {max(limit - used, 0)}"
        f"{UNITS.get(name, '')} are left ({used} of {limit} in use). Ask the cloud's operator for more, or use less."
        for name, (used, limit) in quotas.items()
        if limit >= 0 and needs[name] > 0 and used + needs[name] > limit
    ]


def count(servers, volumes, flavors, floating, groups, network):
    """Count the resources to be created, in the units of quotas.

    Args:
        servers: list of dict, the missing servers.
        volumes: list of dict, the missing volumes.
        flavors: dict of str to an object with vcpus and ram (MiB).
        floating: int, missing floating IPs.
        groups: int, missing security groups.
        network: dict of str to int, missing networks, subnets and routers.

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
        # The router has a port in the site's network.
        "ports": len(servers) + network["routers"],
        "floating IPs": floating,
        "security groups": groups,
        **network,
    }


def read_quotas(cloud):
    """Read the project's quotas; returns a dict of str to (used, limit)."""
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
    """Return the number that neutron counts as used (detail: dict with used and reserved)."""
    return detail["used"] + int(detail["reserved"])


def look(cloud, wanted):
    """Compare the site's configuration with the cloud.

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
    # Floating IPs of the environment that no server has now are assigned again.
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
    """Look for network, subnet and router with the site's name.

    Args:
        cloud: openstack.connection.Connection.
        name: str.
        tag: str, tag of resources that belong to this environment.

    Returns:
        (missing: dict as for count, problems: list of str).
    """
    missing, problems = {}, []
    for kind in ("networks", "subnets", "routers"):
        same = list(getattr(cloud.network, kind)(name=name, project_id=cloud.current_project_id))
        missing[kind] = 0 if same else 1
        problems += [
            f"a {kind[:-1]} '{name}' exists already ({each.id}) and is not this site's: it has no tag {tag}. Choose"
            f" another name for the site. If a run of this site was interrupted, tag it and run this again:"
            f" openstack {kind[:-1]} set --tag {tag} {each.id}"
            for each in same
            if tag not in each.tags
        ]
    return missing, problems


def unfit_sources(volumes, kind, offered):
    """List the volumes that cannot be created from their sources.

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
                f"volume '{volume['name']}' is to be created from the {kind} '{volume[kind]}', but there are"
                f" {len(sources)} with that name. Use an existing one, by its ID if necessary."
            )
        problems += [
            f"volume '{volume['name']}' has size {volume['size']} GiB, but its source, the {kind} '{volume[kind]}',"
            f" has {each.size} GiB. Set the same size or more."
            for each in sources
            if each.size > volume["size"]
        ]
    return problems


def shrinking(volumes, sizes):
    """List the volumes that would have to shrink, which none can (volumes: list of dict; sizes: dict of int, GiB)."""
    return [
        f"volume '{each['name']}' has {sizes[each['name']]} GiB, expected {each['size']}; a volume can only grow."
        f" Set the present size or more."
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
        problems = [f"the cloud did not answer a request: {fault}"]
    if problems:
        number = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "\n".join(f"  {each}" for each in problems)
        module.fail_json(
            msg=f"The cloud cannot provide the site, and nothing was created. {number}:\n{lines}",
            problems=problems,
        )
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
