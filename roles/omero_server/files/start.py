"""Start OMERO.server for systemd, and return when it answers.

`omero admin start` waits for as long as it is told to, whatever happens. This program ends as soon as the logs say that
OMERO.server will not come, and its last line has Blitz' own words, such as
`OMERO.server does not start: FATAL: connection requires a valid client certificate`.

Run it with the interpreter of the virtualenv that has omero-py, in the environment of the service.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

PAUSE = 0.5  # seconds
# How long a trace may take to be written to its end, in seconds.
TRACE = 2
# IceGrid starts a process that ended again and again. So many are no accident.
PROCESSES = 3
STOP_TIMEOUT = 60  # seconds
# ome.services.blitz.Entry logs this line when Blitz ends before it has answered anybody.
START_ERROR = re.compile(r"^.*\bERROR\b.*ome\.services\.blitz\.Entry\b.*Error on startup.*$", re.MULTILINE)
# The class is no word for people, and a message may begin on the next line, after a row of asterisks (DBPatchCheck).
CAUSE = re.compile(r"^Caused by: (?:[\w$]+\.)+[\w$]+:\s+(?:\*+\s+)?(.+)$", re.MULTILINE)
# What the database says is logged before the error of the start, which has no cause then (SelfCorrectingDataSource).
DATABASE = re.compile(r"^(?:Caused by: )?org\.postgresql\.util\.PSQLException: (.+)$", re.MULTILINE)
# What a Java virtual machine writes that does not even begin, and a program that has no class that it needs.
JAVA_ERROR = re.compile(
    r"(?<=Error occurred during initialization of VM\n).+"
    r"|^(?:Error: .+|Unrecognized .+|Invalid .+|Exception in thread .+|java\.lang\.OutOfMemoryError.*)$",
    re.MULTILINE,
)


def reason(log):
    """Return why Blitz does not start, in its own words.

    Args:
        log: str, what Blitz-0.log has since the start.

    Returns:
        A str, what the database said last, else the innermost cause that the log names; None where the log has no error
        of the start.
    """
    found = START_ERROR.search(log)
    if not found:
        return None
    if said := DATABASE.findall(log):
        return said[-1].strip()
    trace = log[found.end() :]
    causes = CAUSE.findall(trace)
    words = causes[-1] if causes else next((line for line in trace.splitlines() if line.strip()), found[0])
    return words.strip()


class Tail:
    """What is written to a file from now on, also when the file is replaced by a new one meanwhile.

    Args:
        path: pathlib.Path, of a file that may not be there yet.
    """

    def __init__(self, path):
        """Begin at the end of the file."""
        self.path = path
        self.known = self._state()
        self.text = ""

    def _state(self):
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None, 0
        return status.st_ino, status.st_size

    def read(self):
        """Return everything since the beginning (str)."""
        inode, position = self.known
        now, size = self._state()
        if now is not None and (now != inode or size < position):
            position = 0
        if now is not None and size > position:
            with self.path.open(encoding="utf-8", errors="replace") as file:
                file.seek(position)
                self.text += file.read()
                position = file.tell()
        self.known = now, position
        return self.text


class Grid:
    """IceGrid's word on Blitz' process.

    Args:
        configuration: str, path of etc/internal.cfg.
    """

    def __init__(self, configuration):
        """Begin without a process."""
        self.configuration = configuration
        self.processes = set()

    def ended(self):
        """Tell whether Blitz' processes have ended since the start, and another will end, too (bool).

        IceGrid disables a server for good whose process ended before the server was active (its DisableOnFailure is 0).
        """
        import Ice
        import IceGrid

        disabled = False
        communicator = Ice.initialize([f"--Ice.Config={self.configuration}"])
        try:
            registry = IceGrid.RegistryPrx.checkedCast(communicator.stringToProxy("IceGrid/Registry"))
            session = registry.createAdminSession("null", "")
            try:
                admin = session.getAdmin()
                if process := admin.getServerPid("Blitz-0"):
                    self.processes.add(process)
                disabled = not admin.isServerEnabled("Blitz-0")
            finally:
                session.destroy()
        except (Ice.Exception, IceGrid.NodeUnreachableException):  # the registry or its node is not there yet
            pass
        finally:
            communicator.destroy()
        return disabled or len(self.processes) >= PROCESSES


def answers(port):
    """Tell whether OMERO.server opens sessions (bool).

    Anybody may be guest, whatever the password; a server that knows no guest says `Password check failed`, which is an
    answer, too.

    Args:
        port: int, of this host, with TLS.
    """
    import Glacier2
    import Ice
    import omero

    client = omero.client(host="localhost", port=port)
    try:
        client.createSession("guest", "guest")
    except Glacier2.PermissionDeniedException as refusal:
        return "Password check failed" in refusal.reason
    except (Glacier2.CannotCreateSessionException, Ice.Exception, omero.ClientError, omero.ServerError):
        return False
    finally:
        client.__del__()  # its communicator, with whatever session there is
    return True


def ask(port, answered):
    """Set an event as soon as OMERO.server answers.

    Args:
        port: int, of this host, with TLS.
        answered: threading.Event.
    """
    while not answers(port):
        time.sleep(PAUSE)
    answered.set()


def begin(omero):
    """Start the processes.

    Args:
        omero: Path of the command.

    Returns:
        Why they are not started (str), None when they are.
    """
    # No pipe: the processes would keep it open.
    with tempfile.TemporaryFile("w+") as errors:
        started = subprocess.run([omero, "admin", "startasync"], stderr=errors, check=False)
        errors.seek(0)
        words = errors.read()
    print(words, end="", file=sys.stderr, flush=True)
    if not started.returncode:
        return None
    lines = [line for line in words.splitlines() if line.strip()]
    return lines[-1] if lines else f"omero admin startasync ended with {started.returncode}"


def wait(timeout, port, logs, grid):
    """Wait until OMERO.server answers.

    Args:
        timeout: int, seconds.
        port: int, of OMERO.server.
        logs: (Tail, Tail), of Blitz-0.log and master.err.
        grid: Grid.

    Returns:
        Why it will not come (str), None when it answers.
    """
    log, errors = logs
    answered = threading.Event()
    # Beside: the router keeps a login waiting as long as IceGrid waits for Blitz, a minute.
    threading.Thread(target=ask, args=(port, answered), daemon=True).start()
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if answered.wait(PAUSE):
            return None
        if reason(log.read()):
            time.sleep(TRACE)
            return reason(log.read())
        if grid.ended():
            time.sleep(TRACE)
            return reason(log.read()) or f"Blitz-0 ended: {last_words(errors.read(), log.read())}"
    return f"no answer within {timeout} seconds: {last_words(errors.read(), log.read())}"


def last_words(errors, log):
    """Return what is most likely to say what is wrong (str).

    Args:
        errors: str, what the processes wrote to standard error.
        log: str, Blitz-0.log.
    """
    if found := JAVA_ERROR.search(errors):
        return found[0]
    for text in (log, errors):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        wrong = [line for line in lines if re.search(r"\b(ERROR|FATAL)\b", line)]
        if wrong:
            return wrong[-1]
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return lines[-1] if lines else "the logs say nothing"


def main(arguments):
    """Run from the command line (list of str); returns the exit code (int)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timeout", type=int, required=True, help="seconds that the start may take")
    parser.add_argument("--port", type=int, required=True, help="port of OMERO.server with TLS")
    options = parser.parse_args(arguments)
    home = pathlib.Path(os.environ["OMERODIR"])
    logs = [Tail(home / "var" / "log" / name) for name in ("Blitz-0.log", "master.err")]
    begun = time.monotonic()
    omero = pathlib.Path(sys.executable).with_name("omero")
    problem = begin(omero) or wait(options.timeout, options.port, logs, Grid(home / "etc" / "internal.cfg"))
    if problem is None:
        print(f"OMERO.server answers after {time.monotonic() - begun:.0f} s", flush=True)
        return 0
    try:
        subprocess.run([omero, "admin", "stop"], check=False, timeout=STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        print("omero admin stop takes too long; systemd ends what is left", flush=True)
    print(f"OMERO.server does not start: {problem}", flush=True)
    return 1


if __name__ == "__main__":
    # At once: a login may still be under way.
    os._exit(main(sys.argv[1:]))
