"""Where OMERO says that a file came from, and what its importer said about a file. No part of this needs omero-py."""

from __future__ import annotations

import re

# What the importer substitutes for characters that some system does not allow in names, by its Windows and Unix rules.
_REPLACED = dict.fromkeys(range(0x20), "_") | {
    ord(unsafe): safe for unsafe, safe in zip('"*/:<>?\\|', "'x!;[]%!!", strict=True)
}
_NUMBERED = [f"{name}{number}" for name in ("COM", "LPT") for number in range(1, 10)]
_NAMES = ["AUX", "CLOCK$", "CON", "NUL", "PRN", *_NUMBERED]
# Date, time, thread and logger, which precede the message in a line.
_LINE_BEGINS = re.compile(r"^\d{4}-\d\d-\d\d \S+ .*? - ")
_NOTHING = "No imports found"
_MOST_WORDS = 300


def client_path(path):
    """Return the form in which OMERO notes where a file came from.

    Args:
        path: str, full path of the file on the host of the importer.
    """
    return "/".join(_sanitized(each) for each in path.split("/") if each)


def _sanitized(name):
    upper = name.upper()
    if upper in _NAMES:
        name = f"{name}_"
    if upper.startswith(("$", *(f"{each}." for each in _NAMES))):
        name = f"_{name}"
    return name.translate(_REPLACED)


def said_of(path, text):
    """Return what the importer said about a file that has no image now.

    Args:
        path: str, as the importer was given it.
        text: str, the importer's whole output.

    Returns:
        str, a line: from the last place that names the file, with the error that follows; else that it said nothing.
    """
    lines = text.splitlines()
    for number in range(len(lines) - 1, -1, -1):
        if path in lines[number] and not lines[number].startswith("\tat "):
            words = [_LINE_BEGINS.sub("", lines[number]).strip()]
            for line in lines[number + 1 : number + 2]:
                if line.strip() and not line.startswith(("\t", "==>")) and not _LINE_BEGINS.match(line):
                    words.append(line.strip())
            return " ".join(words)[:_MOST_WORDS]
    if _NOTHING in text:
        return _NOTHING
    return "nothing; the file format is not supported"
