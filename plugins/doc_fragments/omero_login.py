"""Common documentation of modules that log in to OMERO.server."""


class ModuleDocFragment:
    """The options of ARGUMENTS in module_utils/omero_session.py."""

    DOCUMENTATION = r"""
options:
  login_host: {description: Host of OMERO.server., type: str, default: localhost}
  login_port: {description: TLS port of OMERO.server., type: int, default: 4064}
  login_user: {description: OMERO's user who logs in., type: str, default: root}
  login_password: {description: Password of C(login_user)., type: str, required: true}
  login_timeout:
    description: >-
      For how many seconds the login is tried again while OMERO.server is starting, that is while it refuses
      connections or has no session to give yet. 0 for a single try.
    type: int
    default: 30
"""
