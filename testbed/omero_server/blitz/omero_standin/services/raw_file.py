"""RawFileStore: the bytes of an OriginalFile, such as an attachment's, or a file's of an import."""

import stat

import omero.rtypes as rtypes

from .. import original_files
from ..calls import DONE
from ..checksums import ALGORITHMS, checksum_of
from ..errors import ApiUsage, Forbidden, Unreadable
from ..queries import enumeration, load
from ..schema import entity
from ..stateful import Stateful, wanted
from ..store import Store


def note(call, file_id, path, algorithm):
    """Note size and checksum of a file in its OriginalFile, and return that (omero.model).

    Args:
        call: calls.Call.
        file_id: int, of the OriginalFile.
        path: Path of its bytes.
        algorithm: str, the checksum's.
    """
    found = load(call, entity("OriginalFile"), [file_id])[0]
    found.hash = rtypes.rstring(checksum_of(path, algorithm))
    found.hasher = enumeration(call, "ChecksumAlgorithm", algorithm)
    found.size = rtypes.rlong(path.stat().st_size)
    Store(call).save(found)
    return load(call, entity("OriginalFile"), [file_id])[0]


class RawFileStore(Stateful):
    """The bytes of one file."""

    name = "RawFileStore"
    algorithm = ALGORITHMS[0]

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
        return rtypes.rlong(wanted(self.file_id, "setFileId"))

    def _readable(self, call):
        return original_files.readable(call, wanted(self.file_id, "setFileId"))

    def _writable(self, call):
        return original_files.writable(call, wanted(self.file_id, "setFileId"))

    def exists(self, call):
        """Tell whether it has bytes."""
        return self._readable(call).exists()

    def size(self, call):
        """Return their number."""
        path = self._readable(call)
        try:
            with path.open("rb"):
                return path.stat().st_size
        except OSError as error:
            raise Unreadable(f"{path.name}: {error.strerror}") from error

    def read(self, call, position, length):
        """Return some of its bytes."""
        path = self._readable(call)
        try:
            with path.open("rb") as file:
                file.seek(position)
                return file.read(length)
        except OSError as error:
            raise Unreadable(f"{path.name}: {error.strerror}") from error

    def write(self, call, data, position, length):
        """Put bytes into it."""
        if len(data) != length:
            raise ApiUsage(f"{len(data)} bytes, which are said to be {length}")
        path = self._writable(call)
        path.touch(mode=0o644)
        with path.open("r+b") as file:
            file.seek(position)
            file.write(data)
        return DONE

    def truncate(self, call, length):
        """Cut it; tell whether it was longer."""
        path = self._writable(call)
        longer = path.exists() and path.stat().st_size > length
        if longer:
            with path.open("r+b") as file:
                file.truncate(length)
        return longer

    def save(self, call):
        """Note size and checksum in the OriginalFile, and return that."""
        path = self._writable(call)
        path.touch(mode=0o644)
        return self._note(call, path)

    def _note(self, call, path):
        return note(call, self.file_id, path, self.algorithm)


class Uploader(RawFileStore):
    """A file of an import, into which its client alone writes: also after that, as long as it has the service open.

    Args:
        upload: imports.Upload.
        number: int, the file's in it, from 0.
    """

    def __init__(self, upload, number):
        """Begin with its file."""
        super().__init__()
        self.upload = upload
        self.number = number
        self.algorithm = upload.algorithm
        self.file_id = upload.files[number].id

    @property
    def path(self):
        """The Path of the file."""
        return self.upload.files[self.number].path

    def setFileId(self, call, file_id):
        """Refuse: the file is given."""
        raise ApiUsage("the file of an import cannot be changed")

    def _readable(self, call):
        return self.path

    def _writable(self, call):
        if self.path.is_symlink():
            raise Forbidden(f"{self.path.name} is a link to a file outside of the repository")
        if self.path.is_dir():
            raise Unreadable(f"{self.path.name} is a folder")
        if self.path.exists() and self.upload.over:  # the import has taken the right to write away
            self.path.chmod(self.path.stat().st_mode | stat.S_IWUSR)
        return self.path

    def write(self, call, data, position, length):
        """Put bytes into it, and note how far it is."""
        super().write(call, data, position, length)
        self.upload.offsets[self.number] = position + length
        return DONE

    def save(self, call):
        """Note size and checksum of what is there, also where that is a link."""
        if not self.path.is_file():
            raise Unreadable(f"{self.path.name} has no bytes, or they cannot be read")
        return self._note(call, self.path)

    def close(self, call):
        """End the service; the next one that asks for this file gets another."""
        self.upload.uploaders.pop(self.number, None)
        self.upload.offsets.pop(self.number, None)
        return super().close(call)
