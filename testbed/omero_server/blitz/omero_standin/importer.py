"""The stand-in's importer, in the place of OMERO's CommandLineImporter: `omero import` starts it as java.

It runs on any host that reaches the server: it sends the files' bytes, or, on the server's own host and as a user who
may write to the managed repository, makes links there (`--transfer=ln_s`). The server makes images of them. Options,
output and exit codes are those of the real one, as far as it knows them; it refuses all others.

As there, an exit code says little: it is 0 where a file cannot be read, and where errors were gone past (`-c`).
"""

import argparse
import dataclasses
import os
import socket
import stat
import sys
import time
import traceback
import uuid
from pathlib import Path

import omero
import omero.all
import omero.clients
import omero.rtypes as rtypes

from . import ome_xml
from .checksums import ALGORITHMS, Checksum
from .errors import Unsupported
from .file_paths import client_path

# How files come into the repository, as OMERO notes it with them.
_TRANSFERS = {"upload": "UploadFileTransfer", "ln_s": "SymlinkFileTransfer"}
# What images or plates are linked to, and which of several of one name is taken: the newest, the oldest, a new one.
_TARGETS = {"Dataset": omero.model.DatasetI, "Screen": omero.model.ScreenI}
_CHOICES = "+-%@"
# Bytes that travel at a time, as with the real importer.
_BLOCK = omero.constants.DEFAULTBLOCKSIZE
# Exit codes: nothing that could be imported was found, an import failed.
_NOTHING, _FAILED = 1, 2
_USAGE = """
 Usage:  importer-cli [OPTION]... [path [path ...]]...
   or:   importer-cli [OPTION]... -

Import any number of files into an OMERO instance.
"""
# Seconds between two looks at an import that the server does, at first and at most.
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 2
# Seconds for a connection without TLS.
_CONNECT_TIMEOUT = 1


class FailedImportError(Exception):
    """An import failed; its text says why."""


@dataclasses.dataclass
class Made:
    """What one import has made: ids (int, or lists of int)."""

    fileset: int
    images: list
    plates: list
    pixels: list


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
    parser.add_argument("-c", dest="carry_on", action="store_true")
    parser.add_argument("--transfer", choices=list(_TRANSFERS), default="upload")
    parser.add_argument("--exclude", choices=["clientpath"])
    parser.add_argument("--output", choices=["ids", "legacy", "yaml"], default="ids")
    parser.add_argument("--checksum-algorithm", choices=ALGORITHMS)
    for nothing in ("--no-thumbnails", "--no-stats-info", "--no-upgrade-check"):
        parser.add_argument(nothing, action="store_true")
    parser.add_argument("paths", nargs="+", type=Path)
    return parser.parse_args(arguments)


def main(arguments):
    """Import files; returns the exit code: 0, 1 when none was found that could be one, 2 when an import failed.

    As the real one, it ends at the first import that fails, unless it is told -c, and then ends with 0. A file of a
    known format that cannot be read is an error, and none that the exit code tells.
    """
    options = parse(arguments)
    client = omero.client(options.server, options.port)
    try:
        client.joinSession(options.key)
        fall_back(options.server, options.port)
        candidates, errors = find(options.paths)
        if not candidates:
            print("No imports due to errors!" if errors else f"No imports found\n{_USAGE}", file=sys.stderr)
            return 0 if errors else _NOTHING
        return import_all(Importer(client.getSession(), options), candidates, errors)
    except Unsupported as error:
        print(error, file=sys.stderr)
        return _FAILED
    finally:
        client.closeSession()


def import_all(importer, candidates, errors):
    """Import files one after the other, and print what became of them.

    Args:
        importer: Importer.
        candidates: list as from find.
        errors: int, how many there were before.

    Returns:
        int, the exit code.
    """
    imported, failed = [], False
    for path, files in candidates:
        try:
            made = importer.take(path, files)
        except (OSError, FailedImportError, omero.ServerError) as error:
            errors += 1
            complain(path, f"Error on import: {getattr(error, 'message', error)}")
            print("Continuing after error" if importer.options.carry_on else "Exiting on error", file=sys.stderr)
            if importer.options.carry_on:
                continue
            failed = True
            break
        if made is None:
            print(f"{path} was imported before, and is left out", file=sys.stderr)
            continue
        imported.append(made)
        report(importer.options.output, made)
    print(summary(imported, errors), file=sys.stderr)
    return _FAILED if failed else 0


def fall_back(server, port):
    """Look whether the server takes connections without TLS, which the real importer tries first.

    One that has TLS alone refuses, and nothing is lost. This one goes on with TLS either way.

    Args:
        server: str.
        port: int, of TLS; the other one is beside it.
    """
    print("Insecure connection requested, falling back", file=sys.stderr)
    try:
        socket.create_connection((server, port - 1), _CONNECT_TIMEOUT).close()
    except OSError:
        print(f"Cannot fallback. Using secure connection\n{traceback.format_exc()}", file=sys.stderr)


def find(paths):
    """Look for what can be imported.

    Args:
        paths: list of Path.

    Returns:
        A list of (absolute Path, list of Path: its files), and the number of errors, which are printed: files of a
        format that is known, and that cannot be read. What is of no format is left out in silence.

    Raises:
        Unsupported: a file that the real importer may know, and the stand-in does not.
    """
    found, errors = [], 0
    for path in paths:
        try:
            if ome_xml.is_image(path):
                found.append((path.absolute(), ome_xml.contents(path.absolute(), with_plates=False).files))
        except (OSError, ValueError) as error:
            errors += 1
            complain("FILE_EXCEPTION", f"{path}\n{type(error).__name__}: {error}")
    return found, errors


def complain(what, error):
    """Print an error (Exception or str), and what it is about (Path or str)."""
    print(f"ERROR {what}: {error}", file=sys.stderr)


def report(form, made):
    """Print what was imported, for other programs to read.

    Args:
        form: str, as --output names it.
        made: Made.
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
    print("\n".join(map(str, made.pixels)))
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
        self.options = options
        self.query, self.update = session.getQueryService(), session.getUpdateService()
        repositories = session.sharedResources().repositories()
        managed = [omero.grid.ManagedRepositoryPrx.checkedCast(each) for each in repositories.proxies if each]
        self.repository = next(each for each in managed if each)
        self.target = None

    def find_target(self):
        """Return the Dataset or Screen of the target, or None; a name that is missing is made.

        As at the real importer, only what the caller may link to has the name: others' datasets have not.

        Raises:
            FailedImportError: there is none, there are several where one is wanted, or the target is of another kind.
        """
        target = self.options.target
        for kind, identity in (("Dataset", self.options.dataset), ("Screen", self.options.screen)):
            target = target or (identity and f"{kind}:id:{identity.removeprefix(f'{kind}:')}")
        if not target:
            return None
        kind, _, rest = target.partition(":")
        how, _, what = rest.partition(":") if ":" in rest else ("id", "", rest)
        if kind == "Project" and "/Dataset:" not in what:
            raise FailedImportError(f"Could not load target: {target}\nProject name must include '/Dataset:' ({what})")
        which, how = (how[:1], how[1:]) if how[:1] in _CHOICES else ("+", how)
        if kind not in _TARGETS or how not in ("id", "name") or (how == "id" and not what.isdecimal()):
            raise Unsupported(f"the target {target}; it knows id:1 and name:X of Dataset and Screen")
        if how == "id":
            try:
                return self.query.get(kind, int(what))
            except omero.ServerError as error:
                raise FailedImportError(f"Could not load target: {target}\n{error.message}") from error
        parameters = omero.sys.ParametersI().addString("name", what)
        found = self.query.findAllByQuery(f"select o from {kind} o where o.name = :name order by o.id", parameters)  # noqa: S608
        found = [each for each in found if each.details.permissions.canLink()]
        if which == "%" and len(found) > 1:
            raise FailedImportError(f"Could not load target: {target}\nNo unique {kind} available")
        if found and which != "@":
            return found[0 if which == "-" else -1]
        made = _TARGETS[kind]()
        made.name = rtypes.rstring(what)
        return self.update.saveAndReturnObject(made)

    def take(self, path, files):
        """Import a file.

        Args:
            path: absolute Path.
            files: list of Path, it and the others of its set.

        Returns:
            Made, None where it was imported before and such are left out.

        Raises:
            FailedImportError, OSError, omero.ServerError: it was not imported.
        """
        self.target = self.find_target()
        if self.options.exclude and self.imported_before(client_path(path)):
            return None
        if self.target is not None and not self.target.details.permissions.canLink():
            raise FailedImportError("Cannot link to target")
        settings = omero.grid.ImportSettings(
            userSpecifiedTarget=self.target and _TARGETS[self.kind()](self.target.id.val, False),
            userSpecifiedName=self.options.name and rtypes.rstring(self.options.name),
            userSpecifiedDescription=self.options.description and rtypes.rstring(self.options.description),
            userSpecifiedAnnotationList=[],
            checksumAlgorithm=self.algorithm(),
        )
        process = self.repository.importFileset(self.fileset(files), settings)
        try:
            send = {"upload": self.upload, "ln_s": self.link}[self.options.transfer]
            handle = process.verifyUpload([send(process, number, file) for number, file in enumerate(files)])
        finally:
            process.close()
        try:
            return self.wait(path, handle)
        finally:
            handle.close()

    def kind(self):
        """Return the target's kind (str)."""
        return "Dataset" if isinstance(self.target, omero.model.Dataset) else "Screen"

    def algorithm(self):
        """Return the ChecksumAlgorithm that is asked for, or that the server takes first."""
        wanted = self.options.checksum_algorithm
        known = []
        for name in [wanted] if wanted else ALGORITHMS:
            known.append(omero.model.ChecksumAlgorithmI())
            known[-1].value = rtypes.rstring(name)
        found = self.repository.suggestChecksumAlgorithm(known)
        if found is None:
            raise FailedImportError("no supported checksum algorithm negotiated with server")
        return found

    def imported_before(self, path):
        """Tell whether a file of this path (str) was sent before, whatever became of it, and wherever that is linked.

        So does the real one: a file that failed is left out too, until its set of files is deleted.
        """
        parameters = omero.sys.ParametersI().addString("path", path)
        return bool(self.query.projection("select e.id from FilesetEntry e where e.clientPath = :path", parameters))

    def fileset(self, files):
        """Return the Fileset of files (list of Path) as the server is told of it."""
        made = omero.model.FilesetI()
        transfer = omero.model.CommentAnnotationI()
        transfer.ns = rtypes.rstring(omero.constants.namespaces.NSFILETRANSFER)
        transfer.textValue = rtypes.rstring(f"ome.formats.importer.transfers.{_TRANSFERS[self.options.transfer]}")
        made.linkAnnotation(transfer)
        made.linkJob(omero.model.UploadJobI())
        for path in files:
            entry = omero.model.FilesetEntryI()
            entry.clientPath = rtypes.rstring(client_path(path))
            made.addFilesetEntry(entry)
        return made

    def upload(self, process, number, path):
        """Send the bytes of a file; returns their checksum (str).

        Args:
            process: omero.grid.ImportProcessPrx.
            number: int, the file's in the import, from 0.
            path: Path.
        """
        checksum = Checksum(process.getImportSettings().checksumAlgorithm.value.val)
        store = process.getUploader(number)
        try:
            with path.open("rb") as file:
                while data := file.read(_BLOCK):
                    store.write(data, checksum.size, len(data))
                    checksum.add(data)
            store.save()
        finally:
            store.close()
        return checksum.text()

    def link(self, process, number, path):
        """Put a link to a file into the managed repository; returns the file's checksum (str).

        Args:
            process: omero.grid.ImportProcessPrx.
            number: int, the file's in the import, from 0.
            path: Path.
        """
        place = self.checked_place(process, number)
        place.symlink_to(path)
        checksum = Checksum(process.getImportSettings().checksumAlgorithm.value.val)
        store = process.getUploader(number, {"omero.fs.mode": "r"})
        try:
            try:
                store.size()
            except omero.ServerError as error:
                raise FailedImportError(
                    f"{error.message}\nThe server could not check the size of the file:\n{place}\n"
                    "Most likely the server process has no read access\nand therefore in-place import cannot proceed."
                ) from error
            with path.open("rb") as file:
                while data := file.read(_BLOCK):
                    checksum.add(data)
            store.save()
        finally:
            store.close()
        # The bytes are the original's own from now on; whose files these are not, cannot.
        if path.owner() == place.parent.owner():
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)
        return checksum.text()

    def checked_place(self, process, number):
        """Return the Path where the server expects a file of an import; this host sees the same one there.

        As the real importer does: the server writes something, which is read here, and taken away.

        Raises:
            FailedImportError: it does not.
        """
        text = str(uuid.uuid4()).encode()
        store = process.getUploader(number)
        try:
            file = self.query.get("OriginalFile", store.getFileId().val, {"omero.group": "-1"})
            root = self.repository.root()
            place = Path(root.path.val, root.name.val, file.path.val, file.name.val)
            if place.exists():
                raise FailedImportError(f"{place} exists!")
            store.write(text, 0, len(text))
        finally:
            store.close()
        problem = None
        if not place.exists():
            problem = "does not exist"
        elif not os.access(place, os.R_OK):
            problem = "cannot be read"
        elif place.read_bytes() != text:
            problem = "does not match check text"
        elif not os.access(place, os.W_OK) or not os.access(place.parent, os.W_OK):
            problem = "cannot be modified locally"
        if problem:
            raise FailedImportError(
                f"Check failed: {place} {problem}!\nYou likely do not have access to the ManagedRepository for in-place"
                " import.\nAborting..."
            )
        place.unlink()
        return place

    def wait(self, path, handle):
        """Wait until the server has imported a file; returns Made.

        Args:
            path: Path.
            handle: omero.cmd.HandlePrx.
        """
        pause = _FIRST_WAIT
        while (response := handle.getResponse()) is None:
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_WAIT)
        if isinstance(response, omero.cmd.ERR):
            raise FailedImportError(
                f"Failure response on import! {response.name}: {response.parameters.get('message')}"
            )
        of_kind = {kind: [each.id.val for each in response.objects if isinstance(each, kind)] for kind in _KINDS}
        return Made(
            handle.getRequest().activity.parent.id.val,
            of_kind[omero.model.Image],
            of_kind[omero.model.Plate],
            [each.id.val for each in response.pixels],
        )


_KINDS = (omero.model.Image, omero.model.Plate)
