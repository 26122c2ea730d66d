#!/usr/bin/python
"""Of which files OMERO has images and plates, and which are still to be imported."""

DOCUMENTATION = r"""
module: omero_filesets
short_description: Tell of which files OMERO has images and plates
description:
  - Asks the server, by the paths that files came from. What C(omero import) prints, and its exit code, say nothing
    certain about a file - it ends with 0 for one that it could not read.
  - A file is there when an image of it is in its dataset. A set of files without an image, which a failed import
    leaves, does not count. A plate is there when its screen has one of its name.
  - Of a folder in the place of a file nobody knows which images are in it. It is there when anything of it is, and
    to be imported each time, with what is there left out.
  - Changes nothing. A few queries for thousands of files.
  - Runs on the host of the importer, and needs omero-py in the interpreter that it runs with.
extends_documentation_fragment: [omero_login]
options:
  datasets:
    description: The datasets with their files.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the dataset., type: str, required: true}
      id: {description: Its id; without one nothing is there., type: int}
      files: {description: Full paths of the files as the importer has them., type: list, elements: str, required: true}
  plates:
    description: The plates.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the plate., type: str, required: true}
      id: {description: Id of its screen; without one nothing is there., type: int}
      file: {description: Full path of its file., type: str, required: true}
  at_once: {description: So many files at most are in one of I(todo)., type: int, default: 200}
  former:
    description: What I(there) was before the import. With it I(changed) tells whether anything has come.
    type: int
  said:
    description: What the importer printed, for I(missing).
    type: list
    elements: dict
    default: []
    suboptions:
      files: {description: Full paths of the files that it was given., type: list, elements: str, required: true}
      text: {description: Its output., type: str, required: true}
"""

RETURN = r"""
there:
  description: How many sets of files have images in the datasets, and how many plates the screens have, together.
  type: int
  returned: success
todo:
  description: What is to be imported into datasets, some files at a time; folders by themselves.
  type: list
  elements: dict
  returned: success
  sample: [{name: Cells, id: 3, files: [/srv/omero/Studies/x1/a.tif], folders: false}]
plates:
  description: The plates that are not there.
  type: list
  elements: dict
  returned: success
missing:
  description: The files without image, and the files of plates that are not there.
  type: list
  elements: dict
  returned: success
  sample: [{file: /srv/omero/Studies/x1/broken.png, target: dataset Cells, said: "FILE_EXCEPTION: broken.png"}]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.omero_paths import client_path, said_of
from ansible.module_utils.omero_session import ARGUMENTS, session

FIND_FILESETS = (
    "select distinct i.fileset.id, l.parent.id from DatasetImageLink l join l.child i where l.parent.id in (:ids)"
)
FIND_FILES = "select e.fileset.id, e.clientPath from FilesetEntry e where e.fileset.id in (:ids)"
FIND_PLATES = "select l.parent.id, p.name, p.id from ScreenPlateLink l join l.child p where l.parent.id in (:ids)"
# So many ids are in a query.
AT_ONCE = 1000


def main():
    """Run the module."""
    named = {"name": {"type": "str", "required": True}, "id": {"type": "int"}}
    files = {"type": "list", "elements": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "datasets": {"type": "list", "elements": "dict", "default": [], "options": {**named, "files": files}},
            "plates": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {**named, "file": {"type": "str", "required": True}},
            },
            "at_once": {"type": "int", "default": 200},
            "former": {"type": "int"},
            "said": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"files": files, "text": {"type": "str", "required": True}},
            },
        },
        supports_check_mode=True,
    )
    with session(module) as client:
        module.exit_json(**look(module.params, client.sf.getQueryService()))


def look(wanted, query):
    """Compare files with what the server has.

    Args:
        wanted: dict, the module's arguments.
        query: omero.api.IQueryPrx.

    Returns:
        dict, the module's result.
    """
    filesets, paths = files_of_datasets(query, [each["id"] for each in wanted["datasets"]])
    plates = {
        (screen, name): plate
        for screen, name, plate in rows(query, FIND_PLATES, [each["id"] for each in wanted["plates"]])
    }
    todo, missing = [], []
    for dataset in wanted["datasets"]:
        there = paths.get(dataset["id"], set())
        folders = [path for path in dataset["files"] if Path(path).is_dir()]
        above = {parent for path in there for parent in _parents(path)} if folders else set()
        lost = [path for path in dataset["files"] if client_path(path) not in (above if path in folders else there)]
        missing += [{"file": path, "target": f"dataset {dataset['name']}"} for path in lost]
        files = [path for path in lost if path not in folders]
        batches = [files[start : start + wanted["at_once"]] for start in range(0, len(files), wanted["at_once"])]
        made = [(some, False) for some in batches] + [([path], True) for path in folders]
        todo += [{"name": dataset["name"], "id": dataset["id"], "files": some, "folders": kind} for some, kind in made]
    absent = [each for each in wanted["plates"] if (each["id"], each["name"]) not in plates]
    missing += [{"file": each["file"], "target": f"plate {each['name']}"} for each in absent]
    said = [(set(run["files"]), run["text"]) for run in wanted["said"]]
    for each in missing:
        output = "\n".join(text for files, text in said if each["file"] in files)
        each["said"] = said_of(each["file"], output)
    there = len(filesets) + len(plates)
    changed = wanted["former"] is not None and wanted["former"] != there
    return {"changed": changed, "there": there, "todo": todo, "plates": absent, "missing": missing}


def _parents(path):
    """Return the paths of the folders that a file (str) is in."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def files_of_datasets(query, datasets):
    """Find the files of which datasets have images.

    Args:
        query: omero.api.IQueryPrx.
        datasets: list of int or None, ids.

    Returns:
        A tuple: set of the filesets' ids, dict from a dataset's id to a set of paths as the server has them.
    """
    places = {}
    for fileset, dataset in rows(query, FIND_FILESETS, datasets):
        if fileset is not None:
            places.setdefault(fileset, []).append(dataset)
    paths = {}
    for fileset, path in rows(query, FIND_FILES, list(places)):
        for dataset in places[fileset]:
            paths.setdefault(dataset, set()).add(path)
    return set(places), paths


def rows(query, hql, identifiers):
    """Yield the rows (lists) of a query for ids (list of int or None), some ids at a time.

    Args:
        query: omero.api.IQueryPrx.
        hql: str, with the parameter `ids`.
        identifiers: list of int or None.
    """
    from omero.rtypes import unwrap
    from omero.sys import ParametersI

    known = sorted(set(identifiers) - {None})
    for start in range(0, len(known), AT_ONCE):
        parameters = ParametersI().addIds(known[start : start + AT_ONCE])
        yield from unwrap(query.projection(hql, parameters, {"omero.group": "-1"}))


if __name__ == "__main__":
    main()
