"""SharedResources, ManagedRepository and ImportProcess: where imported files lie, and how they come there."""

import uuid

import omero

from .. import imports
from ..checksums import ALGORITHMS, checksum_of
from ..errors import ApiUsage, WrongChecksum
from ..images import repository
from ..model import from_rtype
from ..original_files import readable
from ..queries import enumeration, load
from ..schema import entity
from ..stateful import Stateful, create
from ..store import Store
from .raw_file import Uploader

_MIMETYPE = "Repository"


def managed_repository(call):
    """Return the OriginalFile (omero.model) that stands for the managed repository, noted when first asked for."""
    path = repository(call.blitz.settings)
    row = call.connection.execute("select id from originalfile where mimetype = %s", (_MIMETYPE,)).fetchone()
    if row is None:
        event = Store(call).event
        row = call.connection.execute(
            "insert into originalfile (version, name, path, mimetype, hash, owner_id, group_id, creation_id, update_id)"
            " values (0, %s, %s, %s, %s, 0, 1, %s, %s) returning id",
            (path.name, f"{path.parent}/", _MIMETYPE, str(uuid.uuid4()), event, event),
        ).fetchone()
    return load(call, entity("OriginalFile"), [row[0]])[0]


class SharedResources:
    """Answers which repositories there are; there are no tables and no processors."""

    def repositories(self, call):
        """Return the one repository and its proxy."""
        proxy = omero.grid.RepositoryPrx.uncheckedCast(call.blitz.proxy("ManagedRepository", call.session.uuid))
        return omero.grid.RepositoryMap([managed_repository(call)], [proxy])

    def areTablesEnabled(self, call):
        """Tell that there are no tables."""
        return False


class ManagedRepository:
    """Takes files for imports."""

    def root(self, call):
        """Return the OriginalFile that stands for it."""
        return managed_repository(call)

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
