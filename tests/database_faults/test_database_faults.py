"""What happens to the database when something breaks. Breaks it: for scenarios, never for a site in use.

Every check ends with the same question: is anything lost that the server had said it has?
"""

import contextlib
import threading
import time
from types import SimpleNamespace

import pytest
from conftest import names_of, run_with_input
from faults import check_refuses, journal, wait_until, wrong_volumes

testinfra_hosts = ["ansible://database"]
pytestmark = pytest.mark.unit("postgresql*")

VOLUME = "/var/lib/postgresql"
PSQL = "psql --no-psqlrc --tuples-only --no-align --quiet --set=ON_ERROR_STOP=1 service=omero"


@pytest.fixture
def unit(host, variables):
    """Return the name of the server's unit."""
    version = variables["database_version"]
    return names_of(host, "postgresql", postgresql_version=version, postgresql_data_dir=VOLUME)["service"]


@pytest.fixture
def omero(variables, reach):
    """Return the OMERO.server host that writes to the database."""
    return reach(variables["groups"]["omero_readwrite"][0])


@pytest.fixture
def sql(omero):
    """Return a function that runs SQL as OMERO; its result has returncode, stdout and stderr."""
    return lambda text: run_with_input(omero, PSQL, text)


@pytest.fixture
def writer(sql):
    """Return a context that writes rows all the while; its result's `said` is then what the server said it has."""
    made = sql("drop table if exists faults; create table faults (id bigint, text text);")
    assert made.returncode == 0, made.stderr

    @contextlib.contextmanager
    def write(begin, rows, columns="''"):
        text = "".join(f"insert into faults select {n}, {columns} returning id;\n" for n in range(begin, begin + rows))
        result = SimpleNamespace(said=set(), run=None)

        def work():
            result.run = sql(text)
            result.said = {int(line) for line in result.run.stdout.split()}

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield result
        finally:
            thread.join()

    yield write
    dropped = sql("drop table faults;")
    assert dropped.returncode == 0, dropped.stderr


def lost(sql, said):
    """Return which of the rows that the server said it has are not there."""
    seen = sql("select id from faults;")
    assert seen.returncode == 0, seen.stderr
    return said - {int(line) for line in seen.stdout.split()}


def answers(sql):
    """Return a function that tells whether the server answers."""
    return lambda: sql("select 1;").returncode == 0


def test_lifted_limit(omero, variables):
    """A statement of the read-only user ends even if the user has lifted its own limit."""
    user, password = variables["database_readonly_user"], variables["database_readonly_password"]
    limit = variables["postgresql_readonly_timeout"]
    command = f"read -r PGPASSWORD; export PGPASSWORD; exec timeout 110 {PSQL.replace('service=omero', '')}"
    sleep = f"set statement_timeout = 0; select pg_sleep({limit + 600});"
    seen = run_with_input(omero, f"{command} 'service=omero user={user}'", f"{password}\n{sleep}\n")
    assert "terminating connection due to administrator command" in seen.stderr, seen.stderr.strip() or "it went on"


def test_killed(host, unit, sql, writer):
    """A server killed in the middle of writing starts again by itself, and has every row that it said it has."""
    with writer(0, 200_000) as result:
        time.sleep(3)
        host.check_output("kill -KILL $(systemctl show --property=MainPID --value %s)", unit)
    assert 0 < len(result.said) < 200_000, f"{len(result.said)} rows: it was not killed while it wrote"
    wait_until(answers(sql), "the server did not start again by itself")
    assert not lost(sql, result.said)
    assert host.check_output("systemctl show --property=NRestarts --value %s", unit) != "0"


def test_rebooted(reboot, sql, writer):
    """After a reboot of the host the database is there again by itself, with all its rows."""
    with writer(0, 100) as result:
        pass
    reboot()
    wait_until(answers(sql), "the database did not come back")
    assert len(result.said) == 100
    assert not lost(sql, result.said)


@pytest.mark.parametrize("what", wrong_volumes(VOLUME))
def test_wrong_volume(host, unit, machine, sql, writer, what):
    """With its volume {what} the server does not start and says why; when that is mended it starts by itself."""
    with writer(0, 100) as result:
        pass
    check_refuses(host, machine, unit, VOLUME, what)
    wait_until(answers(sql), "the server did not start by itself")
    assert len(result.said) == 100
    assert not lost(sql, result.said)


@pytest.fixture
def small_volume(host, unit, machine):
    """Put the server's data on a small volume for the time of a check."""
    host.check_output("systemctl stop %s", unit)
    machine(
        f"mkdir -p /mnt/small; size=$(( $(du -sm {VOLUME} | cut -f1) + 150 ));"
        f" mount -t tmpfs -o size=${{size}}m tmpfs /mnt/small; cp -a {VOLUME}/. /mnt/small;"
        f" mount --bind /mnt/small {VOLUME}"
    )
    host.check_output("systemctl start %s", unit)
    yield
    host.check_output("systemctl stop %s", unit)
    machine(f"umount {VOLUME}; umount /mnt/small; rmdir /mnt/small")
    host.check_output("systemctl start %s", unit)


@pytest.mark.usefixtures("small_volume")
def test_disk_full(host, unit, machine, sql, writer):
    """On a full disk nothing that was said is lost, the log says why, and when space is freed all goes on by itself."""
    begun = time.time()
    machine(f"fallocate -l $(( $(df -B1 --output=avail {VOLUME} | tail -1) - 12000000 )) {VOLUME}/ballast")
    # A thousand times 32 kB that cannot be compressed.
    noise = "(select string_agg(md5(random()::text), '') from generate_series(1, 1000))"
    with writer(0, 1000, noise) as result:
        pass
    assert result.run.returncode != 0, "the disk was not filled"
    # Which of the two depends on whether a block fitted in half.
    log = host.check_output("cat /var/log/postgresql/*.log")
    assert "No space left on device" in log or "Check free disk space" in log, "the log does not say why"
    host.run("systemctl restart %s", unit)
    said = journal(host, unit, begun)
    assert "full, the limit is 95 %" in said, said
    machine(f"rm {VOLUME}/ballast")
    wait_until(answers(sql), "the server did not start by itself")
    assert result.said, "not a single row was written"
    assert not lost(sql, result.said)
    again = sql("insert into faults values (-1, ''); select count(*) from faults where id = -1;")
    assert again.stdout.strip() == "1", again.stderr
