"""A study folder as a whole, as plain data to put into OMERO."""

from __future__ import annotations

from pathlib import Path

from . import pairs, targets, text
from .files import Problems, StudyError, only_file


def read_study(folder, images=False):
    """Read a study folder in the format of the public IDR study repositories.

    Args:
        folder: str or Path, with study.txt in it and a folder for each experiment.
        images: bool, whether the datasets come with their files and images.

    Returns:
        dict: accession, title, and projects, a list of dicts with name, description, annotations (list of
        {"namespace", "pairs"}), images (int, rows of annotation.csv) and datasets (list of dicts with name,
        description, annotations, and where they are asked for: files, a list of full paths, and images, a list of
        dicts with name and annotations).

    Raises:
        StudyError: it cannot be imported; it has every problem that was found.
    """
    folder = Path(folder).resolve()
    problems = Problems(folder)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise StudyError([f"{folder} {what}; wanted is a study folder, with study.txt in it."])
    path = only_file(folder, ["*study.txt"], "the description of the study", problems)
    parsed = path and text.parse(path, problems)
    if not parsed:
        raise StudyError(problems.found)
    study, experiments = parsed
    projects = [_project(folder, path, study, each, images, problems) for each in experiments]
    if problems.found:
        raise StudyError(problems.found)
    return {
        "accession": study.first("Comment[IDR Study Accession]"),
        "title": study.first("Study Title"),
        "projects": projects,
    }


def _project(folder, path, study, experiment, images, problems):
    """Return an experiment's project; None when something is wrong, which `problems` then says."""
    within = folder / experiment.name.rpartition("/")[2]
    if not experiment.name or within == folder:
        return None
    if not within.is_dir():
        line = experiment.lines["Comment[IDR Experiment Name]"]
        problems.add(path, f"the name ends in {within.name}, and there is no such folder. Add it, or correct it.", line)
        return None
    datasets = targets.read_datasets(within, experiment.name, problems)
    table = only_file(within, ["*annotation.csv", "*annotation.csv.gz"], "the annotations of the images", problems)
    header, rows = (table and pairs.read_rows(table, problems)) or (None, [])
    config = only_file(within, ["*bulkmap-config.yml"], "the columns to show", problems)
    groups = config and pairs.read_groups(config, header, problems)
    of_dataset = {}
    for line, row in rows:
        of_dataset.setdefault(row[pairs.DATASET], []).append((line, row))
    if header is not None and datasets:
        _compare(table, datasets, of_dataset, problems)
    if header is None or not groups:
        return None
    return {
        "name": experiment.name,
        "description": text.describe(study, experiment),
        "annotations": [{"namespace": text.NAMESPACE, "pairs": text.key_values(study, experiment, table.name)}],
        "images": len(rows),
        "datasets": [
            {
                "name": name,
                "description": dataset["description"],
                "annotations": pairs.annotations(groups, [row for _, row in of_dataset.get(name, [])]),
                **(_images(within, dataset, groups, of_dataset.get(name, [])) if images else {}),
            }
            for name, dataset in datasets.items()
        ],
    }


def _images(within, dataset, groups, rows):
    """Return a dataset's files, with full paths, and its images with what is known of each."""
    return {
        "files": [str(within / file) for file in dataset["files"]],
        "images": [
            {"name": row[pairs.IMAGE].strip(), "annotations": pairs.annotations(groups, [row])} for _, row in rows
        ],
    }


def _compare(table, datasets, of_dataset, problems):
    """Note datasets without rows, and rows without a dataset."""
    for name in datasets:
        if name not in of_dataset:
            text = f"no row for dataset {name}, which the table of files has. Add its images, or take it away there."
            problems.add(table, text)
    for name, rows in of_dataset.items():
        if name.strip() and name not in datasets:
            text = f"dataset '{name}' is not in the table of files. Correct the name, or add it there"
            problems.add_lines(table, text, [line for line, _ in rows])
