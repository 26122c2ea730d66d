"""What the modules that log in to OMERO.server have in common."""


class ModuleDocFragment:
    """The options of ARGUMENTS in module_utils/omero_session.py."""

    DOCUMENTATION = r"""
options:
  login_host: {description: Host of OMERO.server., type: str, default: localhost}
  login_port: {description: Its TLS port., type: int, default: 4064}
  login_user: {description: An OMERO administrator., type: str, default: root}
  login_password: {description: That user's password., type: str, required: true}
"""
