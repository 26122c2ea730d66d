"""Filters for OMERO's formats."""

import base64
import hashlib


def omero_password_hash(password, user_id):
    """Return the hash under which OMERO.server stores a password.

    Args:
        password: str, in plain text.
        user_id: int, id of the experimenter, which is the salt.

    Returns:
        str: base64 of the MD5 digest of the id (eight bytes, big-endian) and the password in Latin-1. This format is
        given by OMERO (ome.security.auth.PasswordUtil).
    """
    salted = int(user_id).to_bytes(8, "big") + password.encode("latin-1", "replace")
    return base64.b64encode(hashlib.md5(salted, usedforsecurity=False).digest()).decode()


class FilterModule:
    """The filters of this plugin."""

    def filters(self):
        """Return the filters by name."""
        return {"omero_password_hash": omero_password_hash}
