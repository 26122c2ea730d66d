"""The server's repositories: folders that it takes over at its start, each with a uuid of its own in a file.

The file is `.omero/repository/<uuid of the database>/repo_uuid` in the folder, and the uuid is the hash of an
OriginalFile that stands for the folder. By both OMERO.tables finds where files lie. Nothing here needs Ice.
"""

import fcntl
import logging
import struct
import time
import uuid
from pathlib import Path

log = logging.getLogger(__name__)

# What every server calls the repository of its official scripts.
SCRIPTS = "ScriptRepo"
MIMETYPE = "Repository"
_LENGTH = struct.Struct(">H")


class NoRepository(Exception):
    """There is no such repository, and a server that only reads makes none."""


def encode(line):
    """Return a text (str) as Java writes it: its length in two bytes, then UTF-8."""
    data = line.encode()
    return _LENGTH.pack(len(data)) + data


def decode(data):
    """Return the text (str) of such bytes, None where they are cut off."""
    if len(data) < _LENGTH.size:
        return None
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    return data[_LENGTH.size : end].decode() if len(data) >= end else None


class UuidFile:
    """The file with a repository's uuid, and the lock of the one server that may have it.

    Args:
        folder: Path of the repository.
        database: str, the uuid of the database.
        read_only: bool, whether it is read and nothing else.
    """

    def __init__(self, folder, database, read_only):
        """Begin without a lock."""
        self.folder = Path(folder) / ".omero" / "repository" / database
        self.read_only = read_only
        self._lock = None

    def line(self):
        """Return the uuid (str), None where there is none yet; waits for another server to let go of the repository.

        Raises:
            OSError: a server that writes cannot write there.
        """
        path = self.folder / "repo_uuid"
        if self.read_only:
            return decode(path.read_bytes()) if path.exists() else None
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / ".lock").open("w")
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        self._lock.write(time.ctime())
        self._lock.flush()
        with path.open("a+b") as file:
            file.seek(0)
            return decode(file.read())

    def write(self, line):
        """Write the uuid (str)."""
        (self.folder / "repo_uuid").write_bytes(encode(line))

    def close(self):
        """Let another server have the repository."""
        if self._lock is not None:
            (self.folder / ".lock").unlink(missing_ok=True)
            self._lock.close()
            self._lock = None


class Repository:
    """A folder of the server's.

    Args:
        name: str, `scripts`, `managed` or `legacy`.
        folder: str or Path.
        read_only: bool, whether the server may write neither there nor to the database.

    Attributes:
        uuid: str or None, None as long as it is not taken over.
        file_id: int or None, of the OriginalFile that stands for it.
    """

    def __init__(self, name, folder, read_only):
        """Begin without having it."""
        self.name = name
        self.folder = Path(folder).absolute()
        self.read_only = read_only
        self.uuid = None
        self.file_id = None
        self._file = None

    @property
    def active(self):
        """Tell whether the server has it."""
        return self.file_id is not None

    def take_over(self, connection, note):
        """Take the repository over.

        Args:
            connection: psycopg.Connection.
            note: function that makes a new OriginalFile of hash, name and path (str each) and returns its id (int).

        Raises:
            OSError: its folder cannot be written to.
            NoRepository: there is none, and the server only reads.
        """
        if self.active:
            return
        database = connection.execute("select value from configuration where name = 'omero.db.uuid'").fetchone()[0]
        self._file = UuidFile(self.folder, database, self.read_only)
        try:
            line = self._file.line()
            found = line or (SCRIPTS if self.name == "scripts" else str(uuid.uuid4()))
            row = connection.execute("select id, path, name from originalfile where hash = %s", (found,)).fetchone()
            if not self.read_only:
                row = self._noted(connection, note, found, row)
                if line is None:
                    self._file.write(found)
            if row is None or (self.read_only and line is None):
                raise NoRepository(f"No repository to open! {self.folder}")
        except Exception:
            self._file.close()
            raise
        log.info("Opened repository %s (uuid=%s)", row[2], found)
        self.uuid, self.file_id = found, row[0]

    def _noted(self, connection, note, found, row):
        """Return the row that stands for the repository, made or put right."""
        here = (f"{self.folder.parent}/", self.folder.name)
        if row is None:
            log.info("Registered new repository %s (uuid=%s)", here[1], found)
            return (note(found, here[1], here[0]), *here)
        if row[1:] != here:
            log.warning("Data directory moved: %s%s updated to %s%s", *row[1:], *here)
            connection.execute(
                "update originalfile set path = %s, name = %s, version = coalesce(version, 0) + 1 where id = %s",
                (*here, row[0]),
            )
        return (row[0], *here)

    def close(self):
        """Give it back."""
        if self._file is not None:
            self._file.close()
