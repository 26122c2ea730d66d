"""The stand-in's importer, in the place of OMERO's CommandLineImporter: `omero import` starts it as java.

It runs on the server's own host, as the server's user, since it puts files into the managed repository itself. Options,
output and exit codes are those of the real one, as far as it knows them; it refuses all others.
"""

import argparse
import dataclasses
import datetime
import os
import shutil
import sys
from pathlib import Path

import omero
import omero.clients
import omero.rtypes as rtypes

from . import ome_xml, pixels, rendering
from .errors import Refusal
from .images import repository
from .new_image import first_settings, new_pixels
from .new_plate import new_plate

_FORMATS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".fake": "Fake"}
# How files came into the repository, as OMERO notes it with them.
_TRANSFERS = {"upload": "UploadFileTransfer", "ln_s": "SymlinkFileTransfer"}
# What images or plates are linked to, and which of several of one name is taken: the newest, the oldest, a new one.
_TARGETS = {"Dataset": omero.model.DatasetI, "Screen": omero.model.ScreenI}
_CHOICES = "+-%@"


@dataclasses.dataclass
class Made:
    """What one import has made: ids (int, or lists of int)."""

    fileset: int
    images: list
    plates: list


def parse(arguments):
    """Return the command line's options (argparse.Namespace); ends the program on unknown ones."""
    parser = argparse.ArgumentParser("omero import", allow_abbrev=False, add_help=False)
    parser.add_argument("-s", dest="server", required=True)
    parser.add_argument("-p", dest="port", type=int, required=True)
    parser.add_argument("-k", dest="key", required=True)
    parser.add_argument("-T", "--target")
    parser.add_argument("-d", dest="dataset")
    parser.add_argument("-r", dest="screen")
    parser.add_argument("-n", "--name")
    parser.add_argument("-x", "--description")
    parser.add_argument("--transfer", choices=list(_TRANSFERS), default="upload")
    parser.add_argument("--exclude", choices=["clientpath"])
    parser.add_argument("--output", choices=["ids", "legacy", "yaml"], default="ids")
    parser.add_argument("--checksum-algorithm", choices=["File-Size-64", "SHA1-160"], default="SHA1-160")
    for nothing in ("--no-thumbnails", "--no-stats-info", "--no-upgrade-check"):
        parser.add_argument(nothing, action="store_true")
    parser.add_argument("paths", nargs="+", type=Path)
    return parser.parse_args(arguments)


def main(arguments):
    """Import files; returns the exit code: 0, 1 when some were not imported."""
    options = parse(arguments)
    client = omero.client(options.server, options.port)
    errors, imported = 0, []
    try:
        client.joinSession(options.key)
        importer = Importer(client.getSession(), options)
        for path in options.paths:
            try:
                made = importer.take(path.absolute())
            except (OSError, Refusal, ValueError, omero.ServerError) as error:
                errors += 1
                print(f"ERROR {path}: {getattr(error, 'message', error)}", file=sys.stderr)
                continue
            if made is None:
                print(f"{path} was imported before, and is left out", file=sys.stderr)
                continue
            imported.append(made)
            report(options.output, made, importer.pixels_of)
    finally:
        client.closeSession()
    print(summary(imported, errors), file=sys.stderr)
    return 1 if errors else 0


def report(form, made, pixels_of):
    """Print what was imported, for other programs to read.

    Args:
        form: str, as --output names it.
        made: Made.
        pixels_of: function from ids of images to those of their pixels.
    """
    if form == "yaml":
        print(f"---\n- Fileset: {made.fileset}")
        for kind, identities in (("Plate", made.plates), ("Image", made.images)):
            if identities:
                print(f"  {kind}: [{','.join(map(str, identities))}]")
        return
    if form == "ids":
        print(f"Image:{','.join(map(str, made.images))}")
        return
    print("Imported pixels:", file=sys.stderr)
    print("\n".join(map(str, pixels_of(made.images))))
    print(f"Other imported objects:\nFileset:{made.fileset}", file=sys.stderr)
    for kind, identities in (("Plate", made.plates), ("Image", made.images)):
        for identity in identities:
            print(f"{kind}:{identity}", file=sys.stderr)


def summary(imported, errors):
    """Return the last lines of the output, of a list of Made and a number of errors."""
    plates = sum(len(each.plates) for each in imported)
    parts = [_count(len(imported), "fileset"), *([_count(plates, "plate")] if plates else [])]
    images = _count(sum(len(each.images) for each in imported), "image")
    return f"\n==> Summary\n{', '.join(parts)} created, {images} imported, {_count(errors, 'error')}"


def _count(number, name):
    return f"{number} {name}{'' if number == 1 else 's'}"


class Importer:
    """Imports files into a session.

    Args:
        session: omero.api.ServiceFactoryPrx.
        options: argparse.Namespace, as from parse.
    """

    def __init__(self, session, options):
        """Look where files go and what they are linked to."""
        self.session = session
        self.options = options
        self.query, self.update = session.getQueryService(), session.getUpdateService()
        self.types = session.getTypesService()
        self.repository = repository(session.getConfigService().getConfigValues(r"omero\.(data|managed)\.dir"))
        self.user = session.getAdminService().getEventContext()
        self.target = self.find_target()

    def find_target(self):
        """Return the Dataset or Screen of the target, not loaded, or None; a name that is missing is made.

        Raises:
            ValueError: there is none, there are several where one is wanted, or the target is of another kind.
        """
        target = self.options.target
        for kind, identity in (("Dataset", self.options.dataset), ("Screen", self.options.screen)):
            target = target or (identity and f"{kind}:id:{identity}")
        if not target:
            return None
        kind, _, rest = target.partition(":")
        how, _, what = rest.partition(":") if ":" in rest else ("id", "", rest)
        which, how = (how[:1], how[1:]) if how[:1] in _CHOICES else ("+", how)
        if kind not in _TARGETS or how not in ("id", "name") or (how == "id" and not what.isdecimal()):
            raise ValueError(f"the target {target}; the stand-in knows id:1 and name:X of Dataset and Screen")
        if how == "id":
            if self.query.find(kind, int(what)) is None:
                raise ValueError(f"there is no {kind.lower()} for {target}")
            return _TARGETS[kind](int(what), False)
        parameters = omero.sys.ParametersI().addString("name", what)
        found = self.query.projection(f"select o.id from {kind} o where o.name = :name order by o.id", parameters)  # noqa: S608
        if which == "%" and len(found) > 1:
            raise ValueError(f"there are {len(found)} of the name in {target}, which wants one")
        if found and which != "@":
            return _TARGETS[kind](found[0 if which == "-" else -1][0].val, False)
        made = _TARGETS[kind]()
        made.name = rtypes.rstring(what)
        return _TARGETS[kind](self.update.saveAndReturnObject(made).id.val, False)

    def take(self, path):
        """Import a file (absolute Path) and the others of its set; returns Made, None where it was imported before."""
        if self.options.exclude and self.imported_before(client_path(path)):
            return None
        contents = ome_xml.contents(path)
        images = [self.image(path, contents, number) for number in range(len(contents.images))]
        folder = self.place(contents.files)
        try:
            return self.record(contents, images, folder)
        except BaseException:
            shutil.rmtree(folder)
            raise

    def imported_before(self, path):
        """Tell whether a dataset that is the target has an image of a file of this path, or anything else has."""
        parameters = omero.sys.ParametersI()
        parameters.addString("path", path)
        text = "select i.id from Image i join i.fileset f join f.usedFiles e"
        if isinstance(self.target, omero.model.Dataset):
            text += " join i.datasetLinks l where l.parent.id = :dataset and e.clientPath = :path"
            parameters.addLong("dataset", self.target.id.val)
        else:
            text += " where e.clientPath = :path"
        return bool(self.query.projection(text, parameters))

    def pixels_of(self, images):
        """Return the ids of the pixels of images, by ids of these."""
        text = "select p.id from Pixels p where p.image.id in (:ids) order by p.id"
        return [row[0].val for row in self.query.projection(text, omero.sys.ParametersI().addIds(images))]

    def place(self, files):
        """Put files into a new folder of the managed repository, as links or copies; returns the folder's Path."""
        now = datetime.datetime.now(datetime.UTC)
        folder = self.repository / f"{self.user.userName}_{self.user.userId}/{now:%Y-%m/%d/%H-%M-%S.%f}"
        folder.mkdir(parents=True, mode=0o755)
        for path in files:
            if self.options.transfer == "ln_s":
                (folder / path.name).symlink_to(path)
            else:
                shutil.copyfile(path, folder / path.name)
        return folder

    def record(self, contents, images, folder):
        """Save the images of a file with all that belongs to them, all or nothing; returns Made."""
        fileset = self.fileset(contents.files, folder)
        for image in images:
            image.fileset = fileset
        name, description = self.options.name or contents.files[0].name, self.options.description
        plates = [new_plate(each, images, name, description) for each in contents.plates]
        if self.options.name:
            for plate in plates:
                plate.name = rtypes.rstring(name)
        links = []
        # As at the real import: a dataset takes a plate's images too, and a screen nothing but plates.
        if isinstance(self.target, omero.model.Dataset):
            links = [_link(omero.model.DatasetImageLinkI(), self.target, each) for each in images]
        elif self.target is not None:
            links = [_link(omero.model.ScreenPlateLinkI(), self.target, each) for each in plates]
        identities = self.update.saveAndReturnIds([*images, *plates, *links])
        return Made(
            self.query.get("Image", identities[0]).fileset.id.val,
            identities[: len(images)],
            identities[len(images) : len(images) + len(plates)],
        )

    def image(self, path, contents, number):
        """Return an image of a file with its numbers and settings, not saved.

        Args:
            path: Path.
            contents: ome_xml.Contents.
            number: int, of the image in the file, from 0.
        """
        stack = pixels.read(path, number)
        image = omero.model.ImageI()
        name = self.options.name or path.name
        if len(contents.images) > 1:
            name += f" [{contents.images[number] or number}]"
        image.name = rtypes.rstring(name)
        image.description = rtypes.rstring(self.options.description) if self.options.description else None
        image.series = rtypes.rint(number)
        image.acquisitionDate = rtypes.rtime(int(path.stat().st_mtime * 1000))
        image.format = self.types.getEnumeration("Format", _FORMATS[path.suffix.lower()])
        made = self.pixels(stack)
        made.addRenderingDef(first_settings(stack, self.types.getEnumeration))
        image.addPixels(made)
        return image

    def fileset(self, files, folder):
        """Return the Fileset of files (list of Path) that lie in a folder (Path) of the repository, not saved."""
        made = omero.model.FilesetI()
        made.templatePrefix = rtypes.rstring(f"{folder.relative_to(self.repository)}{os.sep}")
        transfer = omero.model.CommentAnnotationI()
        transfer.ns = rtypes.rstring(omero.constants.namespaces.NSFILETRANSFER)
        transfer.textValue = rtypes.rstring(f"ome.formats.importer.transfers.{_TRANSFERS[self.options.transfer]}")
        made.linkAnnotation(transfer)
        for path in files:
            original = omero.model.OriginalFileI()
            original.name = rtypes.rstring(path.name)
            original.path = made.templatePrefix
            original.size = rtypes.rlong(path.stat().st_size)
            entry = omero.model.FilesetEntryI()
            entry.originalFile, entry.clientPath = original, rtypes.rstring(client_path(path))
            made.addFilesetEntry(entry)
        return made

    def pixels(self, stack):
        """Return the Pixels of numbers, with their channels, not saved."""
        names = stack.channels or (["Red", "Green", "Blue"] if rendering.is_colour(stack) else [])
        names += [None] * (stack.array.shape[1] - len(names))
        channels = [(name, *rendering.extremes(stack, index)) for index, name in enumerate(names)]
        made = new_pixels(stack.sizes(), stack.type, channels, self.types.getEnumeration)
        made.significantBits = rtypes.rint(stack.array.dtype.itemsize * 8)
        return made


def client_path(path):
    """Return the form in which OMERO notes where a file (absolute Path) came from."""
    return str(path).lstrip("/")


def _link(link, parent, child):
    link.parent, link.child = parent, child
    return link
