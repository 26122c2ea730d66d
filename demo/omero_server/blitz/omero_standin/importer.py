"""The stand-in's importer, in the place of OMERO's CommandLineImporter: `omero import` starts it as java.

It runs on the server's own host, as the server's user, since it puts files into the managed repository itself. Options,
output and exit codes are those of the real one, as far as it knows them; it refuses all others.
"""

import argparse
import datetime
import os
import shutil
import sys
from pathlib import Path

import omero
import omero.clients
import omero.rtypes as rtypes

from . import pixels, rendering
from .errors import Refusal
from .images import repository
from .new_image import first_settings, new_pixels

_FORMATS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".fake": "Fake"}


def parse(arguments):
    """Return the command line's options (argparse.Namespace); ends the program on unknown ones."""
    parser = argparse.ArgumentParser("omero import", allow_abbrev=False, add_help=False)
    parser.add_argument("-s", dest="server", required=True)
    parser.add_argument("-p", dest="port", type=int, required=True)
    parser.add_argument("-k", dest="key", required=True)
    parser.add_argument("-T", "--target")
    parser.add_argument("-d", dest="dataset")
    parser.add_argument("-n", "--name")
    parser.add_argument("-x", "--description")
    parser.add_argument("--transfer", choices=["upload", "ln_s"], default="upload")
    parser.add_argument("--exclude", choices=["clientpath"])
    parser.add_argument("--output", choices=["ids", "legacy", "yaml"], default="legacy")
    parser.add_argument("--checksum-algorithm", choices=["File-Size-64", "SHA1-160"], default="SHA1-160")
    for nothing in ("--no-thumbnails", "--no-stats-info", "--no-upgrade-check"):
        parser.add_argument(nothing, action="store_true")
    parser.add_argument("paths", nargs="+", type=Path)
    return parser.parse_args(arguments)


def main(arguments):
    """Import files; returns the exit code: 0, 1 when some were not imported."""
    options = parse(arguments)
    client = omero.client(options.server, options.port)
    errors = imported = 0
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
            imported += 1
            report(options.output, *made)
    finally:
        client.closeSession()
    print(f"==> Summary\n{imported} images imported, {errors} errors", file=sys.stderr)
    return 1 if errors else 0


def report(form, image_id, fileset_id):
    """Print what was imported, in the form (str) that --output names."""
    if form == "yaml":
        print(f"- Fileset: {fileset_id}\n  Image: [{image_id}]")
        return
    print(f"Image:{image_id}")
    print(f"Other imported objects:\nFileset:{fileset_id}", file=sys.stderr)


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
        self.dataset = self.find_dataset()

    def find_dataset(self):
        """Return the Dataset of the target, not loaded, or None; a name that is missing is made.

        Raises:
            ValueError: there is no such dataset, or the target is of another kind.
        """
        target = self.options.target or (self.options.dataset and f"Dataset:id:{self.options.dataset}")
        if not target:
            return None
        kind, _, rest = target.partition(":")
        how, _, what = rest.partition(":") if ":" in rest else ("id", "", rest)
        if kind != "Dataset" or how not in ("id", "name"):
            raise ValueError(f"the target {target}; the stand-in knows Dataset:id:1 and Dataset:name:X")
        if how == "id":
            found = self.query.find("Dataset", int(what))
        else:
            found = self.query.findByString("Dataset", "name", what)
            if found is None:
                found = omero.model.DatasetI()
                found.name = rtypes.rstring(what)
                found = self.update.saveAndReturnObject(found)
        if found is None:
            raise ValueError(f"there is no dataset for {target}")
        return omero.model.DatasetI(found.id.val, False)

    def take(self, path):
        """Import a file (absolute Path); returns the ids of image and fileset, None where it was imported before."""
        client_path = str(path).lstrip("/")
        if self.options.exclude and self.imported_before(client_path):
            return None
        stack = pixels.read(path)
        placed = self.place(path)
        try:
            return self.record(path, client_path, placed, stack)
        except BaseException:
            placed.unlink()
            raise

    def imported_before(self, client_path):
        """Tell whether the target has an image of a file of this path, of any dataset where there is no target."""
        parameters = omero.sys.ParametersI()
        parameters.addString("path", client_path)
        text = "select i.id from Image i join i.fileset f join f.usedFiles e"
        if self.dataset is not None:
            text += " join i.datasetLinks l where l.parent.id = :dataset and e.clientPath = :path"
            parameters.addLong("dataset", self.dataset.id.val)
        else:
            text += " where e.clientPath = :path"
        return bool(self.query.projection(text, parameters))

    def place(self, path):
        """Put a file into the managed repository, as a link or a copy; returns its Path there."""
        now = datetime.datetime.now(datetime.UTC)
        folder = f"{self.user.userName}_{self.user.userId}/{now:%Y-%m/%d/%H-%M-%S.%f}"
        target = self.repository / folder / path.name
        target.parent.mkdir(parents=True, mode=0o755)
        if self.options.transfer == "ln_s":
            target.symlink_to(path)
        else:
            shutil.copyfile(path, target)
        return target

    def record(self, path, client_path, placed, stack):
        """Make the image with all that belongs to it; returns its id and its fileset's."""
        image = omero.model.ImageI()
        image.name = rtypes.rstring(self.options.name or path.name)
        image.description = rtypes.rstring(self.options.description) if self.options.description else None
        image.series = rtypes.rint(0)
        image.acquisitionDate = rtypes.rtime(int(path.stat().st_mtime * 1000))
        image.format = self.types.getEnumeration("Format", _FORMATS[path.suffix.lower()])
        image.fileset = self.fileset(path, client_path, placed)
        image.addPixels(self.pixels(stack))
        if self.dataset is not None:
            link = omero.model.DatasetImageLinkI()
            link.parent, link.child = self.dataset, image
            image = self.update.saveAndReturnObject(link).child
        else:
            image = self.update.saveAndReturnObject(image)
        image = self.query.findByQuery(
            "select i from Image i join fetch i.pixels where i.id = :id", omero.sys.ParametersI().addId(image.id.val)
        )
        self.update.saveObject(first_settings(image.getPrimaryPixels().id.val, stack, self.types.getEnumeration))
        return image.id.val, image.fileset.id.val

    def fileset(self, path, client_path, placed):
        """Return the Fileset of one file, not saved."""
        original = omero.model.OriginalFileI()
        original.name = rtypes.rstring(placed.name)
        original.path = rtypes.rstring(f"{placed.parent.relative_to(self.repository)}{os.sep}")
        original.size = rtypes.rlong(path.stat().st_size)
        entry = omero.model.FilesetEntryI()
        entry.originalFile, entry.clientPath = original, rtypes.rstring(client_path)
        made = omero.model.FilesetI()
        made.templatePrefix = original.path
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
