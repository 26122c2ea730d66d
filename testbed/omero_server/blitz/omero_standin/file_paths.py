"""Names of files as OMERO takes them over: what a path at the client becomes in the repository.

No part of this needs Ice.
"""

# The rules that the real server has by default, `Windows required` and `UNIX required` of omero.fs.repo.path_rules.
_REPLACED = dict.fromkeys(range(0x20), "_") | {
    ord(unsafe): safe for unsafe, safe in zip('"*/:<>?\\|', "'x!;[]%!!", strict=True)
}
_NUMBERED = [f"{name}{number}" for name in ("COM", "LPT") for number in range(1, 10)]
_NAMES = ["AUX", "CLOCK$", "CON", "NUL", "PRN", *_NUMBERED]


def sanitized(component):
    """Return a part of a path (str) with what no system may have in a name replaced; `..` stays what it is."""
    upper = component.upper()
    if upper in _NAMES:
        component = f"{component}_"
    if upper.startswith(("$", *(f"{name}." for name in _NAMES))):
        component = f"_{component}"
    return component.translate(_REPLACED)


def client_path(path):
    """Return the form in which OMERO notes where a file (Path or str, absolute) came from."""
    return "/".join(sanitized(each) for each in str(path).split("/") if each)


def place(folder, path):
    """Return where a file of an import goes.

    Args:
        folder: list of str, the parts of the import's own folder in the repository.
        path: str, where the file was at the client.

    Returns:
        list of str, the parts of its place in the repository: nothing leads out of that, though `..` leads out of
        the folder. Such an import begins, and its file cannot be written.

    Raises:
        ValueError: the path has no name.
    """
    parts = [sanitized(each) for each in path.split("/") if each]
    if not parts:
        raise ValueError(f"{path!r} is no name of a file")
    if parts[-1] == ".":
        return list(folder)
    return folder[:-1] if parts[-1] == ".." else [*folder, parts[-1]]
