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
    # Among the others; those that the server does not have are null.
    proxies = filter(None, connection.c.sf.sharedResources().repositories().proxies)
    repository = next(filter(None, map(omero.grid.ManagedRepositoryPrx.checkedCast, proxies)))
    entry = omero.model.FilesetEntryI()
    entry.clientPath = omero.rtypes.rstring("promise.tif")
    fileset = omero.model.FilesetI()
    fileset.addFilesetEntry(entry)
    settings = omero.grid.ImportSettings(userSpecifiedAnnotationList=[])
    settings.checksumAlgorithm = omero.model.ChecksumAlgorithmI()
    settings.checksumAlgorithm.value = omero.rtypes.rstring("SHA1-160")
    return lambda: repository.importFileset(fileset, settings)
before = filesets()
result = {"refused": refused(begin()), "made": filesets() - before}
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
    assert "read-only" in seen.stdout + seen.stderr, seen.stdout + seen.stderr
    found = omero(f"hql --quiet --style plain \"select p.id from Project p where p.name = '{name}'\"")
    assert found.returncode == 0, found.stderr
    assert name not in found.stdout


def test_imports_are_refused(script, variables):
    """Who may import at the server that writes may not here, and no file is noted."""
    seen = script("curator", IMPORT, server=variables["inventory_hostname"])
    assert seen["refused"], "it took it"
    assert seen["made"] == 0


def test_database_user(variables, reach):
    """The server is known to the database as the user who reads."""
    database = reach(variables["groups"]["database"][0])
    query = f"select distinct usename from pg_stat_activity where client_addr = '{variables['internal_address']}'"
    command = "runuser --user=postgres -- psql --no-psqlrc --tuples-only --no-align --command=%s"
    assert database.check_output(command, query).split() == [variables["database_readonly_user"]]


def test_repository(host, variables):
    """The repository is mounted read-only: not even root writes there."""
    repository = variables.get("omero_server_data_dir", "/srv/omero")
    assert "ro" in host.mount_point(repository).options
    assert "Read-only file system" in host.run(f"touch {repository}/promise").stderr
