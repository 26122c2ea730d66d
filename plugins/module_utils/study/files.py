"""Text, tables and YAML of a study, and what is wrong with them by file, line and column."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import pydantic
import yaml


class StudyError(Exception):
    """A study that cannot be imported.

    Attributes:
        problems: list of str, each with the file, the place in it, what is wrong and what to do.
    """

    def __init__(self, problems):
        """Keep every problem; the message lists them all."""
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass
class Problems:
    """Collects what is wrong with a study, so that all of it is said at once.

    Attributes:
        folder: Path of the study; files are named relative to it.
        found: list of str.
    """

    folder: Path
    found: list = field(default_factory=list)

    def add(self, path, text, line=None, column=None):
        """Note a problem.

        Args:
            path: Path of the file.
            text: str, what is wrong and what to do.
            line: int or None, counted from 1.
            column: int or None, counted from 1: characters in text and YAML, fields in a table.
        """
        self.found.append(f"{self.place(path, line, column)}: {text}")

    def place(self, path, line=None, column=None):
        """Return how a place in a file is named (Path, int or None, int or None)."""
        place = str(path.relative_to(self.folder) if path.is_relative_to(self.folder) else path)
        place += f", line {line}" if line else ""
        return place + (f", column {column}" if column else "")

    def add_lines(self, path, text, lines):
        """Note one problem that many lines have (lines: list of int)."""
        shown = ", ".join(map(str, lines[:5])) + (f" and {len(lines) - 5} more" if len(lines) > 5 else "")
        self.add(path, f"{text} ({'lines' if len(lines) > 1 else 'line'} {shown})")


def only_file(folder, patterns, what, problems):
    """Return the one file of a folder that matches one of the patterns.

    Args:
        folder: Path.
        patterns: list of str, for glob.
        what: str, what the file holds.
        problems: Problems; gets one when there is no such file, or several.

    Returns:
        Path or None.
    """
    found = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    if len(found) == 1:
        return found[0]
    wanted = " or ".join(patterns)
    if found:
        names = ", ".join(path.name for path in found)
        problems.add(folder, f"several files with {what}: {names}; expected one {wanted}. Remove the others.")
    else:
        problems.add(folder, f"no file with {what}; expected one {wanted}. Add it.")
    return None


def read_text(path, problems):
    """Return a file's text, or None when it cannot be read as UTF-8 (with or without byte order mark).

    Args:
        path: Path; a name that ends in .gz is unpacked.
        problems: Problems.
    """
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except FileNotFoundError:
        problems.add(path, "no such file. Add it, or correct the name where it is referred to.")
        return None
    except (OSError, EOFError, zlib.error) as problem:
        problems.add(path, f"cannot be read: {problem}.")
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        before = raw[: problem.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        wrong = raw[problem.start]
        problems.add(path, f"byte 0x{wrong:02X} is not UTF-8. Save the file with the encoding UTF-8.", line, column)
        return None
    if not text.strip():
        problems.add(path, "the file is empty. Fill it in, or remove it together with its references.")
        return None
    return text


def read_table(path, delimiter, problems):
    """Return the rows of a table as a list of (line, list of str), blank rows left out; None when unreadable.

    Args:
        path: Path.
        delimiter: str, one character.
        problems: Problems.
    """
    text = read_text(path, problems)
    if text is None:
        return None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, line = [], 1
    try:
        for fields in reader:
            if any(value.strip() for value in fields):
                rows.append((line, fields))
            line = reader.line_num + 1
    except csv.Error as problem:
        problems.add(path, f"{problem}. Check the double quotes in this row.", line)
        return None
    return rows


def read_yaml(path, problems):
    """Return a YAML file's mapping and its node graph, which knows the lines; (None, None) when unreadable.

    Args:
        path: Path.
        problems: Problems.
    """
    text = read_text(path, problems)
    if text is None:
        return None, None
    try:
        data, node = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        said = getattr(problem, "problem", None) or str(problem)
        place = (mark.line + 1, mark.column + 1) if mark else (None, None)
        problems.add(path, f"not valid YAML: {said}. Check indentation, quotes and colons here.", *place)
        return None, None
    if not isinstance(data, dict):
        problems.add(path, "not a YAML mapping; expected lines such as `name: value`.", 1)
        return None, None
    return data, node


def line_of(node, location):
    """Return the line of the YAML node at a location, or of the nearest one above it.

    Args:
        node: yaml.Node.
        location: iterable of keys (str) and positions (int) from there.
    """
    line = node.start_mark.line + 1
    for step in location:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = (node.value[step], node.value[step])
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def check(model, data, report):
    """Check data against a pydantic model.

    Args:
        model: class, a pydantic.BaseModel.
        data: dict.
        report: callable that takes the location (tuple) and a sentence of what is wrong.

    Returns:
        An instance of the model, or None when something is wrong.
    """
    try:
        return model.model_validate(data)
    except pydantic.ValidationError as refusal:
        for error in refusal.errors(include_url=False):
            report(error["loc"], _say(error, model))
        return None


def _say(error, model):
    """Return what a pydantic error means for somebody who edits the file."""
    for step in error["loc"][:-1]:
        inner = getattr(model.model_fields.get(step), "annotation", None)
        if isinstance(inner, type) and issubclass(inner, pydantic.BaseModel):
            model = inner
    name = next((str(step) for step in reversed(error["loc"]) if isinstance(step, str)), "")
    if error["type"] == "missing":
        return f"'{name}' is missing. Add it."
    if error["type"] == "extra_forbidden":
        known = ", ".join(each.alias or key for key, each in model.model_fields.items())
        return f"'{name}' is no setting here. Correct or remove it; known are {known}."
    wanted = next((each.description for key, each in model.model_fields.items() if (each.alias or key) == name), None)
    if error["type"] == "too_short" or error["input"] in ("", None):
        return f"'{name}' has no value; expected {wanted or 'one'}."
    return f"'{name}' is '{error['input']}'; expected {wanted or error['msg']}."
