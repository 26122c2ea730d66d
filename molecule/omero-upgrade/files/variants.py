"""Make releases from the stand-in's, of other versions, some of them broken on purpose."""

import hashlib
import json
import sys
import zipfile
from pathlib import Path

SCHEMA = "sql/psql/OMERO5.4__0/"
UPGRADE = """begin;
insert into dbpatch (currentversion, currentpatch, previousversion, previouspatch, finished, message)
    values ('OMERO5.5', 0, 'OMERO5.4', 0, now(), 'Upgraded for a test.');
{more}
commit;
"""


def rewrite(source, folder, version, change):
    """Write a release of another version.

    Args:
        source: Path of the stand-in's zip.
        folder: Path of the folder for the new one.
        version: str, such as 5.6.19.
        change: function that changes the dict from paths within the release to bytes.

    Returns:
        A dict with zip (path) and sha256.
    """
    name = f"OMERO.server-{version}-demo-ice36"
    with zipfile.ZipFile(source) as archive:
        entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
        contents = {path: archive.read(entry) for path, entry in entries.items()}
    properties = contents["etc/omero.properties"]
    contents["etc/omero.properties"] = properties.replace(b"=5.6.18-demo", f"={version}-demo".encode())
    if contents["etc/omero.properties"] == properties:
        sys.exit("the stand-in has another version")
    change(contents)
    target = folder / f"{name}.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for path, data in contents.items():
            entry = zipfile.ZipInfo(f"{name}/{path}", (2026, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = entries[path].external_attr if path in entries else 0o100644 << 16
            archive.writestr(entry, data)
    return {"zip": str(target), "sha256": hashlib.sha256(target.read_bytes()).hexdigest()}


def nothing(contents):
    """Leave the release as it is."""


def broken(contents):
    """Let the server end as soon as it is started."""
    contents["lib/standin/omero_standin/server.py"] = b"raise SystemExit('broken on purpose')\n"


def schema(more=""):
    """Return a change to a release of the next schema, whose upgrade has a further statement (str)."""

    def change(contents):
        properties = contents["etc/omero.properties"]
        contents["etc/omero.properties"] = properties.replace(
            b"omero.db.version=OMERO5.4", b"omero.db.version=OMERO5.5"
        )
        for path in [path for path in contents if path.startswith(SCHEMA)]:
            contents[path.replace("OMERO5.4__0", "OMERO5.5__0")] = contents.pop(path)
        contents["sql/psql/OMERO5.5__0/OMERO5.4__0.sql"] = UPGRADE.format(more=more).encode()

    return change


def main(source, folder):
    """Write all of them and print what they are."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    variants = {
        "newer": ("5.6.19", nothing),
        "broken": ("5.6.20", broken),
        "failing_upgrade": ("5.7.0", schema("select 1 / 0;")),
        "upgrade": ("5.7.1", schema("create table of_the_next_schema (id bigint primary key);")),
    }
    print(json.dumps({name: rewrite(Path(source), folder, *rest) for name, rest in variants.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
