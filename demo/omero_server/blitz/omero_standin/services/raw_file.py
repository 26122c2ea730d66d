"""RawFileStore: the bytes of an OriginalFile, such as an attachment's."""

import hashlib

import omero.rtypes as rtypes

from .. import original_files
from ..calls import DONE
from ..errors import ApiUsage
from ..queries import load
from ..schema import entity
from ..stateful import Stateful, wanted
from ..store import Store


class RawFileStore(Stateful):
    """The bytes of one file."""

    name = "RawFileStore"

    def __init__(self):
        """Begin without a file."""
        super().__init__()
        self.file_id = None

    def setFileId(self, call, file_id):
        """Take a file."""
        original_files.readable(call, file_id)
        self.file_id = file_id
        return DONE

    def getFileId(self, call):
        """Return which file it is."""
        return wanted(self.file_id, "setFileId")

    def _readable(self, call):
        return original_files.readable(call, wanted(self.file_id, "setFileId"))

    def exists(self, call):
        """Tell whether it has bytes."""
        return self._readable(call).exists()

    def size(self, call):
        """Return their number."""
        return self._readable(call).stat().st_size

    def read(self, call, position, length):
        """Return some of its bytes."""
        with self._readable(call).open("rb") as file:
            file.seek(position)
            return file.read(length)

    def write(self, call, data, position, length):
        """Put bytes into it."""
        if len(data) != length:
            raise ApiUsage(f"{len(data)} bytes, which are said to be {length}")
        path = original_files.writable(call, wanted(self.file_id, "setFileId"))
        path.touch(mode=0o644)
        with path.open("r+b") as file:
            file.seek(position)
            file.write(data)
        return DONE

    def truncate(self, call, length):
        """Cut it; tell whether it was longer."""
        path = original_files.writable(call, wanted(self.file_id, "setFileId"))
        longer = path.exists() and path.stat().st_size > length
        if longer:
            with path.open("r+b") as file:
                file.truncate(length)
        return longer

    def save(self, call):
        """Note size and checksum in the OriginalFile, and return that."""
        path = original_files.writable(call, wanted(self.file_id, "setFileId"))
        path.touch(mode=0o644)
        found = load(call, entity("OriginalFile"), [self.file_id])[0]
        with path.open("rb") as file:
            found.hash = rtypes.rstring(hashlib.file_digest(file, "sha1").hexdigest())
        found.size = rtypes.rlong(path.stat().st_size)
        Store(call).save(found)
        return load(call, entity("OriginalFile"), [self.file_id])[0]
