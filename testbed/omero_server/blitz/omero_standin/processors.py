"""Running scripts: finding a processor that takes a job, handing the job over, and what comes of it."""

import logging
import threading
import time
import uuid

import Ice
import omero
import omero.rtypes as rtypes

from . import jobs, scripts
from .calls import DONE, apart
from .errors import ApiUsage, Invalid, NoProcessor
from .model import new_object
from .original_files import readable
from .permissions import ALL_GROUPS
from .queries import load
from .schema import entity
from .sessions import context_of
from .stateful import Stateful

log = logging.getLogger(__name__)

# How long a script's session lives, in milliseconds.
_LIFETIME = 60 * 60 * 1000
_LONGEST_WAIT = 3 * 60
_DYNAMIC = omero.constants.namespaces.NSDYNAMIC


class _Answers(omero.grid.ProcessorCallback):
    """Takes what processors answer that were asked whether they take a job.

    Args:
        blitz: server.Blitz.
        session: sessions.Session of the caller, who may use administrators' processors and his own.
    """

    def __init__(self, blitz, session):
        self.blitz = blitz
        self.session = session
        self.number = 0
        self.accepted = None
        self.done = threading.Event()

    def isProxyAccepted(self, accepted, session_uuid, proxy, current=None):
        self.number += 1
        try:
            if accepted and self._may(session_uuid) and (found := omero.grid.ProcessorPrx.checkedCast(proxy)):
                self.accepted = found
                self.done.set()
                return
        except Ice.LocalException as error:
            log.warning("processor of session %s rejected: %s", session_uuid, error)
        log.info("the processor of session %s does not take the job", session_uuid)

    def isAccepted(self, accepted, session_uuid, text, current=None):
        proxy = self.blitz.adapter.getCommunicator().stringToProxy(text)
        self.isProxyAccepted(accepted, session_uuid, proxy)

    def responseRunning(self, identifiers, current=None):
        log.error("responseRunning should not have been called")

    def _may(self, session_uuid):
        session = self.blitz.sessions.find(session_uuid)
        if session is None:
            return False
        with self.blitz.database.transaction() as connection:
            return session.user_id == self.session.user_id or context_of(connection, session).is_admin


def find(call, seconds, job=None):
    """Ask the processors whether they take a job, or any of the caller's where there is none yet.

    Args:
        call: calls.Call that has not used its connection.
        seconds: int, how long they may take to answer.
        job: omero.model.Job or None.

    Returns:
        omero.grid.ProcessorPrx or None, and the number of those that answered (int).
    """
    blitz = call.blitz
    with apart(call) as other:
        context = other.context
        group = context.session_group_id if context.group_id == ALL_GROUPS else context.group_id
    answers = _Answers(blitz, call.session)
    category = omero.constants.categories.PROCESSORCALLBACK
    identity = Ice.Identity(name=str(uuid.uuid4()), category=category)
    blitz.adapter.add(answers, identity)
    try:
        callback = omero.grid.ProcessorCallbackPrx.uncheckedCast(blitz.adapter.createDirectProxy(identity))
        publisher = blitz.grid.publisher(omero.constants.topics.PROCESSORACCEPTS)
        if publisher is not None:
            omero.grid.ProcessorPrx.uncheckedCast(publisher).willAccept(
                new_object("Experimenter", call.session.user_id, False),
                new_object("ExperimenterGroup", group, False),
                job,
                callback,
            )
        answers.done.wait(seconds)
    finally:
        blitz.adapter.remove(identity)
    return answers.accepted, answers.number


def acquire(call, given, seconds):
    """Note a job and find a processor for it.

    Args:
        call: calls.Call that has not used its connection.
        given: omero.model.ScriptJob or ParseJob, linked to its script.
        seconds: int, how long a processor may take to answer.

    Returns:
        InteractiveProcessor.

    Raises:
        ApiUsage: the job cannot be noted, or too long a wait.
        NoProcessor: none takes it.
        Invalid: it has no script.
    """
    if seconds > _LONGEST_WAIT:
        raise ApiUsage("Delay is too long. Maximum = 3 minutes.")
    try:
        with apart(call) as other:
            identifier = jobs.submit(other, given, jobs.WAITING)
    except (ApiUsage, Invalid) as error:
        raise ApiUsage("Could not submit job. ") from error
    with apart(call) as other:
        job = load(other, entity("Job"), [identifier])[0]
    server, answered = find(call, seconds, job)
    if server is None:
        refusal = NoProcessor(answered)
        with apart(call) as other:
            jobs.change(other, identifier, jobs.ERROR, str(refusal))
        raise refusal
    with apart(call) as other:
        script = script_of(other, identifier)
    return InteractiveProcessor(call, server, job, script)


def script_of(call, job_id):
    """Return id, hash and mimetype of a job's script.

    Raises:
        Invalid: it has none.
    """
    row = call.connection.execute(
        "select f.id, f.hash, f.mimetype from originalfile f join joboriginalfilelink l on l.child = f.id"
        " where l.parent = %s and f.mimetype = any(%s) order by l.id limit 1",
        (job_id, list(scripts.MIMETYPES)),
    ).fetchone()
    if row is None:
        raise Invalid(f"No script for job :{job_id}")
    return row


def parameters(call, file_id, digest):
    """Return what a script takes and gives, an omero.grid.JobParams; a processor is asked where it is not known.

    Args:
        call: calls.Call that has not used its connection.
        file_id: int, of the script's OriginalFile.
        digest: str, its hash: another stands for another script.

    Raises:
        NoProcessor: none runs it.
        Invalid: it does not say what it takes.
    """
    known = call.blitz.parameters.get((file_id, digest))
    if known is not None:
        return known
    job = omero.model.ParseJobI()
    job.linkOriginalFile(omero.model.OriginalFileI(file_id, False))
    job.message = rtypes.rstring(f"Parsing script {file_id}")
    processor = acquire(call, job, 10)
    try:
        found = processor.params(call)
    finally:
        processor.end()
    with apart(call) as other:
        jobs.remove(other, processor.job.id.val)
    if _DYNAMIC not in (found.namespaces or []):
        call.blitz.parameters[file_id, digest] = found
    return found


class InteractiveProcessor(Stateful):
    """A processor that has taken a job.

    Args:
        call: calls.Call of who wants it.
        server: omero.grid.ProcessorPrx.
        job: omero.model.Job.
        script: id, hash and mimetype of its script.
    """

    name = "InteractiveProcessor"
    module = omero.grid

    def __init__(self, call, server, job, script):
        """Begin without a session for the script."""
        super().__init__()
        self.blitz = call.blitz
        self.owner = call.session
        self.ice_context = call.ice_context
        self.server = server.ice_invocationTimeout(-1)
        self.job = job
        self.script, self.digest, mimetype = script
        self.launcher = scripts.launcher(self.blitz.settings, mimetype)
        self.lock = threading.RLock()
        self.known = None
        self.session = None
        self.process = None
        self.detached = self.wanted = self.stopped = False
        self.started = 0

    def opened(self, call):
        """Let it end with the session."""
        call.session.endings[self.identity] = self.end

    def expires(self, call):
        """Return when the script's session ends, in milliseconds since 1970."""
        return self.started + _LIFETIME

    def getJob(self, call):
        """Return the job."""
        return self.job

    def params(self, call):
        """Return what the script takes and gives."""
        with self.lock:
            self._check_running()
            if self.known is None and isinstance(self.job, omero.model.ParseJob):
                self.known = self.server.parseJob(self._session(call).uuid, self.job, self._context())
                if self.known is None:
                    raise Invalid(self._silence(call))
            elif self.known is None:
                self.known = parameters(call, self.script, self.digest)
            return self.known

    def execute(self, call, inputs):
        """Run the script with what it is given (omero.RMap); return its process."""
        with self.lock:
            if self.process is not None:
                raise ApiUsage("Process currently running.")
            if self.wanted:
                raise ApiUsage("Please retrieve results.")
            self._check_running()
            session = self._session(call)
            session.inputs.update((inputs and inputs.val) or {})
            try:
                self.process = self.server.processJob(session.uuid, self.params(call), self.job, self._context())
            except omero.ValidationException as error:
                with apart(call) as other:
                    jobs.change(other, self.job.id.val, jobs.ERROR, error.message or "")
                raise
            if self.process is None:
                return None
            # Else the router lets no client of the session reach it.
            for control in list(call.session.controls):
                try:
                    control.identities().add([self.process.ice_getIdentity()])
                except Ice.LocalException as error:
                    log.info("a client of session %s has gone: %s", call.session.id, error)
            self.wanted = True
            return self.process

    def getResults(self, call, process):
        """Return what the script gave, with the files of what it printed; once it has ended, and once only."""
        with self.lock:
            if self.process is None:
                raise ApiUsage("No current process.")
            if self.process.poll() is None:
                raise ApiUsage("Process still running.")
            found = dict(self.session.outputs)
            with apart(call) as other:
                for name in ("stdout", "stderr"):
                    if row := jobs.output(other, self.job.id.val, name):
                        found[name] = rtypes.robject(omero.model.OriginalFileI(row[0], False))
            self.process = None
            self.wanted = False
            return rtypes.rmap(found)

    def setDetach(self, call, detach):
        """Say whether the script goes on when its processor is given back; return what was said before."""
        with self.lock:
            former, self.detached = self.detached, detach
            return former

    def stop(self, call):
        """Give the processor back."""
        call.session.endings.pop(self.identity, None)
        self.end()
        return DONE

    def close(self, call):
        """Give the processor back and forget it."""
        self.stop(call)
        return super().close(call)

    def end(self):
        """Stop the script, unless it is to go on without its client."""
        with self.lock:
            if self.stopped:
                return
            self.stopped = True
            if self.detached:
                log.info("Detaching from %s", self.process)
                return
            if self.process is not None:
                omero.grid.ProcessPrx.uncheckedCast(self.process.ice_oneway()).shutdown()
                self.process = None
            if self.session is not None:
                self.blitz.sessions.close(self.session.uuid)

    def _check_running(self):
        if self.stopped:
            raise ApiUsage("This processor is stopped.")

    def _context(self):
        return {**self.ice_context, **self.launcher}

    def _session(self, call):
        """Return the session that the script works in: the caller's user, in the group of the call."""
        if self.session is None:
            with apart(call) as other:
                context = other.context
                group = context.session_group_id if context.group_id == ALL_GROUPS else context.group_id
            self.session = self.blitz.sessions.open(
                self.owner.user_name,
                group=str(group),
                agent="OMERO.scripts",
                time_to_idle=0,
                time_to_live=_LIFETIME,
            )
            self.session.references = 0
            self.started = int(time.time() * 1000)
        return self.session

    def _silence(self, call):
        """Say what a script printed that did not say what it takes."""
        said = [f"Can't find params for {self.script}!"]
        with apart(call) as other:
            for name in ("stdout", "stderr"):
                row = jobs.output(other, self.job.id.val, name)
                if row is None:
                    said.append(f"No {name}.")
                    continue
                text = readable(other, row[0]).read_text(encoding="utf-8", errors="replace")
                said += [f"{name} is in file {row[0]}:", "-" * 33, text if "text" in (row[1] or "") else "", "-" * 33]
        return "\n".join(said)


class ScriptProcess:
    """A script that runs, for clients that know no processor; its name is told, and works in other connections too.

    Args:
        call: calls.Call of who runs it.
        processor: InteractiveProcessor.
        process: omero.grid.ProcessPrx.
    """

    name = "ScriptProcess"

    def __init__(self, call, processor, process):
        """Begin with the script running."""
        self.session_uuid = call.session.uuid
        self.identity = Ice.Identity(name=str(uuid.uuid4()), category=omero.constants.categories.PROCESSCALLBACK)
        self.processor = processor
        self.process = process

    def getJob(self, call):
        """Return the job."""
        return self.processor.job

    def getResults(self, call, seconds):
        """Return what the script gave, waiting for its end at most `seconds` (int, no more than five)."""
        if not 0 <= seconds <= 5:
            raise ApiUsage(f"Refusing to wait more than 5 seconds: {seconds}")
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
        return self.processor.getResults(call, self.process).val

    def setMessage(self, call, message):
        """Set the job's message; return the former one."""
        return jobs.change(call, self.processor.job.id.val, None, message)

    def close(self, call, detach):
        """Give the processor back; the script goes on where it is detached."""
        self.processor.setDetach(call, detach)
        self.processor.stop(call)
        call.session.handles.pop(self.processor.identity, None)
        call.session.endings.pop(self.identity.name, None)
        call.blitz.adapter.remove(self.identity)
        return DONE

    def poll(self, call):
        """Return what the script ended with, null as long as it runs."""
        return self.process.poll()

    def wait(self, call):
        """Return what the script ends with."""
        return self.process.wait()

    def cancel(self, call):
        """Ask the script to end; tell whether it has."""
        return self.process.cancel()

    def kill(self, call):
        """Kill the script; tell whether it has ended."""
        return self.process.kill()

    def shutdown(self, call):
        """Ask the script to end, then kill it."""
        self.process.shutdown()
        return DONE

    def registerCallback(self, call, callback):
        """Let a client hear when the script ends."""
        self.process.registerCallback(callback)
        return DONE

    def unregisterCallback(self, call, callback):
        """Let a client hear it no longer."""
        self.process.unregisterCallback(callback)
        return DONE
