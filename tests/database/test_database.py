"""The database as OMERO, and everyone who is not OMERO, sees it."""

import secrets

import pytest
from conftest import check_mounts, check_unit, names_of, run_with_input

testinfra_hosts = ["ansible://database"]
pytestmark = pytest.mark.unit("postgresql*")

PSQL = "psql --no-psqlrc --tuples-only --no-align --quiet --set=ON_ERROR_STOP=1"


@pytest.fixture
def omero(variables, reach):
    """Return the OMERO.server host that writes to the database."""
    return reach(variables["groups"]["omero_readwrite"][0])


@pytest.fixture
def ask(host):
    """Return a function that asks the server a question as its administrator."""
    return lambda sql, database="postgres": host.check_output(
        f"runuser --user=postgres -- {PSQL} --dbname=%s --command=%s", database, sql
    )


@pytest.fixture
def read(omero, variables):
    """Return a function that runs SQL from the OMERO host as the user of read-only servers."""
    user, password = variables["database_readonly_user"], variables["database_readonly_password"]
    command = f"read -r PGPASSWORD; export PGPASSWORD; exec {PSQL} 'service=omero user={user}'"
    return lambda sql: run_with_input(omero, command, f"{password}\n{sql}\n")


def test_starts_at_boot(host, variables):
    """PostgreSQL runs with the site's limits, starts at boot, and starts on nothing but its own volume."""
    folder = variables["postgresql_data_dir"]
    names = names_of(host, "postgresql", postgresql_version=variables["database_version"], postgresql_data_dir=folder)
    unit = names["service"]
    service = host.service(unit)
    assert service.is_running, "it does not run"
    assert service.is_enabled
    check_mounts(host, unit)
    check_unit(host, unit, variables["postgresql_service_settings"])


def test_data_on_the_volume(ask, variables):
    """The data are on the volume, with checksums."""
    directory = ask("show data_directory")
    assert directory.startswith(variables["postgresql_data_dir"] + "/"), f"the data are in {directory}"
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


def test_client_without_a_certificate(omero):
    """A host that does not show its certificate is refused, even with the right password."""
    seen = omero.run("psql --no-psqlrc --command='select 1' 'service=omero sslcert=/none sslkey=/none'")
    assert seen.rc != 0, "the server took it"
    assert "requires a valid client certificate" in seen.stderr, seen.stderr.strip()


def test_client_with_another_certificate(omero):
    """A host with a certificate that the server does not know is refused, even with the right password."""
    make = (
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=$(hostname) -days 1 -keyout $d/key -out $d/pem 2>/dev/null"
    )
    connect = "psql --no-psqlrc --command='select 1' \"service=omero sslcert=$d/pem sslkey=$d/key\""
    seen = omero.run(f"d=$(mktemp --directory) && {make} && {connect}; state=$?; rm --recursive $d; exit $state")
    assert seen.rc != 0, "the server took it"
    assert "unknown ca" in seen.stderr, seen.stderr.strip()


def test_another_server(omero, variables):
    """OMERO's hosts talk to no server but the one whose certificate they know."""
    own = f"{variables['database_client_dir']}/client.pem"
    seen = omero.run("psql --no-psqlrc --command='select 1' %s", f"service=omero sslrootcert={own}")
    assert seen.rc != 0, "the host would have sent its password"
    assert "certificate verify failed" in seen.stderr, seen.stderr.strip()


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


def test_other_hosts(variables, outside):
    """Hosts that the group model does not name do not reach the database."""
    port = variables["network_services"]["postgresql"]["port"]
    for other in outside(port):
        assert not other.reaches(port), f"{other.name} reached it"


def test_refused_by_the_server_too(host, variables):
    """A connection that gets past the firewall is still refused: OMERO's user may connect only from OMERO's hosts."""
    # The loopback is not a client's address. The database's own is, if OMERO.server runs on the same host.
    shared = variables["inventory_hostname"] in variables["groups"]["omero"]
    address = "127.0.0.1" if shared else variables["internal_address"]
    seen = run_with_input(
        host,
        "PGPASSWORD=$(cat) psql --no-psqlrc --command='select 1' "
        f"'host={address} port={variables['network_services']['postgresql']['port']} "
        f"dbname={variables['database_name']} user={variables['database_user']}'",
        variables["database_password"],
    )
    assert seen.returncode != 0, "the server took it"
    assert "no pg_hba.conf entry" in seen.stderr, seen.stderr.strip()


def test_passwords_are_kept_as_scram(ask):
    """Every password is kept as a SCRAM verifier."""
    kept = "rolpassword is not null and rolpassword not like 'SCRAM-SHA-256$%'"
    others = ask(f"select rolname from pg_authid where {kept}")
    assert others == "", f"not so for {others}"


def test_no_password_in_the_statistics(ask, variables):
    """What the monitoring user reads of statements has no password: the server was sent verifiers."""
    pattern = r"\mpassword\M\s+'(?!SCRAM-SHA-256\$)"
    seen = ask(
        f"select count(*) from pg_stat_statements where query ~* $pattern${pattern}$pattern$",
        variables["database_name"],
    )
    assert seen == "0", f"{seen} statements have one"


def test_no_password_in_files(host, ask, variables):
    """Neither the server's log nor its files with statistics have a password of the database."""
    names = ("database_password", "database_readonly_password", "database_monitor_password")
    folder = ask("show data_directory")
    places = f"/var/log/postgresql {folder}/log {folder}/pg_stat {folder}/pg_stat_tmp"
    # Names of files alone: what is found is a secret.
    command = f"grep --recursive --no-messages --files-with-matches --fixed-strings --file=- {places}"
    seen = run_with_input(host, command, "\n".join(variables[name] for name in names))
    assert seen.stdout == "", f"in {seen.stdout.split()}"


def test_least_privilege(ask, variables):
    """OMERO's user is no superuser and can make neither databases nor users; others have no right in its database."""
    user = variables["database_user"]
    rights = "rolsuper or rolcreatedb or rolcreaterole or rolreplication"
    flags = ask(f"select {rights} from pg_roles where rolname = '{user}'")
    assert flags == "f"
    public = ask(f"select has_database_privilege('public', '{variables['database_name']}', 'connect')")
    assert public == "f", "everyone may connect"


def test_nobody_uninvited(ask):
    """Those who are not named have no right in any database but to the templates."""
    open_to_all = ask(
        "select datname from pg_database where not datistemplate and has_database_privilege('public', oid, 'connect')"
    )
    assert open_to_all == "", f"open to everyone: {open_to_all}"


@pytest.mark.parametrize("name", ["client.key", "pgpass"])
def test_secret_files(omero, variables, name):
    """{name}, for the connection to the database, can be read by root alone."""
    file = omero.file(f"{variables['database_client_dir']}/{name}")
    assert (file.user, file.mode) == ("root", 0o600)


def test_reader_reads(read, variables):
    """The read-only user logs in and reads every table that there is."""
    readable = "has_table_privilege(format('%I.%I', schemaname, tablename), 'select')"
    seen = read(f"select current_user; select tablename from pg_tables where schemaname = 'public' and not {readable};")
    assert seen.returncode == 0, seen.stderr.strip()
    assert seen.stdout.split() == [variables["database_readonly_user"]], "it cannot read some tables"


def test_reader_will_read(ask, variables):
    """A table that an upgrade of OMERO adds can be read by the read-only user at once, and not be written."""
    reader = variables["database_readonly_user"]
    rights = [f"has_table_privilege('{reader}', 'promise', '{right}')" for right in ("select", "insert", "truncate")]
    make = f"set local role {variables['database_user']}; create table promise (word text)"
    # Rolled back: the table never is there for anyone else.
    seen = ask(f"begin; {make}; select {', '.join(rights)}; rollback", variables["database_name"])
    assert seen == "t|f|f", f"select, insert, truncate: {seen}"


@pytest.mark.parametrize(
    "statement",
    [
        "create table promise (word text)",
        "create schema promise",
        "create role promise",
        "drop owned by the owner",
        "select lo_create(0)",
        "select lo_creat(-1)",
        "select lo_from_bytea(0, 'promise')",
    ],
)
def test_reader_does_not_write(read, variables, statement):
    """The read-only user cannot: {statement}."""
    statement = statement.replace("the owner", f'"{variables["database_user"]}"')
    seen = read(f"begin; {statement}; rollback;")
    assert seen.returncode != 0, "the server did it"
    assert "permission denied" in seen.stderr or "must be" in seen.stderr, seen.stderr.strip()


def test_reader_computes(read, variables):
    """The read-only user may use temporary tables, as OMERO does, and its statements end at the site's time limit."""
    timeout = "select setting::int / 1000 from pg_settings where name = 'statement_timeout'"
    seen = read(f"create temporary table promise as select 1; {timeout};")
    assert seen.returncode == 0, seen.stderr.strip()
    assert seen.stdout.strip() == str(variables["postgresql_readonly_timeout"])


def test_time_limit(host, variables):
    """A timer ends statements of the read-only user that go on longer, since the user may lift its own limit."""
    if not variables["postgresql_readonly_timeout"]:
        pytest.skip("the site sets no limit (postgresql_readonly_timeout)")
    timer = host.service("vitrine-database-limit.timer")
    assert timer.is_running
    assert timer.is_enabled
    seen = host.run("systemctl start vitrine-database-limit.service")
    assert seen.rc == 0, seen.stderr.strip()


def test_monitor(host, omero, variables):
    """The monitoring user reads the statistics on the database's host, and does not get in from elsewhere."""
    user, password = variables["database_monitor_user"], variables["database_monitor_password"]
    where = (
        f"port={variables['network_services']['postgresql']['port']} dbname={variables['database_name']} user={user}"
    )
    ask = f"read -r PGPASSWORD; export PGPASSWORD; exec {PSQL} --command=%s '{where} host=%s'"
    count = "'select count(*) > 0 from pg_stat_statements where query is not null'"
    seen = run_with_input(host, ask % (count, "127.0.0.1"), password + "\n")
    assert seen.stdout.strip() == "t", seen.stderr.strip()
    seen = run_with_input(omero, ask % ("'select 1'", variables["database_endpoint"]), password + "\n")
    assert seen.returncode != 0, "the server let it in"
    assert "no pg_hba.conf entry" in seen.stderr, seen.stderr.strip()


def test_settings_are_in_force(ask):
    """No setting waits for a restart, and none was refused."""
    assert ask("select name from pg_settings where pending_restart") == ""
    assert ask("select name, error from pg_file_settings where error is not null") == ""
    assert ask("select line_number, error from pg_hba_file_rules where error is not null") == ""


def test_connections(ask, variables):
    """There are connections enough for every OMERO.server's pool, and one is left for the operator."""
    clients = variables["postgresql_clients"] + variables["postgresql_clients_extra"]
    free = int(
        ask("select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int")
    )
    assert free > len(clients) * variables["database_poolsize"], f"{free} for {len(clients)} clients"


def test_memory(host, ask):
    """The shared buffers are no more than a third of the host's memory."""
    shared = int(ask("select setting::bigint * 8 from pg_settings where name = 'shared_buffers'"))
    total = int(host.check_output("awk '/^MemTotal:/ {print $2}' /proc/meminfo"))
    assert shared * 3 <= total, f"{shared} kB of {total} kB"


def test_slow_queries(host, ask, variables):
    """A statement that takes longer than postgresql_slow_query is logged."""
    limit = variables["postgresql_slow_query"] / 1000
    if not 0 <= limit <= 20:
        pytest.skip("postgresql_slow_query turns the log off, or is longer than a gate should wait")
    word = f"promise{secrets.token_hex(8)}"
    ask(f"select pg_sleep({limit + 0.1}) as {word}")
    # Below the data where the server writes it itself, else where Debian's tools have it.
    log = ask("select current_setting('data_directory') || '/' || pg_current_logfile()") or "/var/log/postgresql"
    seen = host.run("grep --recursive --count --no-filename %s %s", word, log)
    assert seen.rc == 0, f"nothing of it below {log}"
