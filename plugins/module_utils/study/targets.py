"""bulk.yml, the table of files that it names, and containers.omero: which datasets an experiment has."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from .files import check, line_of, read_table, read_text, read_yaml

_DATASET = re.compile(r"(?:Project:(?:[-+%@]?name:)?(?P<project>.+?)/)?Dataset:[-+%@]?name:(?P<name>.+)")
_NAME_LENGTH = 255


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
        dict of name to {"description": str, "files": list of str}, in the order of the tables; the files are paths
        as the tables have them, relative ones to the experiment's folder.
    """
    datasets = {}
    bulks = sorted(path for path in folder.glob("*bulk*.yml") if "bulkmap" not in path.name)
    if not bulks:
        problems.add(folder, "no bulk.yml, which names the table of files. Add one, such as <study>-<folder>-bulk.yml.")
    for bulk in bulks:
        for name, file in _targets(bulk, project, problems):
            datasets.setdefault(name, {"description": "", "files": []})["files"].append(file)
    for path in sorted(folder.glob("*containers.omero")):
        for name, description in _containers(path, problems).items():
            dataset = datasets.setdefault(name, {"description": "", "files": []})
            dataset["description"] = dataset["description"] or description
    return datasets


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


def _targets(path, project, problems):
    """Return (name of the dataset, path of the file) for each line of the table of a bulk.yml."""
    loaded = _load_bulk(path, problems)
    if loaded is None:
        return []
    bulk, (where, node) = loaded
    if bulk.target.startswith("Screen:"):
        _refuse_screen(path, bulk.target, None, problems)
        return []
    if "path" not in bulk.columns:
        problems.add(path, "`columns` has no `path`: nothing says which files to import. Add it.")
        return []
    if "target" not in bulk.columns and not bulk.target:
        problems.add(
            path, "neither a column `target` nor a setting `target`: nothing says where images go. Add one of them."
        )
        return []
    table = where.parent / bulk.path
    if not table.is_file():
        text = f"`path` names {bulk.path}, and there is no such file. Add it, or correct the name."
        problems.add(where, text, line_of(node, ["path"]))
        return []
    rows = read_table(table, "," if table.suffix == ".csv" else "\t", problems) or []
    found, lines = [], {}
    for line, fields in rows:
        if len(fields) != len(bulk.columns):
            wanted = f"{len(bulk.columns)} as `columns` in {path.name} says ({', '.join(bulk.columns)})"
            problems.add(table, f"{len(fields)} fields; wanted are {wanted}, with a tab between them.", line)
            continue
        row = dict(zip(bulk.columns, fields, strict=True))
        first = lines.setdefault(tuple(fields), line)
        if first != line:
            problems.add(table, f"the same as line {first}. Take one of them away.", line)
        if not row.get("path", "").strip():
            problems.add(table, "no path of a file. Fill it in.", line, bulk.columns.index("path") + 1)
        target = row.get("target", bulk.target)
        column = bulk.columns.index("target") + 1 if "target" in row else None
        name = _dataset(table, target, project, line, column, problems)
        if name:
            found.append((name, row.get("path", "").strip()))
    return found


def _refuse_screen(path, target, line, problems):
    problems.add(
        path,
        f"target {target}: not yet: screens and plates need image import. Only datasets can be imported.",
        line,
    )


def _dataset(path, target, project, line, column, problems):
    """Return the name in a target, or None when it is no dataset's."""
    match = _DATASET.fullmatch(target)
    if match is None:
        if target.startswith(("Screen:", "Plate:")):
            _refuse_screen(path, target, line, problems)
        else:
            problems.add(path, f"target '{target}'; wanted is Dataset:name:X, with X the dataset's name.", line, column)
        return None
    if match["project"] not in (None, project):
        problems.add(
            path, f"project '{match['project']}'; wanted is {project}, as study.txt has it. Correct one.", line, column
        )
    return match["name"] if _good_name(path, match["name"], line, column, problems) else None


def _good_name(path, name, line, column, problems):
    if name != name.strip() or not name.strip():
        problems.add(path, f"dataset '{name}' begins or ends with a blank. Take it away.", line, column)
        return False
    if len(name) > _NAME_LENGTH:
        problems.add(path, f"dataset '{name[:30]}...' has {len(name)} characters; OMERO takes {_NAME_LENGTH}.", line)
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
            problems.add(path, f"'{line.strip()}'; wanted is `obj new Dataset name=X`.", number)
            continue
        name = settings["name"]
        if name in found:
            problems.add(path, f"dataset {name} is there again, first on line {lines[name]}. Take one away.", number)
        elif _good_name(path, name, number, None, problems):
            found[name], lines[name] = settings.get("description", ""), number
    return found
