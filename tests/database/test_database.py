"""The database as OMERO, and everyone who is not OMERO, sees it."""

import secrets

import pytest
from conftest import can_connect, run_with_input

testinfra_hosts = ["ansible://database"]
pytestmark = pytest.mark.unit("postgresql@15-main")

VOLUME = "/var/lib/postgresql"


@pytest.fixture
def omero(variables, reach):
    """Return the OMERO.server host that writes to the database."""
    return reach(variables["groups"]["omero_readwrite"][0])


@pytest.fixture
def ask(host):
    """Return a function that asks the server a question as its administrator."""
    return lambda sql: host.check_output(
        "runuser --user=postgres -- psql --no-psqlrc --tuples-only --no-align --command=%s", sql
    )


def test_starts_at_boot(host):
    """PostgreSQL runs, starts at boot, and refuses to start without its volume."""
    service = host.service("postgresql@15-main")
    assert service.is_running, "it does not run"
    assert service.is_enabled
    assert f"AssertPathIsMountPoint={VOLUME}" in host.check_output("systemctl cat postgresql@15-main")


def test_data_on_the_volume(host, ask):
    """The data are on the volume, with checksums."""
    directory = ask("show data_directory")
    assert directory.startswith(VOLUME + "/"), f"the data are in {directory}"
    assert host.run("mountpoint --quiet %s", VOLUME).rc == 0, f"{VOLUME} is not a mount point"
    assert ask("show data_checksums") == "on"


def test_write_and_read(omero):
    """OMERO logs in over TLS, writes a row and reads it back."""
    word = secrets.token_hex(8)
    # A temporary table: gone with the connection.
    script = f"create temporary table promise (word text); insert into promise values ('{word}'); table promise;"
    seen = run_with_input(omero, "psql --no-psqlrc --tuples-only --no-align --quiet service=omero", script)
    assert seen.stdout.strip() == word, seen.stderr.strip()
    tls = run_with_input(
        omero,
        "psql --no-psqlrc --tuples-only --no-align --quiet service=omero",
        "select ssl from pg_stat_ssl where pid = pg_backend_pid();",
    )
    assert tls.stdout.strip() == "t", "the connection is not encrypted"


def test_wrong_password(omero):
    """A wrong password is refused."""
    seen = omero.run("PGPASSWORD=wrong psql --no-psqlrc --command='select 1' service=omero")
    assert seen.rc != 0, "the server took it"
    assert "password authentication failed" in seen.stderr, seen.stderr.strip()


def test_without_tls(omero):
    """A login without TLS is refused, even with the right password."""
    seen = omero.run("PGSSLMODE=disable psql --no-psqlrc --command='select 1' 'service=omero sslmode=disable'")
    assert seen.rc != 0, "the server took it"
    assert "no pg_hba.conf entry" in seen.stderr, seen.stderr.strip()


def test_other_user(omero):
    """The administrator's account is not to be had over the network."""
    service = "service=omero user=postgres dbname=postgres"
    seen = omero.run("PGPASSWORD=wrong psql --no-psqlrc --command='select 1' %s", service)
    assert seen.rc != 0, "the server took it"
    assert "no pg_hba.conf entry" in seen.stderr, seen.stderr.strip()


def test_other_database(omero):
    """OMERO's account gets to OMERO's database and to no other."""
    seen = omero.run("psql --no-psqlrc --command='select 1' 'service=omero dbname=postgres'")
    assert seen.rc != 0, "the server took it"
    assert "no pg_hba.conf entry" in seen.stderr, seen.stderr.strip()


def test_other_hosts(variables, outsiders, reach):
    """Hosts that the group model does not name do not reach the database."""
    service = variables["network_services"]["postgresql"]
    names = [name for name in outsiders(*service["clients"]) if name != variables["inventory_hostname"]]
    assert names, "no other host to try from"
    for name in names:
        assert not can_connect(reach(name), variables["internal_address"], service["port"], 1), f"{name} reached it"


def test_refused_by_the_server_too(host, variables):
    """A host that gets past the firewall is still refused: the database's own host is none of its clients."""
    if variables["inventory_hostname"] in variables["groups"]["omero"]:
        pytest.skip("this host is an OMERO host too")
    seen = run_with_input(
        host,
        "PGPASSWORD=$(cat) psql --no-psqlrc --command='select 1' "
        f"'host={variables['internal_address']} dbname={variables['database_name']} user={variables['database_user']}'",
        variables["database_password"],
    )
    assert seen.returncode != 0, "the server took it"
    assert "no pg_hba.conf entry" in seen.stderr, seen.stderr.strip()


def test_passwords_are_kept_as_scram(ask):
    """Every password is kept as a SCRAM verifier."""
    kept = "rolpassword is not null and rolpassword not like 'SCRAM-SHA-256$%'"
    others = ask(f"select rolname from pg_authid where {kept}")
    assert others == "", f"not so for {others}"


def test_least_privilege(ask, variables):
    """OMERO's user is no superuser and can make neither databases nor users; others have no right in its database."""
    user = variables["database_user"]
    rights = "rolsuper or rolcreatedb or rolcreaterole or rolreplication"
    flags = ask(f"select {rights} from pg_roles where rolname = '{user}'")
    assert flags == "f"
    public = ask(f"select has_database_privilege('public', '{variables['database_name']}', 'connect')")
    assert public == "f", "everyone may connect"


def test_password_file(omero):
    """The password lies in a file that root alone can read."""
    file = omero.file("/etc/vitrine/database.pgpass")
    assert (file.user, file.mode) == ("root", 0o600)
