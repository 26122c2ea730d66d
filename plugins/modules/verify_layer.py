#!/usr/bin/python
"""Documentation of the verify_layer action; the work is done on the controller, in plugins/action."""

DOCUMENTATION = r"""
module: verify_layer
short_description: The gate between two layers
description:
  - Runs the Testinfra checks below C(tests/<layer>) on the controller against the hosts of the current run, with its
    connection settings and variables, and writes C(<reports_dir>/<layer>.json).
  - Fails if a promise is not kept, if a check could not run, and if there was no check. Set C(any_errors_fatal) in its
    play, so that no layer above is applied.
  - Changes nothing on any host. In check mode nothing is verified, as the report states.
options:
  layer:
    description: Name of the layer and of its folder below C(tests/).
    type: str
    required: true
  group:
    description: Group whose hosts are verified; by default the group with the layer's name.
    type: str
"""

RETURN = r"""
report:
  description: Contents of C(<reports_dir>/<layer>.json), without the individual checks.
  returned: always
  type: dict
  sample: {layer: database, outcome: verified, passed: 9, failed: 0, seconds: 4.2, reason: "", not_verified_on: []}
"""
