"""Filter that finds a site's own files which no layer uses."""

import difflib
import pathlib

# Gates that do not belong to a layer.
FURTHER_GATES = ["gpfs", "study"]


def own_file_faults(layers, hooks, tests):
    """List the faults in the names of a site's own tasks and checks.

    Args:
        layers: list of str.
        hooks: str, folder of the tasks before and after layers.
        tests: str, folder with a folder of checks per gate.

    Returns:
        list of str: a message for each file or folder that would never be used.
    """
    names = [f"{when}_{layer}.yml" for layer in layers for when in ("before", "after")]
    faults = [
        f"{path} is never run; expected a name such as {nearest(path.name, names)}. Rename the file: before_ or "
        f"after_, followed by one of {', '.join(layers)}."
        for path in entries(hooks)
        if path.suffix in (".yml", ".yaml") and path.is_file() and path.name not in names
    ]
    gates = [*layers, *FURTHER_GATES]
    faults += [
        f"{path} is never run; expected a folder such as {nearest(path.name, gates)}. Rename the folder: one of "
        f"{', '.join(gates)}."
        for path in entries(tests)
        if path.is_dir() and path.name not in gates and list(path.glob("test_*.py"))
    ]
    return faults + [
        f"{path} is never run; expected it in the folder of a gate. Move it, for example to {path.parent / gates[0]}."
        for path in entries(tests)
        if path.match("test_*.py")
    ]


def entries(folder):
    """Return what a folder (str) contains, if there is one: a sorted list of pathlib.Path."""
    path = pathlib.Path(folder)
    return sorted(path.iterdir()) if path.is_dir() else []


def nearest(name, names):
    """Return the one of names (list of str) that is most like a name (str)."""
    return max(names, key=lambda each: difflib.SequenceMatcher(None, name, each).ratio())


class FilterModule:
    """The filters of this plugin."""

    def filters(self):
        """Return the filters by name."""
        return {"own_file_faults": own_file_faults}
