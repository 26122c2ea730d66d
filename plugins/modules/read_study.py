#!/usr/bin/python
"""Reads a study folder."""

DOCUMENTATION = r"""
module: read_study
short_description: Read and check a study folder
description:
  - Reads a study in the format of the public IDR study repositories and returns the input of M(omero_study).
  - Runs on the controller, which has the folder, and requires pydantic, PyYAML, Jinja2 and tifffile in the Python
    interpreter that runs the module.
  - Fails with all problems of the study at once, each with file, line and remedy. Changes nothing.
options:
  folder: {description: The study folder., type: path, required: true}
  images:
    description: Whether to return datasets with files and the key-value pairs of each image, and screens with plates.
    type: bool
    default: false
"""

RETURN = r"""
folder: {description: Absolute path of the folder., type: str, returned: success}
accession: {description: "The study's accession.", type: str, returned: success}
title: {description: "The study's title.", type: str, returned: success}
projects:
  description: Input of M(omero_study).
  type: list
  elements: dict
  returned: success
  sample:
    - name: idr0021-lawo-pericentriolarmaterial/experimentA
      description: Experiment Description ...
      annotations: [{namespace: idr.openmicroscopy.org/study/info, pairs: [[Organism, Homo sapiens]]}]
      images: 414
      datasets: [{name: CENT2, description: "", annotations: []}]
screens:
  description: Input of M(omero_study).
  type: list
  elements: dict
  returned: success
  sample:
    - name: idr0056-stojic-lncrnas/screenA
      description: Screen Description ...
      annotations: [{namespace: idr.openmicroscopy.org/study/info, pairs: [[Organism, Homo sapiens]]}]
      wells: 3080
      well_to_images: true
      plates: [{name: "1921", file: /data/1921, wells: [{name: C3, row: 2, column: 2, annotations: []}]}]
elsewhere:
  description: Files with absolute paths, and where the study refers to them; empty without C(images).
  type: list
  elements: dict
  returned: success
  sample: [{path: /data/1921, place: "screenA/idr0056-screenA-plates.tsv, line 1"}]
"""

import pathlib

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible.module_utils.study.files import StudyError
    from ansible.module_utils.study.folder import read_study
except ImportError as problem:
    missing = problem
else:
    missing = None


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "images": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    if missing:
        module.fail_json(msg=f"read_study cannot run: {missing}. scripts/deploy installs what it needs.")
    folder = pathlib.Path(module.params["folder"]).resolve()
    try:
        study = read_study(folder, module.params["images"])
    except StudyError as refusal:
        found = refusal.problems
        number = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        lines = "\n".join(f"  {each}" for each in found)
        module.fail_json(msg=f"The study in {folder} cannot be imported, and nothing was changed. {number}:\n{lines}")
    module.exit_json(changed=False, folder=str(folder), **study)


if __name__ == "__main__":
    main()
