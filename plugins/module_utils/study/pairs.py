"""annotation.csv through bulkmap-config.yml: the key-value pairs of datasets, images and wells.

A row of an experiment's annotation.csv is about an image. What is the same in all rows of a dataset is true of the
dataset, and becomes its pairs; what differs from image to image waits for the images. A row of a screen's is about what
is in a well.
"""

from __future__ import annotations

import difflib
from typing import Any, Literal

import jinja2
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field

from .files import check, line_of, read_table, read_yaml

DEFAULT_NAMESPACE = "openmicroscopy.org/omero/bulk_annotations"
DATASET = "Dataset Name"
IMAGE = "Image Name"
PLATE = "Plate"
WELL = "Well"

# Templates come with the study, so their source is not trusted.
_TEMPLATES = SandboxedEnvironment(undefined=jinja2.StrictUndefined)


class Settings(BaseModel):
    """How a column becomes pairs; the defaults are omero-py's."""

    model_config = ConfigDict(extra="forbid")

    clientname: str | None = Field(default=None, description="the key to show, text")
    clientvalue: str | None = Field(default=None, description="a template for the value, such as http://x/{{ value }}")
    include: bool = Field(default=True, description="true or false")
    includeclient: bool = Field(default=True, description="true or false")
    omitempty: bool = Field(default=False, description="true or false")
    position: int = Field(default=-1, description="a number from 1 on, the place among the pairs")
    split: str | Literal[False] | None = Field(default=None, description="the text between several values, or nothing")
    type: str = Field(default="string", description="a column type, such as string")
    visible: bool = Field(default=True, description="true or false")


class Column(Settings):
    """A column of annotation.csv."""

    name: str = Field(min_length=1, description="the name of a column of annotation.csv")


class Group(BaseModel):
    """Columns whose pairs have a namespace of their own."""

    model_config = ConfigDict(extra="forbid")

    namespace: str = Field(min_length=1, description="a namespace, such as openmicroscopy.org/mapr/gene")
    columns: list[dict] = Field(min_length=1, description="a list of columns")


class PrimaryKeys(BaseModel):
    """Keys without which the pairs of a namespace mean nothing."""

    namespace: str
    keys: list[str]


class Advanced(BaseModel):
    """Settings of which these matter here."""

    model_config = ConfigDict(extra="allow")

    primary_group_keys: list[PrimaryKeys] = Field(default=[], description="a list of namespace and keys")
    well_to_images: bool = Field(default=False, description="true or false")


class Config(BaseModel):
    """bulkmap-config.yml as a whole."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(default="", description="the experiment's name")
    version: Any = None
    defaults: Settings = Field(default_factory=Settings, description="settings for all columns")
    columns: list[dict] = Field(min_length=1, description="a list of columns and groups")
    advanced: Advanced = Field(default_factory=Advanced, description="a mapping")


def read_rows(path, names, filled, problems):
    """Read annotation.csv.

    Args:
        path: Path.
        names: list of str, the columns that say what a row is about.
        filled: list of str, those of them that have a value in every row.
        problems: Problems.

    Returns:
        (header, rows): a list of str, and a list of (line, dict of column to value); None when unreadable.
    """
    table = read_table(path, ",", problems)
    if table is None:
        return None
    (first, header), *body = table
    header = [name.strip() for name in header]
    missing = [name for name in names if name not in header]
    for name in missing:
        problems.add(path, f"no column '{name}'{_like(name, header)}. Add it.", first)
    rows, uneven = [], {}
    for line, fields in body:
        if len(fields) != len(header):
            uneven.setdefault(len(fields), []).append(line)
        else:
            rows.append((line, dict(zip(header, fields, strict=True))))
    for count, lines in uneven.items():
        text = f"{count} fields, but the header has {len(header)}. Put values that contain commas into double quotes"
        problems.add_lines(path, text, lines)
    if missing:
        return None
    for name in filled:
        nameless = [line for line, row in rows if not row[name].strip()]
        if nameless:
            problems.add_lines(path, f"no value in '{name}'. Fill it in", nameless)
    if not body:
        problems.add(path, f"no rows below the header. Add one for each {'well' if WELL in names else 'image'}.")
    return header, rows


def read_groups(path, header, problems):
    """Read bulkmap-config.yml.

    Args:
        path: Path.
        header: list of str, the columns of annotation.csv; None leaves the check of names out.
        problems: Problems.

    Returns:
        (groups, well_to_images): a list of (namespace, list of Column, set of keys that must be there), and whether the
        pairs of a well are its images' too; None when something is wrong.
    """
    before = len(problems.found)
    data, node = read_yaml(path, problems)
    if data is None:
        return None
    data = {key: value for key, value in data.items() if value is not None}

    def report(location, text):
        problems.add(path, text, line_of(node, location))

    config = check(Config, data, report)
    if config is None:
        return None

    def column(entry, location):
        """Return a Column with the defaults filled in."""
        filled = check(
            Column, {**config.defaults.model_dump(), **entry}, lambda where, text: report((*location, *where), text)
        )
        if filled is not None:
            _check_column(filled, header, lambda key, text: report((*location, key), text))
        return filled

    groups, loose = [], []
    for index, entry in enumerate(config.columns):
        location = ("columns", index)
        if "group" not in entry:
            loose.append(column(entry, location))
            continue
        location = (*location, "group")
        within = entry["group"] if isinstance(entry["group"], dict) else {}
        group = check(Group, within, lambda where, text, above=location: report((*above, *where), text))
        if group is not None:
            columns = [column(each, (*location, "columns", at)) for at, each in enumerate(group.columns)]
            groups.append((group.namespace, columns))
    if len(problems.found) > before:
        return None
    if config.defaults.include and header is not None:
        named = {each.name for _, columns in [*groups, ("", loose)] for each in columns}
        rest = [name for name in header if name not in named]
        loose += [Column(**{**config.defaults.model_dump(), "name": name}) for name in rest]
    keys = {each.namespace: set(each.keys) for each in config.advanced.primary_group_keys}
    groups = [
        (namespace, _in_order(columns), keys.get(namespace, set()))
        for namespace, columns in [*groups, (DEFAULT_NAMESPACE, loose)]
    ]
    return groups, config.advanced.well_to_images


def _check_column(column, header, report):
    there = header.count(column.name) if header is not None else 1
    if not there:
        hint = _like(column.name, header)
        report("name", f"annotation.csv has no column '{column.name}'{hint}. Correct the name, or add the column.")
    elif there > 1:
        report("name", f"annotation.csv has {there} columns '{column.name}'. Rename all but one.")
    if column.clientvalue is not None:
        try:
            _render(column.clientvalue, "value")
        except (jinja2.TemplateError, ArithmeticError, TypeError, ValueError) as problem:
            said = str(problem).rstrip(".")
            report("clientvalue", f"'{column.clientvalue}' is no template: {said}. It may use {{{{ value }}}}.")


def _in_order(columns):
    """Return the columns that are shown: those with a position there, the others around them."""
    shown = [each for each in columns if each.include and each.includeclient]
    ordered = [each for each in shown if each.position < 1]
    for each in sorted((each for each in shown if each.position > 0), key=lambda each: each.position):
        ordered.insert(each.position - 1, each)
    return ordered


def _like(name, names):
    close = difflib.get_close_matches(name, names, 1)
    return f" (there is '{close[0]}')" if close else ""


def _render(template, value):
    return _TEMPLATES.from_string(template).render(value=value)


def annotations(groups, rows):
    """Return what is the same in all rows of a dataset, or is in the one of an image, as annotations.

    Args:
        groups: list, as from read_groups.
        rows: list of dict of column to value.

    Returns:
        list of {"namespace": str, "pairs": list of [key, value]}; namespaces without pairs are left out, and so are
        those that lack a primary key.
    """
    found = []
    for namespace, columns, needed in groups:
        pairs = []
        for column in columns:
            values = {row[column.name].strip() for row in rows}
            if len(values) == 1:
                pairs += [pair for pair in _pairs(column, values.pop()) if pair not in pairs]
        if pairs and needed <= {key for key, _ in pairs}:
            found.append({"namespace": namespace, "pairs": pairs})
    return found


def annotations_of_all(groups, rows):
    """Return what is in any of the rows of a well as annotations, each pair once: a well may hold several reagents.

    Args and result are those of `annotations`.
    """
    found = {}
    for row in rows:
        for each in annotations(groups, [row]):
            pairs = found.setdefault(each["namespace"], [])
            pairs += [pair for pair in each["pairs"] if pair not in pairs]
    return [{"namespace": namespace, "pairs": pairs} for namespace, pairs in found.items()]


def _pairs(column, value):
    key = column.clientname or column.name
    key = key if column.visible else f"__{key}"
    values = [each.strip() for each in value.split(column.split)] if column.split else [value]
    if column.omitempty:
        values = [each for each in values if each]
    if column.clientvalue is not None:
        values = [_render(column.clientvalue, each) for each in values]
    return [[key, each] for each in values]
