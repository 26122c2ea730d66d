#!/usr/bin/python
"""An OMERO group with its permissions."""

DOCUMENTATION = r"""
module: omero_group
short_description: Create an OMERO group and set its permissions
description:
  - Requires omero-py in the Python interpreter that runs the module.
extends_documentation_fragment: [omero_login]
options:
  name: {description: Name of the group., type: str, required: true}
  permissions:
    description: Permissions in OMERO's notation.
    type: str
    choices: [rw----, rwr---, rwra--, rwrw--]
    required: true
"""

RETURN = r"""
id: {description: ID of the group., type: int, returned: when the group exists}
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible.module_utils.omero_session import ARGUMENTS, session
except ImportError:  # in the collection (docs/adr/0028)
    from ..module_utils.omero_session import ARGUMENTS, session


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "name": {"type": "str", "required": True},
            "permissions": {"type": "str", "required": True, "choices": ["rw----", "rwr---", "rwra--", "rwrw--"]},
        },
        supports_check_mode=True,
    )
    with session(module) as client:
        module.exit_json(**ensure(module, client))


def ensure(module, client):
    """Create or update the group; returns the module's result."""
    import omero
    from omero.model import ExperimenterGroupI, PermissionsI
    from omero.rtypes import rbool, rstring

    admin = client.sf.getAdminService()
    name, permissions = module.params["name"], module.params["permissions"]
    try:
        group = admin.lookupGroup(name)
    except omero.ApiUsageException:
        group = None
    if group is None:
        if module.check_mode:
            return {"changed": True}
        group = ExperimenterGroupI()
        group.name = rstring(name)
        group.ldap = rbool(False)
        group.details.permissions = PermissionsI(permissions)
        return {"changed": True, "id": admin.createGroup(group)}
    result = {"changed": str(group.details.permissions) != permissions, "id": group.id.val}
    if result["changed"] and not module.check_mode:
        group.details.permissions = PermissionsI(permissions)
        admin.updateGroup(group)
    return result


if __name__ == "__main__":
    main()
