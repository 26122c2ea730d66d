#!/usr/bin/python
"""Whether an OpenStack can give what a site wants, before anything is made."""

DOCUMENTATION = r"""
module: openstack_preflight
short_description: Check what a site wants of an OpenStack
description:
  - Logs in, looks for image, flavors, external network and volume types, and compares quotas with what is missing.
  - Fails with every problem at once, each in the cloud's own words or names, with a remedy. Changes nothing.
  - Needs openstacksdk in the interpreter.
options:
  cloud: {description: Entry of clouds.yaml., type: str, required: true}
  image: {description: Name of the image of every server., type: str, required: true}
  external_network: {description: Name of the network that floating IPs come from., type: str, required: true}
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
  volumes:
    description: The wanted volumes.
    type: list
    elements: dict
    default: []
    options:
      name: {description: The volume's name in the cloud., type: str, required: true}
      size: {description: "Its size, in GiB.", type: int, required: true}
      type: {description: Name of its type; the cloud's default one where left out., type: str}
"""

RETURN = r"""
missing_servers: {description: Wanted servers that are not there., type: list, elements: str, returned: success}
missing_volumes: {description: Wanted volumes that are not there., type: list, elements: str, returned: success}
needs:
  description: What is still to be made, as quotas count it.
  type: dict
  returned: success
  sample: {instances: 6, cores: 8, ram: 10240, volumes: 3, gigabytes: 30, ports: 6, floating IPs: 1, security groups: 8}
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


def count(servers, volumes, flavors, floating, groups):
    """Count what is to be made, as quotas do.

    Args:
        servers: list of dict, the missing servers.
        volumes: list of dict, the missing volumes.
        flavors: dict of str to an object with vcpus and ram (MiB).
        floating: int, missing floating IPs.
        groups: int, missing security groups.

    Returns:
        dict of str to int.
    """
    known = [flavors[each["flavor"]] for each in servers if each["flavor"] in flavors]
    return {
        "instances": len(servers),
        "cores": sum(each.vcpus for each in known),
        "ram": sum(each.ram for each in known),
        "volumes": len(volumes),
        "gigabytes": sum(each["size"] for each in volumes),
        "ports": len(servers),
        "floating IPs": floating,
        "security groups": groups,
    }


def read_quotas(cloud):
    """Ask for the project's quotas; returns a dict of str to (used, limit)."""
    compute = cloud.compute.get_limits().absolute
    storage = cloud.block_storage.get_limits().absolute
    network = cloud.network.get_quota(cloud.current_project_id, details=True)
    return {
        "instances": (compute.instances_used, compute.instances),
        "cores": (compute.total_cores_used, compute.total_cores),
        "ram": (compute.total_ram_used, compute.total_ram),
        "volumes": (storage.total_volumes_used, storage.max_total_volumes),
        "gigabytes": (storage.total_gigabytes_used, storage.max_total_volume_gigabytes),
        **{
            name: (used_of(detail), detail["limit"])
            for name, detail in (
                ("ports", network.ports),
                ("floating IPs", network.floating_ips),
                ("security groups", network.security_groups),
            )
        },
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
    volumes = {each.name for each in cloud.block_storage.volumes()}
    missing = [each for each in wanted["servers"] if each["name"] not in there]
    missing_volumes = [each for each in wanted["volumes"] if each["name"] not in volumes]
    floating = [each for each in wanted["servers"] if each["floating_ip"]]
    without = [each for each in floating if not has_floating_ip(there.get(each["name"]))]
    groups = set(wanted["security_groups"]) - {each.name for each in cloud.network.security_groups()}
    needs = count(missing, missing_volumes, flavors, len(without), len(groups))
    problems = absences(
        [wanted["image"]], {each.name for each in cloud.image.images() if each.status == "active"}, "image", "image"
    )
    problems += absences({each["flavor"] for each in wanted["servers"]}, flavors, "flavor", "servers")
    problems += absences(
        [wanted["external_network"]],
        {each.name for each in cloud.network.networks(is_router_external=True)},
        "external network",
        "external_network",
    )
    types = {each["type"] for each in wanted["volumes"] if each["type"]}
    problems += absences(types, {each.name for each in cloud.block_storage.types()}, "volume type", "volumes")
    problems += shortages(needs, read_quotas(cloud))
    result = {
        "missing_servers": [each["name"] for each in missing],
        "missing_volumes": [each["name"] for each in missing_volumes],
        "needs": needs,
    }
    return problems, result


def has_floating_ip(server):
    """Tell whether a server (openstack.compute.v2.server.Server or None) has a floating IP."""
    addresses = [each for network in (server.addresses if server else {}).values() for each in network]
    return any(each.get("OS-EXT-IPS:type") == "floating" for each in addresses)


def main():
    """Run the module."""
    text, needed = {"type": "str"}, {"type": "str", "required": True}
    server = {"name": needed, "flavor": needed, "floating_ip": {"type": "bool", "default": False}}
    volume = {"name": needed, "size": {"type": "int", "required": True}, "type": text}
    module = AnsibleModule(
        argument_spec={
            "cloud": needed,
            "image": needed,
            "external_network": needed,
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
