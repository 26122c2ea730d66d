"""Where the bytes of an OriginalFile are: those of an import in the managed repository, others below Files."""

from pathlib import Path

from . import images
from .errors import Forbidden, Invalid
from .permissions import may_edit, may_read
from .read_only import ReadOnly
from .settings import is_read_only


def path_of(call, file_id):
    """Return the Path of a file that a client sent."""
    return Path(call.blitz.settings["omero.data.dir"]) / "Files" / str(file_id)


def readable(call, file_id):
    """Return the Path of a file's bytes.

    Args:
        call: calls.Call.
        file_id: int, of the OriginalFile.

    Raises:
        Invalid: there is no such file.
        Forbidden: the caller may not see it.
    """
    owner_id, group_id, name = _row(call, file_id)
    if not may_read(call.context_for_all(), owner_id, group_id):
        raise Forbidden(f"Cannot read OriginalFile:{file_id}")
    imported = images.repository(call.blitz.settings) / name
    return imported if _is_imported(call, file_id) else path_of(call, file_id)


def writable(call, file_id):
    """Return the Path of a file's bytes, below a folder that is there.

    Raises:
        Invalid: there is no such file.
        Forbidden: it was imported, or the caller may not change it.
        ReadOnly: the server's repository is read-only.
    """
    owner_id, group_id, _ = _row(call, file_id)
    if is_read_only(call.blitz.settings, "repo"):
        raise ReadOnly
    if not may_edit(call.context_for_all(), owner_id, group_id) or _is_imported(call, file_id):
        raise Forbidden(f"Updating OriginalFile:{file_id} not allowed")
    path = path_of(call, file_id)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    return path


def _row(call, file_id):
    row = call.connection.execute(
        "select owner_id, group_id, path || name from originalfile where id = %s", (file_id,)
    ).fetchone()
    if row is None:
        raise Invalid(f"there is no OriginalFile:{file_id}")
    return row


def _is_imported(call, file_id):
    """Tell whether a file is an import's, or its log."""
    found = call.connection.execute(
        "select 1 from filesetentry where originalfile = %s union select 1 from joboriginalfilelink where child = %s",
        (file_id, file_id),
    ).fetchone()
    return found is not None
