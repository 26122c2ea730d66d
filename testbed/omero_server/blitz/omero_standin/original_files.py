"""Where the bytes of an OriginalFile are: in the managed repository, in that of the scripts, or below Files."""

from pathlib import Path

from . import images, scripts, takeover
from .errors import Forbidden, Invalid
from .imported import is_imported
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
    owner_id, group_id, name, repo = _row(call, file_id)
    if not may_read(call.context_for_all(), owner_id, group_id):
        raise Forbidden(f"Cannot read OriginalFile:{file_id}")
    if is_imported(call, file_id):
        return images.repository(call.blitz.settings) / name
    if repo == takeover.SCRIPTS:
        return scripts.path_in(call.blitz.repositories["scripts"].folder, name)
    return path_of(call, file_id)


def writable(call, file_id):
    """Return the Path of a file's bytes, below a folder that is there.

    Raises:
        Invalid: there is no such file.
        Forbidden: it was imported, it is an official script, or the caller may not change it.
        ReadOnly: the server's repository is read-only.
    """
    owner_id, group_id, _, repo = _row(call, file_id)
    if is_read_only(call.blitz.settings, "repo"):
        raise ReadOnly
    elsewhere = repo is not None or is_imported(call, file_id)
    if elsewhere or not may_edit(call.context_for_all(), owner_id, group_id):
        raise Forbidden(f"Updating OriginalFile:{file_id} not allowed")
    path = path_of(call, file_id)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    return path


def _row(call, file_id):
    row = call.connection.execute(
        "select owner_id, group_id, path || name, repo from originalfile where id = %s", (file_id,)
    ).fetchone()
    if row is None:
        raise Invalid(f"there is no OriginalFile:{file_id}")
    return row
