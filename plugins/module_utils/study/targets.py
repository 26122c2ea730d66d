"""bulk.yml, the table of files that it names, and containers.omero: an experiment's datasets, a screen's plates."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from .files import check, line_of, read_table, read_text, read_yaml

_CHOICE = "[-+%@]?name:"
_DATASET = re.compile(rf"(?:Project:(?:{_CHOICE})?(?P<project>.+?)/)?Dataset:{_CHOICE}(?P<name>.+)")
_SCREEN = re.compile(rf"Screen:{_CHOICE}(?P<name>.+)")
_NAME_LENGTH = 255


@dataclass
class File:
    """A file to import, as a table of files has it.

    Attributes:
        path: str, relative to the experiment's or screen's folder, or a full one.
        table: Path of the table.
        line: int.
        column: int, of the path.
    """

    path: str
    table: Path
    line: int
    column: int


class Bulk(BaseModel):
    """What `omero import --bulk` reads; the other settings are its command line's."""

    model_config = ConfigDict(extra="allow")

    path: str = Field(min_length=1, description="the name of a table of files, such as filePaths.tsv")
    columns: list[str] = Field(default=["path"], description="a list of the table's columns, such as [target, path]")
    target: str = Field(default="", description="where images go, such as Dataset:name:X")


def read_datasets(folder, project, problems):
    """Return the datasets of an experiment.

    Args:
        folder: Path of the experiment.
        project: str, name of its project.
        problems: Problems.

    Returns:
        dict of name to {"description": str, "files": list of File}, in the order of the tables.
    """
    datasets = {}
    for row in _rows(folder, problems):
        name = _dataset(row, project, problems)
        if name:
            datasets.setdefault(name, {"description": "", "files": []})["files"].append(row.file)
    for path in sorted(folder.glob("*containers.omero")):
        for name, description in _containers(path, problems).items():
            dataset = datasets.setdefault(name, {"description": "", "files": []})
            dataset["description"] = dataset["description"] or description
    return datasets


def read_plates(folder, screen, problems):
    """Return the plates of a screen.

    Args:
        folder: Path of the screen.
        screen: str, its name.
        problems: Problems.

    Returns:
        dict of the plate's name to its File, in the order of the tables.
    """
    plates, paths = {}, {}
    for row in _rows(folder, problems, needs_name=True):
        _check_screen(row, screen, problems)
        name, file = row.name, row.file
        if not _good_name("plate", file.table, name, file.line, row.name_column, problems):
            continue
        if name in plates:
            first = _place(plates[name], file)
            text = f"plate {name} is a duplicate, first {first}. Give each its own name, or remove one."
            problems.add(file.table, text, file.line, row.name_column)
            continue
        other = paths.setdefault(file.path, name) if file.path else name
        if other != name:
            text = f"the same file as plate {other}, {_place(plates[other], file)}. Correct one of the paths."
            problems.add(file.table, text, file.line, file.column)
        plates[name] = file
    return plates


def _place(first, second):
    """Return where a File is listed, for a message about another."""
    return f"on line {first.line}" + (f" of {first.table.name}" if first.table != second.table else "")


def _load_bulk(path, problems):
    """Return Bulk with what the files that it includes say, and the Path of the folder that names refer to."""
    merged, origin, seen = {}, {}, set()
    current = path
    while current is not None:
        seen.add(current)
        data, node = read_yaml(current, problems)
        if data is None:
            return None
        for key, value in data.items():
            if key not in merged:
                merged[key], origin[key] = value, (current, node)
        parent = data.get("include")
        following = (current.parent / str(parent)).resolve() if parent else None
        if following is not None and (following in seen or not following.is_file()):
            wrong = "includes itself" if following in seen else f"includes {parent}, and there is no such file"
            problems.add(current, f"{wrong}. Correct `include`.", line_of(node, ["include"]))
            return None
        current = following

    def report(location, text):
        where, node = origin.get(location[0], (path, None))
        problems.add(where, text, line_of(node, location) if node else None)

    bulk = check(Bulk, merged, report)
    return bulk and (bulk, origin["path"])


@dataclass
class _Row:
    """A line of a table of files: what is in its columns, or else in bulk.yml; columns that it has not are None."""

    file: File
    target: str
    target_column: int | None
    name: str
    name_column: int | None


def _rows(folder, problems, needs_name=False):
    """Return the lines (list of _Row) of the tables of a folder; needs_name: each line names what it makes."""
    bulks = sorted(path for path in folder.glob("*bulk*.yml") if "bulkmap" not in path.name)
    if not bulks:
        problems.add(folder, "no bulk.yml, which names the table of files. Add one, such as <study>-<folder>-bulk.yml.")
    return [row for bulk in bulks for row in _rows_of(bulk, needs_name, problems)]


def _rows_of(path, needs_name, problems):
    """Return the lines (list of _Row) of the table of a bulk.yml."""
    loaded = _load_bulk(path, problems)
    if loaded is None:
        return []
    bulk, (where, node) = loaded
    before = len(problems.found)
    if "path" not in bulk.columns:
        problems.add(path, "`columns` has no `path`, which lists the files to import. Add it.")
    elif needs_name and "name" not in bulk.columns:
        problems.add(path, "`columns` has no `name`, by which annotation.csv refers to plates. Add it.")
    elif "target" not in bulk.columns and not bulk.target:
        problems.add(
            path, "neither a column `target` nor a setting `target`: nothing says where images go. Add one of them."
        )
    table = where.parent / bulk.path
    if len(problems.found) == before and not table.is_file():
        text = f"`path` is {bulk.path}, but there is no such file. Add the file, or correct the name."
        problems.add(where, text, line_of(node, ["path"]))
    if len(problems.found) > before:
        return []
    rows = read_table(table, "," if table.suffix == ".csv" else "\t", problems) or []
    column = {name: bulk.columns.index(name) + 1 for name in bulk.columns}
    found, lines = [], {}
    for line, fields in rows:
        if len(fields) != len(bulk.columns):
            wanted = f"{len(bulk.columns)} as `columns` in {path.name} says ({', '.join(bulk.columns)})"
            problems.add(table, f"{len(fields)} fields; expected {wanted}, with a tab between them.", line)
            continue
        row = dict(zip(bulk.columns, fields, strict=True))
        first = lines.setdefault(tuple(fields), line)
        if first != line:
            problems.add(table, f"the same as line {first}. Remove one of them.", line)
            continue
        file = File(row["path"].strip(), table, line, column["path"])
        if not file.path:
            problems.add(table, "no path of a file. Fill it in.", line, file.column)
        target = row.get("target", bulk.target)
        found.append(_Row(file, target, column.get("target"), row.get("name", ""), column.get("name")))
    return found


def check_files(folder, files, problems):
    """Note files that are not there, of those with a path relative to the folder: the others lie on another host.

    Args:
        folder: Path of the experiment or screen.
        files: iterable of File.
        problems: Problems.
    """
    for file in files:
        if not (Path(file.path).is_absolute() or (folder / file.path).exists()):
            text = f"there is no file {file.path} in {folder.name}. Add it, or correct the path."
            problems.add(file.table, text, file.line, file.column)


def _dataset(row, project, problems):
    """Return the name in a line's target, or None when it is no dataset's."""
    path, target, line, column = row.file.table, row.target, row.file.line, row.target_column
    match = _DATASET.fullmatch(target)
    if match is None:
        more = "" if not target.startswith(("Screen:", "Plate:")) else " Plates belong to a screen: see Screen Number."
        text = f"target '{target}'; expected Dataset:name:X, with X the dataset's name.{more}"
        problems.add(path, text, line, column)
        return None
    if match["project"] not in (None, project):
        problems.add(
            path, f"project '{match['project']}'; expected {project}, as study.txt has it. Correct one.", line, column
        )
    return match["name"] if _good_name("dataset", path, match["name"], line, column, problems) else None


def _check_screen(row, screen, problems):
    """Note a line's target that is not the screen."""
    match = _SCREEN.fullmatch(row.target)
    if match is None or match["name"] != screen:
        text = f"target '{row.target}'; expected Screen:name:{screen}, as study.txt has it. Correct one."
        problems.add(row.file.table, text, row.file.line, row.target_column)


def _good_name(kind, path, name, line, column, problems):
    if name != name.strip() or not name.strip():
        problems.add(path, f"{kind} '{name}' begins or ends with a blank. Remove it.", line, column)
        return False
    if len(name) > _NAME_LENGTH:
        problems.add(path, f"{kind} '{name[:30]}...' has {len(name)} characters; OMERO allows {_NAME_LENGTH}.", line)
        return False
    return True


def _containers(path: Path, problems):
    """Return the datasets of a containers.omero (lines such as `obj new Dataset name=X`), name to description."""
    text = read_text(path, problems)
    found, lines = {}, {}
    for number, line in enumerate((text or "").split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            words = shlex.split(line)
        except ValueError as problem:
            problems.add(path, f"{problem}. Check the quotes.", number)
            continue
        settings = dict(word.split("=", 1) for word in words[3:] if "=" in word)
        if words[:3] != ["obj", "new", "Dataset"] or not settings.get("name"):
            problems.add(path, f"'{line.strip()}'; expected `obj new Dataset name=X`.", number)
            continue
        name = settings["name"]
        if name in found:
            problems.add(path, f"dataset {name} is a duplicate, first on line {lines[name]}. Remove one.", number)
        elif _good_name("dataset", path, name, number, None, problems):
            found[name], lines[name] = settings.get("description", ""), number
    return found
