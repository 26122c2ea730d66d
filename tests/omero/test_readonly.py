"""The OMERO.servers that only read, where the site has some."""

import secrets

import pytest
from conftest import run_omero

testinfra_hosts = ["ansible://omero_readonly"]
pytestmark = pytest.mark.unit("omero-server")

# What a client asks first when it imports a file: the server notes it, and makes a place for it.
IMPORT = """
def filesets():
    return connection.getQueryService().projection("select count(f.id) from Fileset f", None)[0][0].val
def begin():
    proxies = [each for each in connection.c.sf.sharedResources().repositories().proxies if each is not None]
    managed = [omero.grid.ManagedRepositoryPrx.checkedCast(each) for each in proxies]
    (repository,) = [each for each in managed if each is not None]
    entry = omero.model.FilesetEntryI()
    entry.clientPath = omero.rtypes.rstring("promise.tif")
    fileset = omero.model.FilesetI()
    fileset.addFilesetEntry(entry)
    fileset.linkJob(omero.model.UploadJobI())
    settings = omero.grid.ImportSettings(userSpecifiedAnnotationList=[])
    settings.checksumAlgorithm = omero.model.ChecksumAlgorithmI()
    settings.checksumAlgorithm.value = omero.rtypes.rstring("SHA1-160")
    return lambda: repository.importFileset(fileset, settings)
before = filesets()
result = {"refused": refused(begin()), "made": filesets() - before}
"""
# What would be deleted is nowhere, and an answer would say so.
DELETE = """
import time
def answered(**more):
    handle = connection.c.sf.submit(omero.cmd.Delete2(targetObjects={"Image": [999999999]}, **more))
    end = time.monotonic() + 5
    while handle.getResponse() is None and time.monotonic() < end:
        time.sleep(0.2)
    return handle.getResponse() is not None
result = {"dry run": answered(dryRun=True), "delete": answered()}
"""

# Two sessions: one at the server that writes keeps its table open, the other at this server reads the table.
TABLE = """
import time
writing = BlitzGateway(user, password, host=given["writer"], port=port, secure=True)
if not writing.connect():
    sys.exit("cannot log in")
for each in (connection, writing):
    each.setGroupNameForSession(given["group"])
resources = writing.c.sf.sharedResources()
table = resources.newTable(1, "gate.h5")
file = table.getOriginalFile().id.val
try:
    table.initialize([omero.grid.LongColumn("number", "", [])])
    table.addData([omero.grid.LongColumn("number", "", [1, 2, 3])])
    # The files travel over NFS, whose clients look for news every few seconds.
    end = time.monotonic() + 20
    while True:
        try:
            read = connection.c.sf.sharedResources().openTable(omero.model.OriginalFileI(file, False))
            try:
                result = read.read([0], 0, read.getNumberOfRows()).columns[0].values
            finally:
                read.close()
            break
        except Exception as error:
            result = f"{type(error).__name__}: {getattr(error, 'message', error)}"
            if time.monotonic() > end:
                break
            time.sleep(1)
finally:
    table.close()
    writing.deleteObjects("OriginalFile", [file], wait=True)
    writing.close()
"""


@pytest.fixture
def omero(omero_client, variables):
    """Return a function that runs an omero command (str) as the curator at a server (str, this host's by default)."""
    port = variables["network_services"]["omero"]["port"]
    user, password = variables["omero_curator_user"], variables["omero_curator_password"]

    def run(command, server=variables["inventory_hostname"]):
        return run_omero(omero_client, f"{server}:{port}", user, password, command)

    return run


def test_reads(omero):
    """Whoever logs in reads what the database has."""
    seen = omero("hql --quiet --style plain 'select g.name from ExperimenterGroup g where g.id = 0'")
    assert "0,system" in seen.stdout, seen.stdout + seen.stderr


def test_writes_are_refused(omero):
    """Who may write at the server that writes may not here, and nothing is written."""
    name = f"promise-{secrets.token_hex(8)}"
    seen = omero(f"obj new Project name={name}")
    assert seen.returncode != 0, f"it took it: {seen.stdout}"
    assert "This instance is read-only" in seen.stdout + seen.stderr, seen.stdout + seen.stderr
    found = omero(f"hql --quiet --style plain \"select p.id from Project p where p.name = '{name}'\"")
    assert found.returncode == 0, found.stderr
    assert name not in found.stdout


def test_imports_are_refused(script, variables):
    """Who may import at the server that writes may not here, and no file is noted."""
    seen = script("curator", IMPORT, server=variables["inventory_hostname"])
    assert seen["refused"] == "ApiUsageException", seen["refused"] or "it took it"
    assert seen["made"] == 0


def test_tables(script, variables):
    """A table of the server that writes is read here while it is open there."""
    given = {"group": variables["omero_gate_group"], "writer": variables["groups"]["omero_readwrite"][0]}
    assert script("curator", TABLE, given, server=variables["inventory_hostname"]) == [1, 2, 3]


def test_deletions_are_never_answered(script, variables):
    """Who asks to delete something waits in vain; what would be deleted is still told."""
    seen = script("curator", DELETE, server=variables["inventory_hostname"])
    assert seen == {"dry run": True, "delete": False}


def test_database_user(variables, reach):
    """The server is known to the database as the user who reads."""
    database = reach(variables["groups"]["database"][0])
    query = f"select distinct usename from pg_stat_activity where client_addr = '{variables['internal_address']}'"
    command = "runuser --user=postgres -- psql --no-psqlrc --tuples-only --no-align --command=%s"
    assert database.check_output(command, query).split() == [variables["database_readonly_user"]]


def test_repository(host, variables):
    """The repository is mounted read-only: not even root writes there."""
    repository = variables["omero_server_data_dir"]
    assert "ro" in host.mount_point(repository).options
    assert "Read-only file system" in host.run(f"touch {repository}/promise").stderr
