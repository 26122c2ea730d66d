"""study.txt: what a study and its experiments are, and how that is shown.

The file is tab-separated lines: a key and its values. A line that begins with `#` is a comment; a value that does is a
hint of the template that nobody filled in, and counts as empty. Lines without a known key continue free text that
nothing here needs, or belong to parts of the format that are not shown (protocols, assay files and so on).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints, create_model

from .files import check, read_text

NAMESPACE = "idr.openmicroscopy.org/study/info"
KINDS = ("Experiment", "Screen")

_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/)?(10\.\d+/\S+)")
_Text = Annotated[str, StringConstraints(min_length=1)]
_OptionalDoi = Annotated[str, StringConstraints(pattern=r"^$|^(https?://(dx\.)?doi\.org/)?10\.\d+/\S+$")]


def _key(alias, wanted, optional=False):
    more = {"default": []} if optional else {"min_length": 1}
    return Field(alias=alias, description=wanted, **more)


class StudyKeys(BaseModel):
    """Keys of the study that are checked."""

    accession: list[Annotated[str, StringConstraints(pattern=r"^[a-z]+\d+$")]] = _key(
        "Comment[IDR Study Accession]", "lower-case letters and a number, such as idr0021"
    )
    title: list[_Text] = _key("Study Title", "one line of text")
    description: list[_Text] = _key("Study Description", "text")
    kind: list[_Text] = _key("Study Type", "text, such as protein localization")
    release: list[date] = _key("Study Public Release Date", "a date such as 2016-05-26")
    pubmed: list[Annotated[str, StringConstraints(pattern=r"^\d*$")]] = _key("Study PubMed ID", "a number", True)
    pmc: list[Annotated[str, StringConstraints(pattern=r"^$|^PMC\d+$")]] = _key(
        "Study PMC ID", "PMC and a number", True
    )
    doi: list[_OptionalDoi] = _key("Study DOI", "a DOI such as https://doi.org/10.1038/ncb2591", True)
    data_doi: list[_OptionalDoi] = _key("Study Data DOI", "a DOI such as https://doi.org/10.17867/10000125", True)


def _keys_of(kind, **more):
    """Return the model of the keys of an experiment or a screen that are checked (more: those that only one has)."""
    name = _key(f"Comment[IDR {kind} Name]", f"the study's name, a slash and the {kind.lower()}'s folder")
    return create_model(
        f"{kind}Keys",
        name=(list[Annotated[str, StringConstraints(pattern=r"^\S+/[\w-]+$", max_length=255)]], name),
        description=(list[_Text], _key(f"{kind} Description", "text")),
        sample=(list[_Text], _key(f"{kind} Sample Type", "text, such as cell")),
        method=(list[_Text], _key(f"{kind} Imaging Method", "text, such as confocal microscopy")),
        data_doi=(
            list[_OptionalDoi],
            _key(f"{kind} Data DOI", "a DOI such as https://doi.org/10.17867/10000125", True),
        ),
        **more,
    )


KEYS = {
    "Experiment": _keys_of("Experiment"),
    "Screen": _keys_of("Screen", type=(list[_Text], _key("Screen Type", "text, such as primary screen"))),
}


@dataclass
class Section:
    """A part of study.txt: the study itself, an experiment or a screen.

    Attributes:
        kind: str, Study, Experiment or Screen.
        line: int, where it begins.
        values: dict of key to list of str, hints and empty ends left out.
        lines: dict of key to int.
    """

    kind: str
    line: int
    values: dict = field(default_factory=dict)
    lines: dict = field(default_factory=dict)

    def get(self, key):
        """Return the values of a key that are not empty."""
        return [value for value in self.values.get(key, []) if value]

    def first(self, key):
        """Return the first value of a key, or an empty string."""
        return next(iter(self.get(key)), "")

    @property
    def name_key(self):
        """The key of its name."""
        return f"Comment[IDR {self.kind} Name]"

    @property
    def name(self):
        """The name that the study gives it."""
        return self.first(self.name_key)

    @property
    def folder(self):
        """The name of its folder."""
        return self.name.rpartition("/")[2]


def parse(path, problems):
    """Read study.txt.

    Args:
        path: Path.
        problems: Problems; gets one for each key that is missing or wrong.

    Returns:
        (Section of the study, list of Section of its experiments and screens), or None when the file cannot be read.
    """
    text = read_text(path, problems)
    if text is None:
        return None
    study, parts = _sections(path, text, problems)
    _check(StudyKeys, path, study, problems)
    _check_numbers(path, study, parts, problems)
    for part in parts:
        _check(KEYS[part.kind], path, part, problems)
        _check_name(path, study, part, problems)
        _check_organism(path, study, part, problems)
    titles, authors = study.get("Study Publication Title"), study.get("Study Author List")
    if len(titles) != len(authors):
        problems.add(
            path,
            f"{len(titles)} publication titles and {len(authors)} author lists; expected one list for each title. "
            "Complete the shorter line.",
            study.lines.get("Study Author List") or study.lines.get("Study Publication Title"),
        )
    names = [part.name for part in parts]
    for part in parts:
        # Two of one name would also be of one folder.
        if part.name and names.index(part.name) < parts.index(part):
            text = f"a second {' or '.join(KINDS).lower()} named {part.name}. Give each its own name."
            problems.add(path, text, part.lines[part.name_key])
    return study, parts


def _sections(path, text, problems):
    study, parts = Section("Study", 1), []
    for number, line in enumerate(text.split("\n"), 1):
        key, *values = (value.strip() for value in line.split("\t"))
        if key in ("Experiment Number", "Screen Number"):
            parts.append(Section(key.split()[0], number))
        owner = study if key.startswith(("Study ", "Comment[IDR Study")) or not parts else parts[-1]
        if not key or key.startswith(("#", '"#')) or not key.startswith((owner.kind + " ", "Comment[")):
            continue
        values = ["" if value.startswith("#") else value for value in values]
        while values and not values[-1]:
            values.pop()
        if owner.get(key) and values and values != owner.values[key]:
            problems.add(path, f"'{key}' is a duplicate, first on line {owner.lines[key]}. Keep one of them.", number)
        elif not owner.get(key):
            owner.values[key], owner.lines[key] = values, number
    return study, parts


def _check(model, path, section, problems):
    def report(location, text):
        problems.add(path, text, section.lines.get(location[0], section.line))

    check(model, section.values, report)


def _check_numbers(path, study, parts, problems):
    """Compare the numbers of experiments and screens that the study states with what is there."""
    if not parts:
        begin = "`Experiment Number<tab>1` or `Screen Number<tab>1`"
        problems.add(path, f"no experiment and no screen. Add a section that begins with the line {begin}.")
    for kind in KINDS:
        there = sum(part.kind == kind for part in parts)
        key = f"Study {kind}s Number"
        stated = study.first(key)
        if stated and stated != str(there):
            problems.add(path, f"'{key}' is '{stated}', but there are {there}. Correct it.", study.lines[key])
    numbers = [part.first(f"{part.kind} Number") for part in parts]
    for part, number in zip(parts, numbers, strict=True):
        if not number.isdigit() or numbers.count(number) > 1:
            problems.add(path, f"'{part.kind} Number' is '{number}'; expected a number that no other has.", part.line)


def _check_name(path, study, part, problems):
    accession = study.first("Comment[IDR Study Accession]")
    if accession and part.name and not part.name.startswith(f"{accession}-"):
        wanted = f"a name that begins with {accession}-, the study's accession"
        line = part.lines[part.name_key]
        problems.add(path, f"'{part.name_key}' is '{part.name}'; expected {wanted}.", line)


def _check_organism(path, study, part, problems):
    key = f"{part.kind} Organism"
    places = [each for each in (study, part) if each.get(f"{each.kind} Organism")]
    if len(places) != 1:
        found = "both" if places else "neither"
        problems.add(
            path,
            f"{found} of 'Study Organism' and '{key}' has a value; expected one of them.",
            part.lines.get(key, part.line),
        )


def describe(study, part):
    """Return the description of an experiment's project or of a screen (study, part: Section)."""
    parts = []
    title = study.first("Study Publication Title")
    if title:
        parts.append(f"Publication Title\n{title}")
    key = f"{part.kind} Description"
    parts.append(f"{key}\n{part.first(key)}")
    history = study.first("Study Version History")
    if history:
        parts.append(f"Version History\n{history}")
    return "\n\n".join(parts)


def key_values(study, part, annotation_file):
    """Return the pairs of an experiment's project or of a screen in the namespace NAMESPACE.

    Args:
        study: Section.
        part: Section of an experiment or screen.
        annotation_file: str, name of the file with its annotations.

    Returns:
        list of [key, value].
    """
    titles = study.get("Study Publication Title")
    pairs = [
        *_each("Sample Type", part.get(f"{part.kind} Sample Type")),
        *_each("Organism", part.get(f"{part.kind} Organism") or study.get("Study Organism")),
        *_each("Study Title", [title for title in study.get("Study Title") if title not in titles]),
        *_each("Study Type", study.get("Study Type")),
        # These two only a screen has.
        *_each("Screen Type", part.get("Screen Type")),
        *_each("Screen Technology Type", part.get("Screen Technology Type")),
        *_each("Imaging Method", part.get(f"{part.kind} Imaging Method")),
    ]
    for index, title in enumerate(titles):
        pairs += _publication(study, index, title)
    licence = [value for key in ("Study License", "Study License URL") for value in study.get(key)]
    pairs += [
        *_each("Release Date", study.get("Study Public Release Date")),
        *_each("License", [" ".join(licence)] if licence else []),
        *_each("Copyright", study.get("Study Copyright")),
        *_each("Data Publisher", study.get("Study Data Publisher")),
        *_each("Data DOI", map(_with_doi, part.get(f"{part.kind} Data DOI") or study.get("Study Data DOI"))),
        *_each("External URL", study.get("Study External URL")),
    ]
    for key in ("Study BioImage Archive Accession", "Study BioStudies Accession"):
        link = "https://www.ebi.ac.uk/biostudies/studies/"
        pairs += _each("BioStudies Accession", [f"{value} {link}{value}" for value in study.get(key)])
    link = "https://dx.doi.org/10.6019/"
    pairs += _each("EMPIAR Accession", [f"{value} {link}{value}" for value in study.get("Study EMPIAR Accession")])
    return [*pairs, ["Annotation File", annotation_file]]


def _each(key, values):
    return [[key, value] for value in values]


def _publication(study, index, title):
    def at(key):
        values = study.values.get(key, [])
        return values[index] if index < len(values) else ""

    pairs = [["Publication Title", title], ["Publication Authors", at("Study Author List")]]
    if pubmed := at("Study PubMed ID"):
        pairs.append(["PubMed ID", f"{pubmed} https://www.ncbi.nlm.nih.gov/pubmed/{pubmed}"])
    if pmc := at("Study PMC ID"):
        pairs.append(["PMC ID", f"{pmc} https://www.ncbi.nlm.nih.gov/pmc/articles/{pmc}"])
    if doi := at("Study DOI"):
        pairs.append(["Publication DOI", _with_doi(doi)])
    return pairs


def _with_doi(doi):
    match = _DOI.fullmatch(doi)
    return f"{match[1]} https://doi.org/{match[1]}" if match else doi
