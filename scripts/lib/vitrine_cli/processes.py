"""Starting programs: one at a time for each site, and terminated together with this one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys

from vitrine_cli import screen
from vitrine_cli.site import PROJECT, RefusedError

# Seconds that a program has to end by itself after Ctrl-C, which a terminal sends to it as well as to this program.
PATIENCE_SECONDS = 2.0


class InterruptedRunError(BaseException):
    """A signal with the given `number` ended the run. Not an error: nothing below main() may handle it."""

    def __init__(self, number):
        """Keep the signal's number (int)."""
        super().__init__(signal.Signals(number).name)
        self.number = number


def need(*sets):
    """Install missing Debian packages, or report which to install.

    Args:
        sets: str, names known to scripts/setup.sh.

    Raises:
        RefusedError: They cannot be installed; setup.sh has reported the reason.
    """
    script = 'set -euo pipefail; source "$1/scripts/setup.sh"; shift; need "$@"'
    if subprocess.run(["bash", "-c", script, "bash", str(PROJECT), *sets], check=False).returncode:
        raise RefusedError("Packages are missing; see above.")


@contextlib.contextmanager
def lock(site, purpose):
    """Prevent other processes from working on a site at the same time.

    Args:
        site: Site.
        purpose: str, shown to them.

    Yields:
        The lock's file descriptor (int), for programs that must hold it even if this one is killed.

    Raises:
        RefusedError: Another process holds the lock.
    """
    path = PROJECT / ".vitrine" / f"{site.name}.lock"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise RefusedError(
                f"Another process is working on the site {site.name} ({file.read().strip()}). "
                "Wait until it has finished."
            ) from None
        file.truncate(0)
        file.write(f"{purpose}, process {os.getpid()}")
        file.flush()
        yield file.fileno()


def catch_signals():
    """Turn the signals that end a program into InterruptedRunError."""

    def interrupt(number, _frame):
        raise InterruptedRunError(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def carry_out(request, arguments, continuation=""):
    """Carry out what a script is for, and say why that was refused or ended early.

    Args:
        request: function that takes the arguments and returns an exit code.
        arguments: list of str, the command line.
        continuation: str, what to do after an interruption.

    Returns:
        The exit code (int): the request's own, 2 if refused, 128 and the signal's number if interrupted.
    """
    catch_signals()
    try:
        return request(arguments)
    except RefusedError as problem:
        screen.complain(problem)
        return 2
    except InterruptedRunError as interruption:
        screen.complain(f"Interrupted by {interruption}. {continuation}".strip())
        return 128 + interruption.number


@contextlib.contextmanager
def started(command, pass_fds=(), **options):
    """Start a program in the checkout, and terminate it when this program is interrupted.

    Args:
        command: list of str.
        pass_fds: iterable of int, file descriptors to pass on to it.
        options: Further arguments of subprocess.Popen.

    Yields:
        The subprocess.Popen.

    Raises:
        InterruptedRunError: A signal interrupted this program; the started program has ended.
    """
    sys.stdout.flush()
    child = subprocess.Popen(command, cwd=PROJECT, pass_fds=pass_fds, **options)
    try:
        yield child
    finally:
        end(child)


def end(child):
    """End a program: wait for a moment, then terminate it, and after a while kill it.

    What it has started itself is ended too if it was started as the leader of a process group (process_group=0).
    """

    def send(number):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(child.pid) == child.pid:
                os.killpg(child.pid, number)
            else:
                child.send_signal(number)

    for patience, number in ((PATIENCE_SECONDS, signal.SIGTERM), (20, signal.SIGKILL)):
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            send(number)
    child.wait()


def run(command, pass_fds=()):
    """Run a program with this program's input and output.

    Args:
        command: list of str.
        pass_fds: iterable of int, file descriptors to pass on to it.

    Returns:
        Its exit status (int).

    Raises:
        InterruptedRunError: A signal interrupted this program; the started program has ended.
    """
    with started(command, pass_fds) as child:
        return child.wait()
