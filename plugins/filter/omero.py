"""Filters about OMERO's own formats."""

import base64
import hashlib


def omero_password_hash(password, user_id):
    """Return the hash that OMERO.server keeps of a password.

    Args:
        password: str, in the clear.
        user_id: int, id of the experimenter, which is the salt.

    Returns:
        str: base64 of the MD5 digest of the id as eight bytes, big end first, and the password in Latin-1. This
        is OMERO's format (ome.security.auth.PasswordUtil), not a choice of ours.
    """
    salted = int(user_id).to_bytes(8, "big") + password.encode("latin-1", "replace")
    return base64.b64encode(hashlib.md5(salted, usedforsecurity=False).digest()).decode()


class FilterModule:
    """What Ansible loads."""

    def filters(self):
        """Return the filters by name."""
        return {"omero_password_hash": omero_password_hash}
