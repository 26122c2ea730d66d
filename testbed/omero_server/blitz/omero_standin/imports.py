"""Imports as the server does them: files that a client brought into the managed repository become images and plates.

An import that fails, or whose client goes away, leaves its Fileset without an image, and its log, as the real server's
does: `omero fs sets --without-images` lists such ones, `omero delete Fileset:1` removes one.
"""

import dataclasses
import datetime
import logging
import stat
import threading
import uuid
from contextlib import ExitStack
from pathlib import Path

import omero
import omero.rtypes as rtypes

from . import file_paths, ome_xml, pixels, rendering
from .calls import Call
from .checksums import ALGORITHMS
from .commands import Handle
from .errors import ApiUsage, Invalid, Refusal, Unsupported
from .images import enumerations, needs_pyramid, repository
from .model import from_rtype
from .new_image import first_settings, new_pixels
from .new_plate import new_plate
from .queries import load
from .read_only import ReadOnly
from .schema import entity
from .settings import is_read_only
from .store import Store

_LOG_TYPE = "application/omero-log-file"
_JOBS = (
    omero.model.UploadJobI,
    omero.model.MetadataImportJobI,
    omero.model.PixelDataJobI,
    omero.model.ThumbnailGenerationJobI,
)
# As the real server counts them: files read-only, rows, numbers, settings, and what is told the client.
_STEPS = 5


@dataclasses.dataclass
class File:
    """A file of an import: the id of its OriginalFile, and where its bytes lie."""

    id: int
    path: Path


@dataclasses.dataclass
class Upload:
    """An import that has begun.

    Attributes:
        fileset: int, its id.
        files: list of File, in the client's order.
        jobs: list of int, the ids of the jobs for its steps, the upload's first.
        log_file: File, what is said about it.
        settings: omero.grid.ImportSettings.
        algorithm: str, that of its checksums.
        group: int, the id of the group that it belongs to.
        uploaders: dict from the number of a file to the proxy of the service that writes it.
        offsets: dict from the number of a file to where its next byte goes.
        over: bool, whether its files are complete, and the import has begun.
    """

    fileset: int
    files: list
    jobs: list
    log_file: File
    settings: object
    algorithm: str
    group: int
    uploaders: dict = dataclasses.field(default_factory=dict)
    offsets: dict = dataclasses.field(default_factory=dict)
    over: bool = False

    def check_open(self):
        """Raise ApiUsage once the import has begun: it does so once."""
        if self.over:
            raise ApiUsage(f"the import of Fileset:{self.fileset} has begun already")

    @property
    def log(self):
        """A logger that writes into the import's log."""
        return _Log(self.log_file.path)


class _Log:
    """Writes lines into the log of an import; each is there when the call returns."""

    def __init__(self, path):
        self.path = path

    def _write(self, level, text, values):
        line = f"{datetime.datetime.now():%Y-%m-%d %H:%M:%S.%f} {level:<5} [stand-in OMERO.server] {text % values}\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)

    def info(self, text, *values):
        self._write("INFO", text, values)

    def error(self, text, *values):
        self._write("ERROR", text, values)


def begin(call, given, settings):
    """Note an import and make the folder for its files.

    Args:
        call: calls.Call.
        given: omero.model.Fileset with the paths that its files have at the client, and annotations.
        settings: omero.grid.ImportSettings.

    Returns:
        Upload.

    Raises:
        ReadOnly: the server only reads.
        ApiUsage: no files, a name that is none, or no checksum algorithm of the server's.
        Invalid: another number of jobs than the one of the upload.
        Unsupported: two files of one name.
    """
    if any(is_read_only(call.blitz.settings, what) for what in ("repo", "db")):
        raise ReadOnly
    paths = [from_rtype(each.clientPath) for each in (given.copyUsedFiles() if given is not None else [])]
    if not paths:
        raise ApiUsage("No paths provided")
    algorithm = settings.checksumAlgorithm and from_rtype(settings.checksumAlgorithm._value)
    if algorithm not in ALGORITHMS:
        raise ApiUsage(f"the checksum algorithm {algorithm}; the server has {', '.join(ALGORITHMS)}")
    if settings.userSpecifiedAnnotationList:
        raise Unsupported("annotations of an import")
    _check_job(given)
    folder = _new_folder(call)
    base = repository(call.blitz.settings)
    try:
        places = [file_paths.place(list(folder.relative_to(base).parts), path) for path in paths]
    except ValueError as error:
        raise ApiUsage(str(error)) from error
    if len({tuple(place) for place in places}) < len(places):
        raise Unsupported("an import of two files of one name")
    store = Store(call, importing=True)
    try:
        made, log_file = _new_fileset(call, given, folder, list(zip(places, paths, strict=True)))
        fileset = store.save(made)
    except Exception:
        folder.rmdir()
        raise
    entries = made.copyUsedFiles()
    files = [
        File(store.saved[id(each.originalFile)], base.joinpath(*place))
        for each, place in zip(entries, places, strict=True)
    ]
    upload = Upload(
        fileset,
        files,
        [store.saved[id(link.child)] for link in made.copyJobLinks()],
        File(store.saved[id(log_file)], folder.with_name(f"{folder.name}.log")),
        settings,
        algorithm,
        call.connection.execute("select group_id from fileset where id = %s", (fileset,)).fetchone()[0],
    )
    upload.log.info("%s imports %s as Fileset:%d", call.session.user_name, ", ".join(paths), fileset)
    return upload


def _check_job(given):
    """Raise Invalid unless a Fileset comes with the one job of its upload; the server adds the others."""
    links = given.copyJobLinks()
    if len(links) != 1:
        raise Invalid("Found more than one job link. Link only updateJob on creation!")
    if not isinstance(links[0].child, omero.model.UploadJob):
        raise Invalid(f"Found non-UploadJob on creation: {type(links[0].child).__name__}")


def _new_folder(call):
    """Make a folder of its own in the managed repository, after the template of OMERO's defaults; return its Path."""
    now = datetime.datetime.now(datetime.UTC)
    owner = f"{call.session.user_name}_{call.session.user_id}"
    folder = repository(call.blitz.settings) / owner / f"{now:%Y-%m/%d}" / f"{now:%H-%M-%S.%f}"
    folder.mkdir(parents=True, mode=0o755)
    return folder


def _new_fileset(call, given, folder, places):
    """Return a Fileset with its files, jobs and annotations, and the OriginalFile of its log; neither is saved.

    `places` is a list of (parts of a file's place in the repository, its path at the client).
    """
    enumeration = enumerations(call)
    base = repository(call.blitz.settings)
    made = omero.model.FilesetI()
    made.templatePrefix = rtypes.rstring(f"{folder.relative_to(base)}/")
    for link in given.copyAnnotationLinks():
        made.linkAnnotation(link.child)
    for place, path in places:
        entry = omero.model.FilesetEntryI()
        entry.originalFile = _original_file(place[-1], "".join(f"{part}/" for part in place[:-1]))
        entry.clientPath = rtypes.rstring(path)
        made.addFilesetEntry(entry)
    log_file = _original_file(f"{folder.name}.log", f"{folder.parent.relative_to(base)}/", _LOG_TYPE)
    now = rtypes.rtime(int(datetime.datetime.now().timestamp() * 1000))
    for kind in _JOBS:
        job = kind()
        job.username = rtypes.rstring(call.session.user_name)
        job.groupname = rtypes.rstring(str(call.context.group_id))
        job.type, job.message = rtypes.rstring("Import"), rtypes.rstring("Waiting")
        job.status = enumeration("JobStatus", "Running" if kind is omero.model.UploadJobI else "Waiting")
        job.submitted = job.scheduledFor = now
        if kind is omero.model.UploadJobI:
            job.linkOriginalFile(log_file)
        made.linkJob(job)
    return made, log_file


def _original_file(name, path, kind=None):
    made = omero.model.OriginalFileI()
    made.name, made.path = rtypes.rstring(name), rtypes.rstring(path)
    made.mimetype = kind and rtypes.rstring(kind)
    return made


class ImportHandle(Handle):
    """An import that is under way; its client asks now and then whether there is a response."""

    def __init__(self, session, name, request):
        """Begin with the first step."""
        super().__init__(session, name, request, None)
        self.step = 0

    def getStatus(self, current=None):
        """Return which step is done."""
        flags = [omero.cmd.State.FAILURE] if isinstance(self.response, omero.cmd.ERR) else []
        return omero.cmd.Status(steps=_STEPS, currentStep=self.step, flags=flags)


def finish(call, upload):
    """Import the files beside other calls. As at the real server, who has one open may still write into it.

    Args:
        call: calls.Call.
        upload: Upload whose files are complete.

    Returns:
        omero.cmd.HandlePrx, whose response is an omero.grid.ImportResponse or an omero.cmd.ERR.
    """
    upload.over = True
    _update_job(call, upload.jobs[0], "Finished")
    Store(call).note("UPDATE", "ome.model.jobs.UploadJob", upload.jobs[:1])
    activity = omero.model.FilesetJobLinkI()
    activity.parent = omero.model.FilesetI(upload.fileset, False)
    activity.child = omero.model.MetadataImportJobI(upload.jobs[1], False)
    request = omero.grid.ImportRequest(
        activity=activity, settings=upload.settings, logFile=omero.model.OriginalFileI(upload.log_file.id, False)
    )
    name = f"handle-{uuid.uuid4()}"
    handle = call.session.handles[name] = ImportHandle(call.session, name, request)
    context = {**call.ice_context, "omero.group": str(upload.group)}
    thread = threading.Thread(target=_run, args=(call.blitz, call.session, context, upload, handle), daemon=True)
    call.afterwards.append(thread.start)
    return omero.cmd.HandlePrx.uncheckedCast(call.blitz.proxy(name, call.session.uuid))


def _update_job(call, job, status):
    call.connection.execute(
        "update job set status = (select id from jobstatus where value = %s), message = %s, version = version + 1,"
        " finished = clock_timestamp() at time zone 'utc' where id = %s",
        (status, status, job),
    )


def _run(blitz, session, context, upload, handle):
    """Import the files and give the handle its response; never raises."""
    try:
        with ExitStack() as stack:
            response = _Work(Call(blitz, session, context, stack), upload, handle).response()
    except Exception as error:
        # To both logs: who imports reads the import's, who looks after the server its own.
        level = logging.INFO if isinstance(error, (Refusal, ValueError, OSError)) else logging.ERROR
        logging.getLogger(__name__).log(level, "import of Fileset:%d failed", upload.fileset, exc_info=error)
        upload.log.error("%s", error)
        response = omero.cmd.ERR(
            category="::omero::grid::ImportRequest",
            name="import-request-failure",
            parameters={"filename": upload.files[0].path.name, "message": str(error)},
        )
    try:
        with ExitStack() as stack:
            call = Call(blitz, session, context, stack)
            status = "Error" if isinstance(response, omero.cmd.ERR) else "Finished"
            for job in upload.jobs[1:]:
                _update_job(call, job, status)
            upload.log.info("the import ends: %s", status)
            _note_log(call, upload)
    except Exception:
        logging.getLogger(__name__).exception("cannot note the end of the import of Fileset:%d", upload.fileset)
    handle.response = response


def _note_log(call, upload):
    """Note how long the log is by now; the log of events says when that was."""
    call.connection.execute(
        "update originalfile set size = %s, version = version + 1 where id = %s",
        (upload.log_file.path.stat().st_size, upload.log_file.id),
    )
    Store(call).note("UPDATE", "ome.model.core.OriginalFile", [upload.log_file.id])


class _Work:
    """The steps of one import; all of their rows are one transaction."""

    def __init__(self, call, upload, handle):
        self.call = call
        self.upload = upload
        self.handle = handle
        self.settings = upload.settings
        self.path = upload.files[0].path
        self.enumeration = enumerations(call)

    def response(self):
        """Import, and return the omero.grid.ImportResponse."""
        self.contents = ome_xml.contents(self.path)
        uploaded, wanted = ({each.name for each in found} for found in (self.files(), self.contents.files))
        if uploaded != wanted:
            raise Invalid(
                f"{self.path.name} is made of {', '.join(sorted(wanted))}; what came is {', '.join(sorted(uploaded))}"
            )
        count = range(len(self.contents.images))
        images = [self.image(number) for number in count]
        self.upload.log.info("%s: %d images, %d plates", self.path.name, len(images), len(self.contents.plates))
        self.done("the files are read")
        self.make_read_only()
        store = Store(self.call)
        plates = self.save(store, images)
        identities = [store.saved[id(each)] for each in images]
        store.note("INSERT", "ome.model.core.Image", identities)
        self.done("images and plates are in the database")
        _note_log(self.call, self.upload)
        for number in count:
            self.note_extremes(store, images[number], number)
        self.done("the least and the greatest number of each channel are known")
        _note_log(self.call, self.upload)
        self.save_settings(images, store)
        self.done("first rendering settings are made; the stand-in keeps no thumbnails")
        _note_log(self.call, self.upload)
        pixels_of = [store.saved[id(each.copyPixels()[0])] for each in images]
        objects = load(self.call, entity("Plate"), [store.saved[id(each)] for each in plates])
        objects += load(self.call, entity("Image"), identities)
        self.handle.step = _STEPS
        return omero.grid.ImportResponse(pixels=load(self.call, entity("Pixels"), pixels_of), objects=objects)

    def files(self):
        """Return the Paths of what the client brought."""
        return [each.path for each in self.upload.files]

    def done(self, what):
        """Note that a step is done."""
        self.handle.step += 1
        self.upload.log.info("%s", what)

    def make_read_only(self):
        """Let nobody write the files, as far as they are the server's."""
        for path in self.files():
            if not path.is_symlink():
                path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)

    def image(self, number):
        """Return the image of a number (int, from 0) with the sizes of its pixels, not saved."""
        stack = pixels.read(self.path, number)
        image = omero.model.ImageI()
        name = from_rtype(self.settings.userSpecifiedName) or self.path.name
        if len(self.contents.images) > 1:
            name += f" [{self.contents.images[number] or number}]"
        image.name = rtypes.rstring(name)
        image.description = self.settings.userSpecifiedDescription
        image.series = rtypes.rint(number)
        image.acquisitionDate = rtypes.rtime(int(self.path.stat().st_mtime * 1000))
        image.format = self.enumeration("Format", ome_xml.format_of(self.path))
        names = stack.channels or (["Red", "Green", "Blue"] if rendering.is_colour(stack) else [])
        names += [None] * (stack.array.shape[1] - len(names))
        # The least and the greatest number come later (note_extremes).
        made = new_pixels(stack.sizes(), stack.type, [(each, 0.0, 0.0) for each in names], self.enumeration)
        made.significantBits = rtypes.rint(stack.array.dtype.itemsize * 8)
        image.addPixels(made)
        image.fileset = omero.model.FilesetI(self.upload.fileset, False)
        return image

    def save(self, store, images):
        """Save images, the file's plates and the links to the target; return the plates."""
        name = from_rtype(self.settings.userSpecifiedName)
        description = from_rtype(self.settings.userSpecifiedDescription)
        plates = [new_plate(each, images, name or self.path.name, description) for each in self.contents.plates]
        if name:
            for plate in plates:
                plate.name = rtypes.rstring(name)
        target = self.settings.userSpecifiedTarget
        # As at the real import: a dataset takes a plate's images too, and a screen nothing but plates.
        match target:
            case None:
                links = []
            case omero.model.Dataset():
                links = [_link(omero.model.DatasetImageLinkI(), target, each) for each in images]
            case omero.model.Screen():
                links = [_link(omero.model.ScreenPlateLinkI(), target, each) for each in plates]
            case _:
                raise Unsupported(f"{type(target).__name__} as the target of an import")
        for each in (*images, *plates, *links):
            store.save(each)
        return plates

    def note_extremes(self, store, image, number):
        """Save the least and the greatest number of each channel of an image."""
        stack = pixels.read(self.path, number)
        for index, channel in enumerate(image.copyPixels()[0].copyChannels()):
            self.call.connection.execute(
                "update statsinfo set globalmin = %s, globalmax = %s where id = %s",
                (*rendering.extremes(stack, index), store.saved[id(channel.statsInfo)]),
            )

    def save_settings(self, images, store):
        """Save first rendering settings of the images; those that wait for a pyramid get none."""
        made = []
        for number, image in enumerate(images):
            stack = pixels.read(self.path, number)
            if needs_pyramid(self.call, stack):
                continue
            settings = first_settings(stack, self.enumeration)
            settings.pixels = omero.model.PixelsI(store.saved[id(image.copyPixels()[0])], False)
            made.append(store.save(settings))
        store.note("INSERT", "ome.model.display.RenderingDef", made)


def _link(link, parent, child):
    link.parent, link.child = type(parent)(parent.id.val, False), child
    return link
