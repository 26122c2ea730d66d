"""Password hashes as `ome.security.auth.PasswordUtil` makes them, so that either server accepts the other's."""

import base64
import hashlib
import hmac


def password_hash(password, user_id=None):
    """Return the value of `password.hash` for a password.

    Args:
        password: str. Characters outside ISO-8859-1 count as `?`, as they do in Java.
        user_id: int or None. The salt: its eight bytes, big-endian, precede the password's.

    Returns:
        str, the MD5 digest in Base64; a blank password is returned as it is and means "any password".
    """
    if not password.strip():
        return password
    salt = b"" if user_id is None else user_id.to_bytes(8, "big", signed=True)
    digest = hashlib.md5(salt + password.encode("iso-8859-1", "replace"), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def password_matches(password, stored, user_id):
    """Tell whether a password is the stored one.

    Args:
        password: str.
        stored: str or None, `password.hash`; None is a locked account, blank lets any password in.
        user_id: int.

    Returns:
        bool; salted and unsalted hashes are both accepted, as by the real server.
    """
    if stored is None:
        return False
    if not stored.strip():
        return True
    candidates = (password_hash(password, user_id), password_hash(password))
    return any(hmac.compare_digest(candidate.encode(), stored.strip().encode()) for candidate in candidates)
