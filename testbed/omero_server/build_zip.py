#!/usr/bin/env python3
"""Build the release of the stand-in OMERO.server, a zip of the shape of the official one.

The same checkout gives the same bytes everywhere: files in order, with fixed times and modes.
"""

import argparse
import hashlib
import io
import os
import stat
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
RELEASE = HERE / "release"
JARS = HERE / "jars"
BLITZ = HERE / "blitz"
# Where the servants go inside the release.
LIBRARY = "lib/standin"
# What of it `omero import` needs on a host without the server.
IMPORTER = (
    "etc/logback-cli.xml",
    "lib/client/README",
    "lib/client/stand-in.jar",
    f"{LIBRARY}/omero_standin/__init__.py",
    f"{LIBRARY}/omero_standin/checksums.py",
    f"{LIBRARY}/omero_standin/errors.py",
    f"{LIBRARY}/omero_standin/file_paths.py",
    f"{LIBRARY}/omero_standin/importer.py",
    f"{LIBRARY}/omero_standin/ome_xml.py",
    "tools/bin/java",
)
TIME = (2026, 1, 1, 0, 0, 0)
_UNIX = 3


def version():
    """Return the version, from the one file that names it."""
    properties = JARS / "omero-server" / "omero-server.properties"
    for line in properties.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        if name == "omero.version":
            return value.strip()
    raise ValueError(f"{properties} names no omero.version")


def top():
    """Return the name of the folder that holds everything in the zip."""
    return f"OMERO.server-{version().removesuffix('-ice36')}-ice36"


def files(base, prefix=""):
    """Return the files of a folder.

    Args:
        base: Path of the folder.
        prefix: str, what their names begin with in the result.

    Returns:
        A dict from names to bytes.
    """
    found = {}
    for path in base.rglob("*"):
        inside = path.relative_to(base)
        if path.is_file() and "__pycache__" not in inside.parts and path.suffix != ".pyc":
            found[prefix + inside.as_posix()] = path.read_bytes()
    return found


def contents():
    """Return what goes into the zip: dict of path below the top folder to bytes; a name that ends in / is a folder."""
    found = files(RELEASE) | files(BLITZ, f"{LIBRARY}/") | {"lib/scripts/": b"", "var/": b""}
    for jar in JARS.iterdir():
        file = io.BytesIO()
        write_archive(file, files(jar))
        found[f"lib/server/{jar.name}.jar"] = file.getvalue()
    return found


def mode(name):
    """Return the type and mode of a file of the release."""
    if name.endswith("/"):
        return 0o40755
    return 0o100755 if name.startswith("tools/bin/") else 0o100644


def write_importer(folder):
    """Write the importer, for hosts that have no server.

    Args:
        folder: Path; what is in it goes, if it is no part of the importer.
    """
    found = contents()
    for name in IMPORTER:
        path = folder / name
        if path.is_file() and path.read_bytes() == found[name] and path.stat().st_mode == mode(name):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: somebody else may be reading the one that is there.
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        unfinished.write_bytes(found[name])
        unfinished.chmod(stat.S_IMODE(mode(name)))
        unfinished.replace(path)
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in IMPORTER:
            path.unlink(missing_ok=True)


def write_archive(target, found, prefix=""):
    """Write files into an archive that is the same for the same files.

    Args:
        target: Path or file.
        found: dict from names to bytes.
        prefix: str, what the names begin with in the archive.
    """
    # Stored without compression: zlib's versions differ in their output.
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(found.items()):
            entry = zipfile.ZipInfo(prefix + name, TIME)
            entry.create_system = _UNIX
            entry.external_attr = mode(name) << 16
            archive.writestr(entry, data)


def write(out_dir):
    """Write the zip.

    Args:
        out_dir: Path, made if it is missing.

    Returns:
        (Path, str), the zip and its SHA-256.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    target = out_dir / f"{top()}.zip"
    # Whole or not at all: somebody else may be reading the zip that is there.
    unfinished = out_dir / f".{target.name}.{os.getpid()}"
    write_archive(unfinished, contents(), f"{top()}/")
    unfinished.replace(target)
    return target, hashlib.sha256(target.read_bytes()).hexdigest()


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="for the zip and the folder importer")
    out_dir = parser.parse_args().out_dir
    target, digest = write(out_dir)
    write_importer(out_dir / "importer")
    print(target)
    print(digest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
