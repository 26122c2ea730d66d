"""OMERO.tables: written by scripts of users, read by others, and lost with their process. Writes: for scenarios."""

import pytest
from faults import wait_until

testinfra_hosts = ["ansible://omero_readwrite"]
pytestmark = pytest.mark.unit("omero-server")

# It waits ten seconds before it begins.
SECONDS = 120

COLUMNS = """
resources = connection.c.sf.sharedResources()
def columns(images, scores, names):
    long, double, string = omero.grid.LongColumn, omero.grid.DoubleColumn, omero.grid.StringColumn
    return [long("Image", "", images), double("Score", "", scores), string("Name", "", 16, names)]
def opened(file):
    return resources.openTable(omero.model.OriginalFileI(file, False))
"""
WRITE = """
table = resources.newTable(1, "/vitrine/scores.h5")
table.initialize(columns([], [], []))
table.addData(columns([1, 2, 3], [0.5, 1.5, 2.5], ["one", "two", "drei"]))
table.setMetadata("unit", omero.rtypes.rstring("none"))
file = table.getOriginalFile().id.val
table.close()
stored = connection.getObject("OriginalFile", file)
result = {"file": file, "mimetype": stored.mimetype, "size": stored.size, "sha1": stored.hash}
"""
READ = """
table = opened(given["file"])
rows = table.getWhereList("Score > 1", None, 0, table.getNumberOfRows(), 1)
data = table.slice([0, 2], rows)
result = {
    "headers": [type(each).__name__ for each in table.getHeaders()],
    "rows": rows,
    "values": [column.values for column in data.columns],
    "unit": table.getMetadata("unit").val,
}
table.close()
"""
REFUSED = """
table = opened(given["file"])
result = {
    "data": refused(lambda: table.addData(columns([4], [3.5], ["four"]))),
    "metadata": refused(lambda: table.setMetadata("unit", omero.rtypes.rstring("m"))),
    "delete": refused(lambda: table.delete()),
    "condition": refused(lambda: table.getWhereList("Score >", None, 0, 3, 1)),
    "closed": (table.close(), refused(lambda: table.getNumberOfRows()))[1],
    "none": refused(lambda: opened(10 ** 9)),
    "null": refused(lambda: resources.openTable(None)),
}
"""
# A file of an import is in another repository than tables.
IMPORTED = """
files = "select e.originalFile.id from FilesetEntry e order by e.id desc"
[[file], *_] = connection.getQueryService().projection(files, None)
result = {"refused": refused(lambda: opened(file.val))}
"""
LEAVE = """
table = opened(given["file"])
table.addData(columns([4], [3.5], ["four"]))
result = {}
"""
COUNT = """
table = opened(given["file"])
result = {"rows": table.getNumberOfRows(), "sha1": connection.getObject("OriginalFile", given["file"]).hash}
table.close()
"""
DELETE = """
opened(given["file"]).delete()
result = {"left": connection.getObject("OriginalFile", given["file"]) is not None}
"""
ENABLED = "result = connection.c.sf.sharedResources().areTablesEnabled()"


@pytest.fixture
def tables(script):
    """Return a function that runs a script as a user with what it is given, once OMERO.tables is there."""
    wait_until(lambda: script("curator", ENABLED), "OMERO.tables did not start with its host", SECONDS)
    return lambda who, body, given=None: script(who, COLUMNS + body, given)


def test_tables(host, tables, variables):
    """A table that a curator's script writes is read by a visitor, who cannot change it; deleted, its file is gone."""
    made = tables("curator", WRITE)
    file = host.file(f"{variables['omero_server_data_dir']}/Files/{made['file']}")
    assert made["mimetype"] == "OMERO.tables"
    assert made["size"] == file.size
    assert made["sha1"] == host.check_output("sha1sum %s", file.path).split()[0]
    for who in ("curator", "public"):
        assert tables(who, READ, made) == {
            "headers": ["LongColumn", "DoubleColumn", "StringColumn"],
            "rows": [1, 2],
            "values": [[2, 3], ["two", "drei"]],
            "unit": "none",
        }
    assert tables("public", REFUSED, made) == {
        "data": "SecurityViolation",
        "metadata": "SecurityViolation",
        "delete": "SecurityViolation",
        "condition": "ApiUsageException",
        "closed": "ObjectNotExistException",
        "none": "ValidationException",
        "null": "ValidationException",
    }
    tables("curator", LEAVE, made)
    # Its session closed the table that it left open, and noted what was written.
    assert tables("public", COUNT, made) == {"rows": 4, "sha1": host.check_output("sha1sum %s", file.path).split()[0]}
    assert tables("curator", DELETE, made) == {"left": False}
    assert not file.exists


def test_files_of_imports_are_no_tables(tables, omero_import, put):
    """Nobody opens the file of an import as a table, which would write into it."""
    done = omero_import("Dataset:name:promise", put("table.fake", b"&sizeX=8&sizeY=8"))
    assert done.returncode == 0, done.stderr
    assert tables("curator", IMPORTED) == {"refused": "InternalException"}


def test_killed(host, script, tables):
    """OMERO.tables that was killed starts again by itself, and what was written is there."""
    made = tables("curator", WRITE)
    # [r]: else the pattern would find the shell that looks for it.
    find = "pgrep --full -- [r]unTables"
    before = host.check_output(find)
    host.check_output("kill -KILL %s", before)
    wait_until(lambda: host.run(find).stdout.strip() not in ("", before), "it did not start again by itself", SECONDS)
    wait_until(lambda: script("curator", ENABLED), "it did not start again by itself", SECONDS)
    assert tables("public", READ, made)["rows"] == [1, 2]
    assert tables("curator", DELETE, made) == {"left": False}
