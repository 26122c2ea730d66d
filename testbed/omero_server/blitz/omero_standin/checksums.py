"""Checksums of files by OMERO's names, the same on the client and on the server. No part of this needs Ice."""

import hashlib
from pathlib import Path

# The one that is taken where a client takes any first.
ALGORITHMS = ("SHA1-160", "MD5-128", "File-Size-64")
_DIGESTS = {"SHA1-160": "sha1", "MD5-128": "md5"}


class Checksum:
    """The checksum of bytes that come one after the other.

    Args:
        algorithm: str, one of ALGORITHMS.
    """

    def __init__(self, algorithm):
        """Begin without bytes."""
        name = _DIGESTS.get(algorithm)
        self.digest = hashlib.new(name, usedforsecurity=False) if name else None
        self.size = 0

    def add(self, data):
        """Take more bytes."""
        self.size += len(data)
        if self.digest is not None:
            self.digest.update(data)

    def text(self):
        """Return it as OMERO writes it."""
        return f"{self.size:016x}" if self.digest is None else self.digest.hexdigest()


def checksum_of(path, algorithm):
    """Return the checksum (str) of a file.

    Args:
        path: Path.
        algorithm: str, one of ALGORITHMS.

    Raises:
        OSError: it cannot be read.
    """
    if algorithm == "File-Size-64":
        return f"{Path(path).stat().st_size:016x}"
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, _DIGESTS[algorithm]).hexdigest()
