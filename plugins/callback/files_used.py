"""Notes which of the project's files a run uses, for scripts/test: it compares them with what a scenario depends on."""

from __future__ import annotations

import os
import pathlib

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: files_used
type: aggregate
short_description: Lists the project's files that tasks come from
description:
  - Appends to the file that the environment names as C(VITRINE_FILES_USED) the path of every file of the project that a
    task, handler or playbook of the run comes from, and of the folder of every gate that was asked, relative to the
    checkout.
"""

PROJECT = pathlib.Path(__file__).resolve().parents[2]


class CallbackModule(CallbackBase):
    """Listens to playbooks, tasks and the results of verify_layer."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "files_used"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        """Begin with no file seen."""
        super().__init__()
        self._list = os.environ.get("VITRINE_FILES_USED")
        self._seen: set[str] = set()

    def v2_playbook_on_play_start(self, play):
        """Note the playbook."""
        self._note(play.get_path())

    def v2_playbook_on_task_start(self, task, is_conditional):
        """Note the file of the task."""
        self._note(task.get_path())

    def v2_playbook_on_handler_task_start(self, task):
        """Note the file of the handler."""
        self._note(task.get_path())

    def v2_playbook_on_include(self, included_file):
        """Note a file of tasks that was included."""
        self._note(getattr(included_file, "_filename", None))

    def v2_runner_on_ok(self, result):
        """Note the folder of a gate."""
        self._note_gate(result)

    def v2_runner_item_on_ok(self, result):
        """Note the folder of a gate in a loop."""
        self._note_gate(result)

    def _note_gate(self, result):
        report = result.result.get("report")
        if isinstance(report, dict) and "layer" in report:
            self._note(str(PROJECT / "tests" / report["layer"]))

    def _note(self, path):
        """Add a path (str, with or without the number of a line, or None) to the list, once."""
        path = str(path or "").partition(":")[0]
        if not self._list or not path.startswith("/") or path in self._seen:
            return
        self._seen.add(path)
        if pathlib.Path(path).resolve().is_relative_to(PROJECT):
            with pathlib.Path(self._list).open("a") as file:
                file.write(f"{pathlib.Path(path).resolve().relative_to(PROJECT)}\n")
