"""IScript: the official scripts, those of users, and running them."""

import logging

import omero
import omero.rtypes as rtypes

from .. import original_files, processors, scripts
from ..calls import DONE, apart, make_servant, work_of
from ..checksums import checksum_of
from ..errors import ApiUsage, Forbidden, Invalid, NoProcessor, Refusal, Unreadable
from ..model import from_rtype
from ..permissions import may_edit, may_read
from ..queries import load
from ..schema import entity
from ..sessions import root_session
from ..settings import is_read_only
from ..stateful import create
from ..store import Store
from .raw_file import note

log = logging.getLogger(__name__)
_SECONDS = 5


class Script:
    """Official scripts administrators change and everybody runs; those of users run where a processor takes them."""

    def getScripts(self, call):
        """Return the official scripts."""
        return self._official(call, scripts.RUNNABLE)

    def getScriptsByMimetype(self, call, mimetype):
        """Return the files of a kind in the repository of scripts, such as lookup tables."""
        return self._official(call, (mimetype,))

    def _official(self, call, mimetypes):
        return call.blitz.official_scripts(mimetypes)

    def getUserScripts(self, call, accepted):
        """Return the scripts of users that processors for the users or groups given would take, else the group's."""
        wanted = _parties(accepted) or [("group_id", call.session.group_id)]
        return load(call, entity("OriginalFile"), self._of_users(call, wanted), context=call.context)

    def _of_users(self, call, wanted):
        rows = call.connection.execute(
            "select id, owner_id, group_id from originalfile where mimetype = any(%s) and repo is distinct from %s",
            (list(scripts.MIMETYPES), scripts.SCRIPTS),
        ).fetchall()
        columns = ("id", "owner_id", "group_id")
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        return [row["id"] for row in named if all(row[column] == value for column, value in wanted)]

    def getScriptID(self, call, path):
        """Return the id of an official script by its path, -1 where there is none."""
        found = scripts.find(call.connection, path)
        return -1 if found is None else found

    def getScriptText(self, call, identifier):
        """Return the text of a script, null where the caller sees no such script."""
        file = self._file(call, identifier)
        return None if file is None else self._text(call, identifier)

    def getScriptWithDetails(self, call, identifier):
        """Return the text of a script as the key to its OriginalFile, null where the caller sees no such script."""
        file = self._file(call, identifier)
        return None if file is None else {self._text(call, identifier): rtypes.robject(file)}

    def _file(self, call, identifier):
        """Return the OriginalFile of a script that the caller may see, or None."""
        found = load(call, entity("OriginalFile"), [identifier])
        return found[0] if found and from_rtype(found[0].mimetype) in scripts.MIMETYPES else None

    def _text(self, call, identifier):
        path = original_files.readable(call, identifier)
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise Unreadable(f"Failed to load {path.name}: {error.strerror}") from error

    def getParams(self, call, identifier):
        """Return what a script takes and gives, null where the caller sees no such script."""
        with apart(call) as other:
            file = self._file(other, identifier)
        return None if file is None else processors.parameters(call, identifier, from_rtype(file.hash))

    # Changing

    def uploadScript(self, call, path, text):
        """Store a script of the caller's and return its id; one that is none is kept as a plain text."""
        inside, name = scripts.place(path)
        file = omero.model.OriginalFileI()
        file.name, file.path = rtypes.rstring(name), rtypes.rstring(inside)
        mimetype = scripts.mimetype_of(name)
        file.mimetype = mimetype and rtypes.rstring(mimetype)
        with apart(call) as other:
            if is_read_only(call.blitz.settings, "db") or is_read_only(call.blitz.settings, "repo"):
                raise Forbidden("No permission to upload script")
            identifier = Store(other).save(file)
            digest = self._write(other, identifier, text)
        self._validate(call, identifier, digest)
        return identifier

    def uploadOfficialScript(self, call, path, text):
        """Put a new script into the repository, which is for administrators; return its id."""
        with apart(call) as other:
            if not other.context.is_admin:
                raise Forbidden("No permission to upload script")
            if scripts.find(other.connection, path) is not None:
                raise ApiUsage(f"Path already exists: {path}\nUse editScript to modify existing official scripts.")
            file = scripts.path_in(call.blitz.repositories["scripts"].folder, path)
            self._write_official(file, text)
            former = scripts.find(other.connection, path, None)
            if former is not None:
                log.info("Overwriting existing non-script: %d", former)
                scripts.unregister(other.connection, [former])
        with work_of(call.blitz, root_session()) as other:
            digest = checksum_of(file, "SHA1-160")
            event = Store(other).event
            identifier = scripts.register(other.connection, *scripts.place(path), file.stat().st_size, digest, event)
        if scripts.mimetype_of(file.name) in scripts.RUNNABLE:
            self._validate(call, identifier, digest)
        return identifier

    def editScript(self, call, given, text):
        """Give a script another text."""
        if given is None:
            raise ApiUsage("file object cannot be null")
        identifier = from_rtype(given.id)
        with apart(call) as other:
            file = self._file(other, identifier)
            if file is None:
                raise ApiUsage(f"could not find file: {identifier}")
            self._check_edit(other, file, f"Updating OriginalFile:{identifier} not allowed")
            if scripts.is_official(other.connection, identifier):
                path = original_files.readable(other, identifier)
                self._write_official(path, text)
                digest = checksum_of(path, "SHA1-160")
                other.connection.execute(
                    "update originalfile set size = %s, hash = %s, version = version + 1, update_id = %s where id = %s",
                    (path.stat().st_size, digest, Store(other).event, identifier),
                )
            else:
                digest = self._write(other, identifier, text)
        self._validate(call, identifier, digest)
        return DONE

    def deleteScript(self, call, identifier):
        """Delete a script, an official one with its file."""
        file = self._file(call, identifier)
        if file is None:
            raise ApiUsage(f"No script with id {identifier} on server.")
        self._check_edit(call, file, f"No permission to delete script with id {identifier}")
        path = original_files.readable(call, identifier)
        call.connection.execute("delete from joboriginalfilelink where child = %s", (identifier,))
        call.connection.execute("delete from originalfile where id = %s", (identifier,))
        call.afterwards.append(lambda: path.unlink(missing_ok=True))
        return DONE

    def _check_edit(self, call, file, message):
        if not may_edit(call.context_for_all(), file.details.owner.id.val, file.details.group.id.val):
            raise Forbidden(message)

    def _write(self, call, identifier, text):
        """Write the text of a user's script; return its checksum (str)."""
        path = original_files.writable(call, identifier)
        path.write_text(text, encoding="utf-8")
        return from_rtype(note(call, identifier, path, "SHA1-160").hash)

    def _write_official(self, path, text):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Refusal(f"Cannot write {path.name}: {error.strerror}") from error

    def _validate(self, call, identifier, digest):
        """Ask a script what it takes; one that gives no answer is no script any longer."""
        try:
            processors.parameters(call, identifier, digest)
        except NoProcessor:
            return
        except (Invalid, omero.ValidationException):
            with work_of(call.blitz, root_session()) as other:
                other.connection.execute("update originalfile set mimetype = 'text/plain' where id = %s", (identifier,))
            raise

    # Running

    def canRunScript(self, call, identifier):
        """Tell whether a processor takes the script."""
        with apart(call) as other:
            if scripts.is_official(other.connection, identifier):
                return True
        return processors.find(call, _SECONDS)[0] is not None

    def validateScript(self, call, job, accepted):
        """Return the one script of a job as far as a processor takes it: official ones where nobody's are named."""
        parties = _parties(accepted)
        rows = call.connection.execute(
            "select f.id, f.owner_id, f.group_id from originalfile f join joboriginalfilelink l on l.child = f.id"
            " where l.parent = %s and f.mimetype = any(%s)",
            (from_rtype(job.id), list(scripts.MIMETYPES)),
        ).fetchall()
        named = [dict(zip(("id", "owner_id", "group_id"), row, strict=True)) for row in rows]
        found = [row for row in named if all(row[column] == value for column, value in parties)]
        if len(found) != 1:
            raise Invalid(f"Found wrong number of files: {[row['id'] for row in found]}")
        identifier = found[0]["id"]
        if not parties and not scripts.is_official(call.connection, identifier):
            return None
        if not may_read(call.context_for_all(), found[0]["owner_id"], found[0]["group_id"]):
            raise Forbidden(f"Cannot read OriginalFile:{identifier}")
        return load(call, entity("OriginalFile"), [identifier])[0]

    def runScript(self, call, identifier, inputs, seconds):
        """Run a script with what it is given; return its process."""
        job = omero.model.ScriptJobI()
        job.linkOriginalFile(omero.model.OriginalFileI(identifier, False))
        wait = from_rtype(seconds)
        processor = processors.acquire(call, job, _SECONDS if wait is None else wait)
        create(call, processor)
        process = processor.execute(call, rtypes.rmap(inputs or {}))
        service = processors.ScriptProcess(call, processor, process)
        adapter = call.blitz.adapter
        adapter.add(make_servant(call.blitz, omero.grid.ScriptProcess, service, service.name), service.identity)
        call.session.endings[service.identity.name] = lambda: adapter.remove(service.identity)
        return omero.grid.ScriptProcessPrx.uncheckedCast(adapter.createProxy(service.identity))


def _parties(accepted):
    """Return whose scripts are meant, pairs of a column and an id, of users and groups (omero.model)."""
    parties = []
    for each in accepted or []:
        match each:
            case omero.model.Experimenter():
                parties.append(("owner_id", from_rtype(each.id)))
            case omero.model.ExperimenterGroup():
                parties.append(("group_id", from_rtype(each.id)))
            case _:
                raise Invalid(f"Unsupported accept-type: {each}")
    return parties
