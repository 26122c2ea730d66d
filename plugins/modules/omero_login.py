#!/usr/bin/python
"""Whether OMERO.server accepts a password."""

DOCUMENTATION = r"""
module: omero_login
short_description: Try whether OMERO.server accepts a password
description:
  - Logs in and out, and changes nothing. A refusal is no failure; a server that does not answer is one.
  - Needs omero-py in the interpreter that it runs with.
extends_documentation_fragment: [omero_login]
"""

RETURN = r"""
accepted: {description: Whether the user could log in., type: bool, returned: success}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.omero_session import ARGUMENTS, can_log_in


def main():
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        accepted = can_log_in(module, module.params["login_user"], module.params["login_password"])
    except Exception as problem:  # whatever Ice and omero-py raise, or an import that fails
        place = f"{module.params['login_host']}:{module.params['login_port']}"
        module.fail_json(msg=f"OMERO.server on {place} cannot be asked: {type(problem).__name__}: {problem}")
    module.exit_json(accepted=accepted)


if __name__ == "__main__":
    main()
