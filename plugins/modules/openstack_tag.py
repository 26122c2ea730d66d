#!/usr/bin/python
"""Tags that identify the resources of an environment in an OpenStack's network."""

DOCUMENTATION = r"""
module: openstack_tag
short_description: Tag network resources of an environment, and find them
description:
  - >-
    Neutron's networks, subnets, routers and floating IPs have tags, which the modules of openstack.cloud neither set
    nor search for. With C(names), this module tags these resources; without, it changes nothing. In both cases it
    returns all resources with the tags.
  - Requires openstacksdk in the Python interpreter that runs the module.
options:
  cloud: {description: Name of the entry in clouds.yaml., type: str, required: true}
  tags: {description: The tags., type: list, elements: str, required: true}
  kind:
    description: Kind of the resources.
    type: str
    required: true
    choices: [network, subnet, router, floating_ip]
  names:
    description: Names of the resources to tag, or addresses of floating IPs. Each must exist.
    type: list
    elements: str
    default: []
"""

RETURN = r"""
tagged:
  description: All resources with the tags.
  type: list
  elements: dict
  returned: success
  sample: [{id: 7d5c3d2e-6a1f-4f39-8b5e-0f1f0b7a9c11, name: repository, tags: [vitrine_environment=repository]}]
"""

from ansible.module_utils.basic import AnsibleModule

try:
    import openstack
    from keystoneauth1.exceptions import ClientException
    from openstack.exceptions import SDKException
except ImportError as problem:
    missing_library = problem
else:
    missing_library = None

# How the library lists each kind, and the attribute that identifies a resource to people.
KINDS = {
    "network": ("networks", "name"),
    "subnet": ("subnets", "name"),
    "router": ("routers", "name"),
    "floating_ip": ("ips", "floating_ip_address"),
}


def untagged(found, names, known_by, tags):
    """Return the resources that need to be tagged.

    Args:
        found: list of the cloud's resources of the kind.
        names: list of str.
        known_by: str, the attribute that holds a name.
        tags: set of str.

    Returns:
        list of resources that lack a tag.

    Raises:
        LookupError: There is no resource with a name, or more than one.
    """
    wanted = []
    for name in names:
        same = [each for each in found if getattr(each, known_by) == name]
        if len(same) != 1:
            raise LookupError(f"{len(same)} are called '{name}', expected one.")
        wanted += [each for each in same if not tags <= set(each.tags)]
    return wanted


def main():
    """Run the module."""
    needed, texts = {"type": "str", "required": True}, {"type": "list", "elements": "str"}
    module = AnsibleModule(
        argument_spec={
            "cloud": needed,
            "tags": texts | {"required": True},
            "kind": needed | {"choices": list(KINDS)},
            "names": texts | {"default": []},
        },
        supports_check_mode=True,
    )
    if missing_library:
        module.fail_json(msg=f"openstack_tag cannot run: {missing_library}. scripts/deploy installs what it needs.")
    tags, kind = set(module.params["tags"]), module.params["kind"]
    lister, known_by = KINDS[kind]
    try:
        cloud = openstack.connect(cloud=module.params["cloud"])
        network = cloud.network
        # Without resources of other projects that are shared with this one.
        found = list(getattr(network, lister)(project_id=cloud.current_project_id))
        missing = untagged(found, module.params["names"], known_by, tags)
        for each in missing:
            if not module.check_mode:
                network.set_tags(each, sorted(tags | set(each.tags)))
    except LookupError as problem:
        module.fail_json(msg=f"{kind}: {problem}")
    except (ClientException, SDKException) as fault:
        module.fail_json(msg=f"{kind}: the cloud did not take the tags: {fault}")
    tagged = [
        {"id": each.id, "name": getattr(each, known_by), "tags": sorted(tags | set(each.tags))}
        for each in found
        if tags <= set(each.tags) or each in missing
    ]
    module.exit_json(changed=bool(missing), tagged=tagged)


if __name__ == "__main__":
    main()
