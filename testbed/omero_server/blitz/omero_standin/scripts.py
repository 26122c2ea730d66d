"""The official scripts: files below lib/scripts, each of which has a row of OriginalFile. Nothing here needs Ice."""

import fnmatch
import hashlib
import os
import posixpath
from dataclasses import dataclass
from pathlib import Path

from .takeover import SCRIPTS

USER_GROUP = 1


@dataclass(frozen=True)
class Kind:
    """A kind of script.

    Attributes:
        pattern: str, of its files' names.
        mimetype: str.
        language: str or None, as settings name what runs it; None for what is not run, a lookup table.
        launcher, process: str, the settings' defaults.
    """

    pattern: str
    mimetype: str
    language: str | None = None
    launcher: str = ""
    process: str = "omero.processor.ProcessI"


KINDS = (
    Kind("*.py", "text/x-python", "python"),
    Kind("*.jy", "text/x-jython", "jython", launcher="jython"),
    Kind("*.m", "text/x-matlab", "matlab", launcher="matlab", process="omero.processor.MATLABProcessI"),
    Kind("*.lut", "text/x-lut"),
)
MIMETYPES = tuple(kind.mimetype for kind in KINDS)
RUNNABLE = tuple(kind.mimetype for kind in KINDS if kind.language)


def mimetype_of(name):
    """Return the mimetype (str) of a script by its file's name, None where that is no script's."""
    return next((kind.mimetype for kind in KINDS if fnmatch.fnmatchcase(name, kind.pattern)), None)


def launcher(settings, mimetype):
    """Return what a processor is told to run a script with: a dict for the call's context.

    Args:
        settings: dict of str to str, OMERO's.
        mimetype: str, the script's.
    """
    kind = next((each for each in KINDS if each.mimetype == mimetype and each.language), None)
    if kind is None:
        return {"omero.launcher": "", "omero.process": ""}
    return {
        f"omero.{what}": settings.get(f"omero.{what}.{kind.language}", default)
        for what, default in (("launcher", kind.launcher), ("process", kind.process))
    }


def place(path):
    """Return folder and name of a script by the path that a client gives, with or without a slash at its beginning.

    Returns:
        (str, str), such as `/omero/export_scripts/` and `Batch_Image_Export.py`; what leads out of the repository
        becomes a file at its top.
    """
    folder, _, name = path.replace("\\", "/").rpartition("/")
    folder = posixpath.normpath(folder.strip("/") or ".")
    if folder == "." or folder.split("/")[0] == "..":
        return "/", name
    return f"/{folder}/", name


def path_in(folder, path):
    """Return the Path of a script's file below `folder` (Path), by the path (str) that a client gives."""
    inside, name = place(path)
    return Path(folder) / inside.strip("/") / name


def files(folder):
    """Yield folder (str), name (str) and Path of every script below a Path: no empty, hidden or unreadable file."""
    for base, _, names in os.walk(folder):
        inside = Path(base).relative_to(folder).as_posix()
        for name in sorted(names):
            path = Path(base) / name
            if mimetype_of(name) is None or name.startswith(".") or not os.access(path, os.R_OK):
                continue
            if path.stat().st_size:
                yield "/" if inside == "." else f"/{inside}/", name, path


def find(connection, path, mimetypes=MIMETYPES):
    """Return the id (int) of a file of the repository by its path, None where there is none.

    Args:
        connection: psycopg.Connection.
        path: str, as a client gives it.
        mimetypes: sequence of str, kinds of files that count, or None for all.
    """
    row = connection.execute(
        "select id from originalfile where repo = %s and path = %s and name = %s"
        " and (%s::text[] is null or mimetype = any(%s)) order by id desc limit 1",
        (SCRIPTS, *place(path), *([None if mimetypes is None else list(mimetypes)] * 2)),
    ).fetchone()
    return row and row[0]


def is_official(connection, file_id):
    """Tell whether an OriginalFile is an official script."""
    row = connection.execute(
        "select 1 from originalfile where id = %s and repo = %s and mimetype = any(%s)",
        (file_id, SCRIPTS, list(MIMETYPES)),
    ).fetchone()
    return row is not None


def unregister(connection, identifiers):
    """Let files (their ids) be none of the repository's any longer; their rows stay, jobs refer to them."""
    connection.execute("update originalfile set repo = null where id = any(%s)", (list(identifiers),))


def synchronise(connection, folder, event, mimetypes=RUNNABLE, read_only=False):
    """Note the scripts that came, changed or went on the disk; return those that are there.

    A script that has changed gets a new row, since its id stands for what was run before.

    Args:
        connection: psycopg.Connection.
        folder: Path of the repository.
        event: function that returns the id (int) of the event that new rows belong to.
        mimetypes: sequence of str, kinds of scripts wanted.
        read_only: bool, whether nothing may be noted.

    Returns:
        list of int, ids.
    """
    rows = connection.execute(
        "select path, name, id, hash, mimetype from originalfile where repo = %s order by id", (SCRIPTS,)
    ).fetchall()
    noted = {(path, name): rest for path, name, *rest in rows}
    wanted, there = [], set()
    for inside, name, path in files(folder):
        identifier, stored, mimetype = noted.get((inside, name), (None, None, mimetype_of(name)))
        if mimetype not in MIMETYPES:
            continue
        if not read_only:
            digest = hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
            if stored != digest:
                if identifier is not None:
                    unregister(connection, [identifier])
                identifier = register(connection, inside, name, path.stat().st_size, digest, event())
        if identifier is not None:
            there.add(identifier)
            wanted += [identifier] if mimetype in mimetypes else []
    if not read_only:
        unregister(connection, [row[2] for row in rows if row[4] in MIMETYPES and row[2] not in there])
    return wanted


def register(connection, inside, name, size, digest, event):
    """Make the row of a script of the repository, which is root's and everybody's to read; return its id.

    Args:
        connection: psycopg.Connection.
        inside: str, its folder, as place() has it.
        name: str.
        size: int, bytes.
        digest: str, its SHA-1.
        event: int, the id of an event.
    """
    return connection.execute(
        "insert into originalfile (version, name, path, repo, size, mimetype, hash, hasher, owner_id, group_id,"
        " creation_id, update_id) values (0, %s, %s, %s, %s, %s, %s,"
        " (select id from checksumalgorithm where value = 'SHA1-160'), 0, %s, %s, %s) returning id",
        (name, inside, SCRIPTS, size, mimetype_of(name), digest, USER_GROUP, event, event),
    ).fetchone()[0]
