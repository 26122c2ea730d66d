"""Filters for PostgreSQL's formats."""

import base64
import hashlib
import hmac

from ansible_collections.community.postgresql.plugins.module_utils.saslprep import saslprep

# What PostgreSQL itself uses (SCRAM_SHA_256_DEFAULT_ITERATIONS), and its length of a salt in bytes.
ITERATIONS = 4096
SALT = 16


def verifier(password, salt):
    """Compute what PostgreSQL stores of a password.

    Args:
        password: str, in plain text.
        salt: bytes, 16 of them.

    Returns:
        str: `SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>`, as in pg_authid.rolpassword (RFC 5802 and 7677).
    """
    try:
        prepared = saslprep(password)
    except ValueError:
        # What cannot be prepared is taken as it is, by the server and by clients (pg_saslprep).
        prepared = password
    salted = hashlib.pbkdf2_hmac("sha256", prepared.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (base64.b64encode(each).decode() for each in (salt, stored, server))
    return f"SCRAM-SHA-256${ITERATIONS}:{salt_text}${stored_text}:{server_text}"


def scram_sha_256(password, salt):
    """Return the verifier under which PostgreSQL stores a password, so that the password need not be sent.

    Args:
        password: str, in plain text.
        salt: str, anything that differs between users. The same one gives the same verifier.

    Returns:
        str: see verifier.
    """
    return verifier(password, hashlib.sha256(salt.encode()).digest()[:SALT])


class FilterModule:
    """The filters of this plugin."""

    def filters(self):
        """Return the filters by name."""
        return {"scram_sha_256": scram_sha_256}
