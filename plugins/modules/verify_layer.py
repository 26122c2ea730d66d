#!/usr/bin/python
"""Documentation of the verify_layer action; the work is done on the controller, in plugins/action."""

DOCUMENTATION = r"""
module: verify_layer
short_description: The gate between two layers
description:
  - Runs the Testinfra files below C(tests/<layer>) on the controller against the hosts of this very run, with the
    connection and the variables that the run has, and writes C(<reports_dir>/<layer>.json).
  - Fails when a promise is not kept, when a check could not run, and when there was none. Put C(any_errors_fatal) on
    its play, so that nothing above is applied.
  - Changes nothing on any host. In check mode nothing is verified, and the report says so.
options:
  layer:
    description: Name of the layer, which is its folder below C(tests/).
    type: str
    required: true
  group:
    description: Group whose hosts are verified; the layer's name unless told otherwise.
    type: str
"""

RETURN = r"""
report:
  description: What C(<reports_dir>/<layer>.json) holds, without the single checks.
  returned: always
  type: dict
  sample: {layer: database, outcome: verified, passed: 9, failed: 0, seconds: 4.2, reason: "", not_verified_on: []}
"""
