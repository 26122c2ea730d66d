"""Repositories and ImportProcess: where files lie, and how imported ones come there."""

import Ice
import omero

from .. import imports
from ..checksums import ALGORITHMS, checksum_of
from ..errors import ApiUsage, Invalid, Unreadable, WrongChecksum
from ..imported import is_imported
from ..model import from_rtype
from ..original_files import path_of, readable
from ..queries import enumeration, load
from ..schema import entity
from ..sessions import root_session
from ..stateful import Stateful, create
from .raw_file import Uploader


def description(call, repository):
    """Return the OriginalFile (omero.model) that stands for a takeover.Repository, with its uuid as hash.

    Raises:
        Unreadable: the server does not have the repository.
    """
    if not repository.active:
        raise Unreadable(f"the server has not taken over the repository {repository.folder}")
    return load(call, entity("OriginalFile"), [repository.file_id])[0]


class PublicRepository:
    """What every repository answers: which one it is.

    Args:
        repository: takeover.Repository.
    """

    def __init__(self, repository):
        """Take the repository."""
        self.repository = repository

    def root(self, call):
        """Return the OriginalFile that stands for it."""
        return description(call, self.repository)


class InternalRepository(PublicRepository):
    """What the server's other processes ask a repository; no client reaches it.

    Args:
        blitz: server.Blitz.
        repository: takeover.Repository.
    """

    def __init__(self, blitz, repository):
        """Begin as the server itself."""
        super().__init__(repository)
        self.acts_as = root_session()
        self.identity = Ice.Identity(name=f"InternalRepository-{repository.uuid}")
        self.public = Ice.Identity(name=f"PublicRepository-{repository.uuid}")
        self.blitz = blitz

    def getDescription(self, call):
        """Return the OriginalFile that stands for it."""
        return self.root(call)

    def getProxy(self, call):
        """Return what clients ask."""
        return omero.grid.RepositoryPrx.uncheckedCast(self.blitz.adapter.createProxy(self.public))

    def getFilePath(self, call, file):
        """Return where a file's bytes are (str)."""
        if file is None or file.id is None:
            raise Invalid("Unmanaged file")
        identifier = from_rtype(file.id)
        row = call.connection.execute("select repo, path from originalfile where id = %s", (identifier,)).fetchone()
        if row is None:
            raise Invalid(f"Unknown file: {identifier}")
        if self.repository.name == "legacy":
            if row[0] is not None or is_imported(call, identifier):
                raise Invalid("Does not belong to this repository")
            return str(path_of(call, identifier))
        if row[0] != self.repository.uuid:
            raise Invalid(f"{row[0]} does not belong to this repository: {self.repository.uuid}")
        return row[1]


class ManagedRepository(PublicRepository):
    """Takes files for imports."""

    def listChecksumAlgorithms(self, call):
        """Return the algorithms, the one that is taken first at first."""
        return [enumeration(call, "ChecksumAlgorithm", name) for name in ALGORITHMS]

    def suggestChecksumAlgorithm(self, call, supported):
        """Return the first of the server's that the client has too, or null."""
        names = {from_rtype(each._value) for each in supported}
        return next((enumeration(call, "ChecksumAlgorithm", name) for name in ALGORITHMS if name in names), None)

    def importFileset(self, call, fileset, settings):
        """Begin an import: note its files, and make the folder for them; return the process that takes their bytes."""
        return create(call, ImportProcess(imports.begin(call, fileset, settings)))

    def verifyChecksums(self, call, identifiers):
        """Return the ids of the files whose bytes have another checksum than when they came."""
        rows = call.connection.execute(
            "select o.id, o.hash, c.value from originalfile o join checksumalgorithm c on c.id = o.hasher"
            " where o.id = any(%s) and o.hash is not null order by o.id",
            (list(identifiers),),
        ).fetchall()
        return [key for key, stored, algorithm in rows if checksum_of(readable(call, key), algorithm) != stored]


class ImportProcess(Stateful):
    """One import: its files are written one by one, then compared with what the client has, then imported.

    Args:
        upload: imports.Upload.
    """

    name = "ImportProcess"
    module = omero.grid

    def __init__(self, upload):
        """Begin without bytes."""
        super().__init__()
        self.upload = upload
        self.handle = None

    def getUploader(self, call, number):
        """Return the service that writes a file."""
        if not 0 <= number < len(self.upload.files):
            raise ApiUsage(f"there is no file {number}; the import has {len(self.upload.files)}")
        if number not in self.upload.uploaders:
            self.upload.uploaders[number] = create(call, Uploader(self.upload, number))
        return self.upload.uploaders[number]

    def getUploadOffset(self, call, number):
        """Return where the next byte of a file goes, 0 where nobody writes it."""
        return self.upload.offsets.get(number, 0)

    def verifyUpload(self, call, checksums):
        """Compare the files with the client's checksums and begin with the import; return its handle."""
        files = self.upload.files
        if len(checksums) != len(files):
            raise ApiUsage(f"hashes size should be {len(files)} not {len(checksums)}")
        self.upload.check_open()
        rows = call.connection.execute(
            "select id, hash from originalfile where id = any(%s)", ([each.id for each in files],)
        ).fetchall()
        here = dict(rows)
        wrong = {
            number: here[file.id] or ""
            for number, (file, sent) in enumerate(zip(files, checksums, strict=True))
            if here[file.id] is None or here[file.id] != sent
        }
        if wrong:
            self.upload.log.error("checksums differ: %s", ", ".join(files[number].path.name for number in wrong))
            raise WrongChecksum(wrong)
        self.handle = imports.finish(call, self.upload)
        return self.handle

    def getHandle(self, call):
        """Return the handle of the import, null where it has not begun."""
        return self.handle

    def getImportSettings(self, call):
        """Return what the client wants."""
        return self.upload.settings
