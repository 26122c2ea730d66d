"""Output of the scripts: a line per phase, with its duration."""

from __future__ import annotations

import contextlib
import os
import sys
import time

from rich.console import Console
from rich.text import Text

console = Console(highlight=False, soft_wrap=True)
STARTED = time.monotonic()


def show_phase(name, outcome, seconds, note=""):
    """Print the line of a finished phase.

    Args:
        name: str.
        outcome: str: done, passed, prepared, failed, skipped, left out ...
        seconds: float.
        note: str, further information.
    """
    colours = {
        "done": "green",
        "passed": "green",
        "prepared": "green",
        "failed": "bold red",
        "skipped": "yellow",
        "left out": "yellow",
    }
    line = Text.assemble(
        f"==> {name:<24}",
        (f"{outcome:<9}", colours.get(outcome, "")),
        f"{seconds:>6.1f} s",
        f"  {note}" if note else "",
    )
    console.print(line)


@contextlib.contextmanager
def phase(name):
    """Time a phase, and print its line at its end, even if it ends with an error."""
    started = time.monotonic()
    try:
        yield
    except BaseException:
        show_phase(name, "failed", time.monotonic() - started)
        raise
    show_phase(name, "done", time.monotonic() - started)


def show_setup():
    """Print the line of the set-up, which setup.sh ran and timed before Python was available."""
    show_phase("set-up", "done", int(os.environ.get("VITRINE_SETUP_MICROSECONDS", "0")) / 1e6)


def complain(message):
    """Print an error message to standard error."""
    sys.stdout.flush()
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(f"ERROR: {message}", "bold red"))


@contextlib.contextmanager
def working(name, alone=True):
    """Show a phase in progress on a terminal; elsewhere print only its start.

    Args:
        name: str.
        alone: bool, whether nothing else is shown meanwhile, since a terminal has only one place for it.

    Yields:
        A function that changes the text (str).
    """
    if console.is_terminal and alone:
        with console.status(name) as status:
            yield status.update
    else:
        console.print(f"--> {name}")
        yield lambda text: None
