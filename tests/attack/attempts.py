"""What an attempt is, how what came back is judged, and the table of attempts.

A kind is a function that yields attempts. An attempt consists of a description, how it is made (a dict for send.py, and
from where), and a judge: a function that takes the Answer and returns in a few words what got through, or an empty
text if the site held. A Control is what must succeed: without it the refusals of its kind prove nothing.
"""

import dataclasses
import re
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

# Longer texts do not help whoever reads the table.
WIDTH = 140
KINDS = {}


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One attempt to get in.

    Attributes:
        what: str, what is tried, for people; without secrets.
        how: dict for send.py; its key `place` names from where: visitor, notebook, or a host of the site.
        through: function from an Answer to a str: what got through, empty if the site held.
    """

    what: str
    how: dict
    through: Callable


@dataclasses.dataclass(frozen=True)
class Control(Attempt):
    """Something ordinary that must succeed (its judge must return a text), so that refusals prove something."""


@dataclasses.dataclass(frozen=True)
class Row:
    """What came of a kind.

    Attributes:
        kind: str.
        attempts: int, how many were made.
        through: list of str, which got through, and what was seen.
        void: list of str, why the attempts prove nothing: controls that failed, or no attempt at all.
        seconds: float.
    """

    kind: str
    attempts: int
    through: list
    void: list
    seconds: float = 0.0


class Absent(Exception):
    """What a kind is about is not part of the site; the text says what."""


class Answer:
    """What came back for an attempt.

    Attributes:
        text: str, what was received (Latin-1, at most 256 KiB), or the output of a command.
        error: str, why there was no answer, or no more of it.
        size: int, bytes received in all.
        seconds: float, until the end of the answer.
        code: int, exit status of a command, otherwise -1.
        skipped: str, why the attempt could not be made, such as a cipher that the attacker's OpenSSL lacks.
        after: list of Answer, what ordinary visitors got afterwards.
    """

    def __init__(self, raw):
        """Take a dict of send.py."""
        self.text = raw.get("text", "")
        self.error = raw.get("error", "")
        self.size = raw.get("size", len(self.text))
        self.seconds = raw.get("seconds", 0.0)
        self.code = raw.get("code", -1)
        self.skipped = raw.get("skipped", "")
        self.after = [Answer(each) for each in raw.get("after", [])]

    @property
    def status(self):
        """The status (int) of an HTTP answer, 0 if it is none."""
        found = re.match(r"HTTP/[\d.]+ (\d{3})", self.text)
        return int(found[1]) if found else 0

    @property
    def head(self):
        """Status line and headers of an HTTP answer (str)."""
        return self.text.partition("\r\n\r\n")[0]

    @property
    def body(self):
        """What follows the headers (str)."""
        return self.text.partition("\r\n\r\n")[2]

    def header(self, name):
        """Return the values of a header, joined by commas (str, empty without it)."""
        return ", ".join(re.findall(rf"(?im)^{re.escape(name)}:[ \t]*(.*?)\r?$", self.head))


def kind(name):
    """Register a function that yields the attempts of a kind, under its name in the table (str)."""

    def register(function):
        assert name not in KINDS, f"two kinds are named '{name}'"
        KINDS[name] = function
        return function

    return register


# Judges.


def answers(*statuses):
    """Judge: an answer with one of these statuses (int), or with any below 300, got through."""
    return lambda seen: (
        f"status {seen.status}" if seen.status in statuses or (not statuses and 100 <= seen.status < 300) else ""
    )


def says(pattern, *statuses):
    """Judge: text in which a regular expression (str) is found got through; optionally, only with these statuses."""

    def judge(seen):
        found = re.search(pattern, seen.body or seen.text) if not statuses or seen.status in statuses else None
        return f"status {seen.status}: {found[0][:60]!r}" if found else ""

    return judge


def has_header(name, pattern="."):
    """Judge: a header (str) that matches a regular expression (str) got through."""
    return lambda seen: (
        f"{name}: {seen.header(name)[:60]}" if re.search(pattern, seen.header(name), re.IGNORECASE) else ""
    )


def leads_to(pattern):
    """Judge: a redirect whose address matches a regular expression (str) got through."""
    return lambda seen: has_header("Location", pattern)(seen) if 300 <= seen.status < 400 else ""


def goes_over_http(seen):
    """Judge: a cookie that a browser would also send without TLS got through."""
    given = re.findall(r"(?im)^Set-Cookie:[ \t]*([^\r\n]*)", seen.head)
    return next((each.partition("=")[0] for each in given if not re.search(r"(?i);\s*secure\b", each)), "")


def connects(seen):
    """Judge: a connection that was made got through."""
    return "" if seen.error else "connected"


def succeeds(seen):
    """Judge: a command that ended with 0 got through."""
    return f"exit status 0: {seen.text.strip()[:60]!r}" if seen.code == 0 else ""


def prints(pattern):
    """Judge: output of a command in which a regular expression (str) is found got through."""
    return lambda seen: f"printed {found[0][:60]!r}" if (found := re.search(pattern, seen.text)) else ""


def lasts(seconds):
    """Judge: an answer that took longer than some seconds (float) got through."""
    return lambda seen: f"took {seen.seconds:.1f} s" if seen.seconds > seconds else ""


def larger(size):
    """Judge: an answer of more than some bytes (int) got through."""
    return lambda seen: f"{seen.size} bytes" if seen.size > size else ""


def spoils(wanted):
    """Judge: if a visitor afterwards gets no answer with status 200 and a text (str), something got through."""

    def judge(seen):
        for each in seen.after:
            if each.status != 200 or wanted not in each.text:
                return f"a visitor then got {each.status or each.error}: {each.body[:40]!r}"
        return ""

    return judge


def either(*judges):
    """Judge: what one of these judges says."""
    return lambda seen: next((said for judge in judges if (said := judge(seen))), "")


# Carrying out and reporting.


def carry_out(name, function, site, run):
    """Make the attempts of a kind, and judge them.

    Args:
        name: str, the kind's.
        function: the kind.
        site: what the function asks about the site.
        run: function from a place (str) and a list of dict for send.py to a list of dict.

    Returns:
        Row.
    """
    attempts = list(function(site))
    made, through, void = 0, [], []
    answered = {}
    for place in dict.fromkeys(attempt.how["place"] for attempt in attempts):
        chosen = [number for number, attempt in enumerate(attempts) if attempt.how["place"] == place]
        seen = run(place, [attempts[number].how for number in chosen])
        assert len(seen) == len(chosen), f"{place} made {len(seen)} attempts of {len(chosen)}"
        answered |= {number: Answer(each) for number, each in zip(chosen, seen, strict=True)}
    for number, attempt in enumerate(attempts):
        answer = answered[number]
        said = "" if answer.skipped else attempt.through(answer)
        if isinstance(attempt, Control):
            if not said:
                got = answer.skipped or answer.error or f"status {answer.status}, {answer.text[:80]!r}"
                void.append(f"{attempt.what}: {got}")
        elif not answer.skipped:
            made += 1
            if said:
                through.append(f"{attempt.what}: {said}")
    if not made:
        void.append("no attempt was made")
    if not any(isinstance(attempt, Control) for attempt in attempts):
        void.append("nothing ordinary was tried, so that refusals may have another reason")
    return Row(name, made, through, void)


def table(rows):
    """Write the table of attempts.

    Args:
        rows: iterable of Row.

    Returns:
        str, with a line for each kind, and what got through below it.
    """
    rows = list(rows)
    drawn = Table(title="Attempts to get in", title_justify="left")
    drawn.add_column("kind")
    for column in ("attempts", "got through", "seconds"):
        drawn.add_column(column, justify="right")
    for row in rows:
        got = f"? {row.void[0][:50]}" if row.void and not row.through else str(len(row.through))
        drawn.add_row(row.kind, str(row.attempts), got, f"{row.seconds:.1f}")
    drawn.add_section()
    total = sum(len(row.through) for row in rows)
    drawn.add_row(f"{len(rows)} kinds", str(sum(row.attempts for row in rows)), str(total), "")
    console = Console(width=WIDTH, color_system=None)
    with console.capture() as capture:
        console.print(drawn)
        for row in rows:
            for line in [*row.through, *(f"proves nothing: {each}" for each in row.void)]:
                console.print(f"{row.kind}: {line}", markup=False, highlight=False, soft_wrap=True)
    return capture.get()
