#!/usr/bin/python
"""An OMERO user with their groups."""

DOCUMENTATION = r"""
module: omero_user
short_description: Create an OMERO user and add them to groups
description:
  - Requires omero-py in the Python interpreter that runs the module.
  - Adds the user to groups, and removes them from none.
extends_documentation_fragment: [omero_login]
options:
  name: {description: Login name., type: str, required: true}
  password: {description: Password., type: str, required: true}
  update_password:
    description: Whether to set the password only at creation, or also if the user cannot log in with it.
    type: str
    choices: [on_create, always]
    default: on_create
  groups: {description: "Groups, the default one first.", type: list, elements: str, required: true}
  first_name: {description: First name., type: str, required: true}
  last_name: {description: Last name., type: str, required: true}
"""

RETURN = r"""
id: {description: ID of the experimenter., type: int, returned: when the user exists}
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible.module_utils.omero_session import ARGUMENTS, can_log_in, session
except ImportError:  # in the collection (docs/adr/0028)
    from ..module_utils.omero_session import ARGUMENTS, can_log_in, session


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "name": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "update_password": {"type": "str", "choices": ["on_create", "always"], "default": "on_create"},
            "groups": {"type": "list", "elements": "str", "required": True},
            "first_name": {"type": "str", "required": True},
            "last_name": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    with session(module) as client:
        module.exit_json(**ensure(module, client))


def ensure(module, client):
    """Create or update the user; returns the module's result."""
    import omero
    from omero.model import ExperimenterGroupI, ExperimenterI
    from omero.rtypes import rbool, rstring

    admin = client.sf.getAdminService()
    wanted = [admin.lookupGroup(name).id.val for name in module.params["groups"]]
    try:
        user = admin.lookupExperimenter(module.params["name"])
    except omero.ApiUsageException:
        user = None
    if user is None:
        if module.check_mode:
            return {"changed": True}
        user = ExperimenterI()
        user.omeName = rstring(module.params["name"])
        user.firstName = rstring(module.params["first_name"])
        user.lastName = rstring(module.params["last_name"])
        user.ldap = rbool(False)
        # Besides groups that hold data, every user is a member of OMERO's own group `user`.
        everyone = admin.getSecurityRoles().userGroupId
        identity = admin.createExperimenterWithPassword(
            user,
            rstring(module.params["password"]),
            ExperimenterGroupI(wanted[0], False),
            [ExperimenterGroupI(group, False) for group in [*wanted[1:], everyone]],
        )
        return {"changed": True, "id": identity}
    missing = set(wanted) - set(admin.getMemberOfGroupIds(user))
    if missing and not module.check_mode:
        admin.addGroups(user, [ExperimenterGroupI(group, False) for group in sorted(missing)])
    always = module.params["update_password"] == "always"  # noqa: S105 (no password)
    stale = always and not can_log_in(module, module.params["name"], module.params["password"])
    if stale and not module.check_mode:
        admin.changeUserPassword(module.params["name"], rstring(module.params["password"]))
    return {"changed": bool(missing) or stale, "id": user.id.val}


if __name__ == "__main__":
    main()
