"""A study folder as a whole, as plain data to put into OMERO."""

from __future__ import annotations

from pathlib import Path

from .files import Problems, StudyError, only_file
from .pairs import DATASET, IMAGE, PLATE, WELL, annotations, annotations_of_all, read_groups, read_rows
from .targets import check_files, read_datasets, read_plates
from .text import NAMESPACE, describe, key_values, parse
from .wells import name_of, read_plate
from .wells import place as place_of


def read_study(folder, images=False):
    """Read a study folder in the format of the public IDR study repositories.

    Args:
        folder: str or Path, with study.txt in it and a folder for each experiment and each screen.
        images: bool, whether datasets come with their files and images, and screens with their plates.

    Returns:
        dict: accession, title, projects, screens and elsewhere.

        projects is a list of dicts with name, description, annotations (list of {"namespace", "pairs"}), images (int,
        rows of annotation.csv) and datasets (list of dicts with name, description, annotations, and where they are
        asked for: files, a list of full paths, and images, a list of dicts with name and annotations).

        screens is a list of dicts with name, description, annotations, wells (int, how many annotation.csv has),
        well_to_images (bool) and plates (a list of dicts with name, file and wells, a list of dicts with name, row,
        column and annotations), an empty one where images are not asked for.

        elsewhere is a list of dicts with path and place: the files with full paths, and where they are named.

    Raises:
        StudyError: it cannot be imported; it has every problem that was found.
    """
    folder = Path(folder).resolve()
    problems = Problems(folder)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise StudyError([f"{folder} {what}; expected a study folder, with study.txt in it."])
    path = only_file(folder, ["*study.txt"], "the description of the study", problems)
    parsed = path and parse(path, problems)
    if not parsed:
        raise StudyError(problems.found)
    study, parts = parsed
    read = {"Experiment": _project, "Screen": _screen}
    found, elsewhere = {"Experiment": [], "Screen": []}, []
    for part in parts:
        within = _folder_of(folder, path, part, problems)
        if within is not None:
            made, files = read[part.kind](within, study, part, images, problems)
            found[part.kind].append(made)
            elsewhere += [
                {"path": file.path, "place": problems.place(file.table, file.line)}
                for file in files
                if images and Path(file.path).is_absolute()
            ]
    if problems.found:
        raise StudyError(problems.found)
    return {
        "accession": study.first("Comment[IDR Study Accession]"),
        "title": study.first("Study Title"),
        "projects": found["Experiment"],
        "screens": found["Screen"],
        "elsewhere": elsewhere,
    }


def _folder_of(folder, path, part, problems):
    """Return the Path of the folder of an experiment or screen; None where it is not there, which is then noted."""
    within = folder / part.folder
    if not part.name or within == folder:
        return None
    if not within.is_dir():
        line = part.lines[part.name_key]
        problems.add(
            path, f"the name ends in {within.name}, but there is no such folder. Add it, or correct the name.", line
        )
        return None
    return within


def _tables(within, what, names, filled, problems):
    """Return annotation.csv (Path), its header (list of str) and rows, and the groups of columns to show.

    What cannot be read is None, and the rows then an empty list.
    """
    table = only_file(within, ["*annotation.csv", "*annotation.csv.gz"], f"the annotations of the {what}", problems)
    header, rows = (table and read_rows(table, names, filled, problems)) or (None, [])
    config = only_file(within, ["*bulkmap-config.yml"], "the columns to show", problems)
    groups = config and read_groups(config, header, problems)
    return table, header, rows, groups


def _project(within, study, experiment, images, problems):
    """Return an experiment's project and its files (list of targets.File); no project when something is wrong."""
    datasets = read_datasets(within, experiment.name, problems)
    files = [file for dataset in datasets.values() for file in dataset["files"]]
    if images:
        check_files(within, files, problems)
    names = [DATASET, IMAGE]
    table, header, rows, groups = _tables(within, "images", names, names[:1], problems)
    of_dataset = {}
    for line, row in rows:
        of_dataset.setdefault(row[DATASET], []).append((line, row))
    if header is not None and datasets:
        _compare(table, "dataset", datasets, of_dataset, problems)
    if header is None or not groups:
        return None, files
    groups, _ = groups
    project = {
        "name": experiment.name,
        "description": describe(study, experiment),
        "annotations": [{"namespace": NAMESPACE, "pairs": key_values(study, experiment, table.name)}],
        "images": len(rows),
        "datasets": [
            {
                "name": name,
                "description": dataset["description"],
                "annotations": annotations(groups, [row for _, row in of_dataset.get(name, [])]),
                **(_images(within, dataset, groups, of_dataset.get(name, [])) if images else {}),
            }
            for name, dataset in datasets.items()
        ],
    }
    return project, files


def _screen(within, study, screen, images, problems):
    """Return a screen and its files (list of targets.File); no screen when something is wrong."""
    plates = read_plates(within, screen.name, problems)
    if images:
        check_files(within, plates.values(), problems)
    names = [PLATE, WELL]
    table, header, rows, groups = _tables(within, "wells", names, names, problems)
    of_plate = {}
    for line, row in rows:
        of_plate.setdefault(row[PLATE], []).append((line, row))
    if header is not None and plates:
        _compare(table, "plate", plates, of_plate, problems)
    wells = {name: _wells(table, of_plate.get(name, []), problems) for name in plates}
    if images:
        for name, file in plates.items():
            _check_wells(table, name, wells[name], read_plate(file, within, problems), problems)
    if header is None or not groups:
        return None, list(plates.values())
    groups, to_images = groups
    found = {
        "name": screen.name,
        "description": describe(study, screen),
        "annotations": [{"namespace": NAMESPACE, "pairs": key_values(study, screen, table.name)}],
        "wells": sum(map(len, wells.values())),
        "well_to_images": to_images,
        "plates": [
            {
                "name": name,
                "file": str(within / file.path),
                "wells": [
                    {
                        "name": name_of(*place),
                        "row": place[0],
                        "column": place[1],
                        "annotations": annotations_of_all(groups, [row for _, row in wells[name][place]]),
                    }
                    for place in sorted(wells[name])
                ],
            }
            for name, file in plates.items()
            if images
        ],
    }
    return found, list(plates.values())


def _wells(table, rows, problems):
    """Return the rows of a plate (list of (line, row)) by their well's place; notes what is no well or is repeated."""
    found = {}
    for line, row in rows:
        name = row[WELL].strip()
        place = place_of(name)
        if place is None:
            if name:  # one without is noted by who read the rows
                wanted = "a letter or two for the row and a number for the column, such as A1 or AF48"
                problems.add(table, f"'{name}' is not a well; expected {wanted}.", line)
            continue
        same = next((first for first, other in found.get(place, []) if _other(other) == _other(row)), None)
        if same is not None:
            text = f"well {name} of plate {row[PLATE]} is a duplicate, first on line {same}, with the same values."
            problems.add(table, f"{text} Remove one.", line)
        found.setdefault(place, []).append((line, row))
    return found


def _other(row):
    """Return what a row says of its well, but for how it names it."""
    return {column: value for column, value in row.items() if column != WELL}


def _check_wells(table, name, wells, plate, problems):
    """Note wells (dict of place to rows) that a plate (wells.Plate, None where it is not known) has not."""
    if plate is None:
        return
    for place, rows in wells.items():
        if place not in plate.places:
            size = f"{plate.rows} rows, {plate.columns} columns, {len(plate.places)} wells"
            text = f"plate {name} has no well {name_of(*place)} ({size}). Correct it, or remove it"
            problems.add_lines(table, text, [line for line, _ in rows])


def _images(within, dataset, groups, rows):
    """Return a dataset's files, with full paths, and its images with what is known of each."""
    return {
        "files": [str(within / file.path) for file in dataset["files"]],
        "images": [{"name": row[IMAGE].strip(), "annotations": annotations(groups, [row])} for _, row in rows],
    }


def _compare(table, kind, known, of_name, problems):
    """Note datasets or plates (kind: which) without rows, and rows without one."""
    for name in known:
        if name not in of_name:
            things = "wells" if kind == "plate" else "images"
            text = f"no row for {kind} {name}, which the table of files has. Add its {things}, or remove it there."
            problems.add(table, text)
    for name, rows in of_name.items():
        if name.strip() and name not in known:
            text = f"{kind} '{name}' is not in the table of files. Correct the name, or add it there"
            problems.add_lines(table, text, [line for line, _ in rows])
