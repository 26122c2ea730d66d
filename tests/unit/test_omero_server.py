"""Role omero_server: the settings that it gives the release, and what its start program says of a start that fails."""

import importlib.util
import threading
import types

import pytest
from ansible.template import Templar

from vitrine_cli.site import PROJECT, read_inventory

ROLE = PROJECT / "roles" / "omero_server"
LOADER = read_inventory(["inventories/demo/hosts.yml"])[2]
KNOWN = [
    line
    for line in (PROJECT / "tests/unit/data/omero_properties.txt").read_text().splitlines()
    if not line.startswith("#")
]
LOG = """\
2026-11-26 09:00:00,000 INFO  [           ome.services.blitz.Entry] (      main) Creating OMERO.blitz. Please wait...
2026-11-26 09:00:09,000 WARN  [      bitronix.tm.resource.jdbc.X] (      main) cannot create a connection
"""
TRACE = """\
2026-11-26 09:00:10,000 ERROR [           ome.services.blitz.Entry] (      main) Error on startup.
org.springframework.beans.factory.BeanCreationException: Error creating bean with name 'x'
	at org.springframework.beans.Y.z(Y.java:1)
Caused by: java.sql.SQLException: unable to get a connection from pool
	at bitronix.Z.a(Z.java:1)
Caused by: org.postgresql.util.PSQLException: FATAL: connection requires a valid client certificate
	at org.postgresql.B.c(B.java:1)
	... 20 common frames omitted
"""
# As the real server logs it: what the database says before the error of the start, which does not have it for a cause.
BEFORE = """\
2026-11-26 09:00:09,500 ERROR [SelfCorrectingDataSource] (      main) Failed to acquire connection after retries=3
org.postgresql.util.PSQLException: FATAL: connection requires a valid client certificate
	at org.postgresql.B.c(B.java:1)
"""
WITHOUT_CAUSE = TRACE.splitlines()[0] + "\nCaused by: ome.conditions.DatabaseBusyException: Cannot acquire connection\n"
WRONG_SCHEMA = f"""\
{TRACE.splitlines()[0]}
Caused by: ome.conditions.InternalException:{" "}
*******************************
DB version (OMERO5.3__0) does not match the configured value (OMERO5.4__0).
*******************************
"""


@pytest.fixture(scope="module")
def start():
    """The start program as a module."""
    spec = importlib.util.spec_from_file_location("start", ROLE / "files" / "start.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings_of(**given):
    """Return the settings of a host (dict) for which an inventory gives these values."""
    variables = {}
    for name in ("defaults/main.yml", "vars/main.yml", "vars/Debian.yml"):
        variables |= LOADER.load_from_file(str(ROLE / name), trusted_as_template=True)
    variables |= {
        "ansible_facts": {"architecture": "x86_64"},
        "omero_server_read_only": False,
        "omero_server_mounts": [],
        "omero_server_user": "omero-server",
        "omero_server_port": 4064,
        "omero_server_websocket_port": 0,
        "omero_server_database": {"host": "db01", "port": 5432, "name": "omero", "user": "omero", "password": "secret"},
        "omero_server_database_dir": "/etc/vitrine/database",
        "omero_server_database_poolsize": 25,
        "omero_server_pkcs12_password": "secret",
    } | given
    return Templar(loader=LOADER, variables=variables).template(variables["__omero_server_all_settings"])


def is_known(name):
    """Tell whether OMERO.server knows a property (str), by its name or as one of a family."""
    return name in KNOWN or any(name.startswith(each[:-1]) for each in KNOWN if each.endswith(".*"))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"omero_server_read_only": True},
        {"omero_server_java": 11},
        {"omero_server_websocket_port": 4066},
        {"omero_server_upgrades_url": "http://upgrade.openmicroscopy.org.uk/"},
    ],
)
def test_settings_are_known_to_the_release(given):
    """Every setting is a property that OMERO.server 5.6.18 knows, and none is empty: Ice drops those."""
    settings = settings_of(**given)
    assert len(settings) > 20
    assert [name for name in settings if not is_known(name)] == []
    assert [name for name, value in settings.items() if value == ""] == []


@pytest.mark.parametrize("name", ["omero.pixeldata.fail_if_missing", "omero.db.nam", "omero.jvmcfg.percent_blitz"])
def test_what_is_not_known(name):
    """The list rejects unknown names: the role once set the first of them, which no release supports."""
    assert not is_known(name)


def test_database_has_its_settings_where_the_driver_looks():
    """The name is a name, and the driver's settings are the driver's: OMERO.server puts its own between them."""
    settings = settings_of()
    assert settings["omero.db.name"] == "omero"
    given = dict(pair.split("=", 1) for pair in settings["omero.db.properties"].split("&"))
    assert given == {
        "sslmode": "verify-full",
        "sslrootcert": "/etc/vitrine/database/server.pem",
        "sslcert": "/etc/vitrine/database/client.pem",
        "sslkey": "/opt/omero/server/certificates/database.pk8",
    }


@pytest.mark.parametrize(
    ("log", "wanted"),
    [
        ("", None),
        (LOG, None),
        (LOG + TRACE, "FATAL: connection requires a valid client certificate"),
        (
            LOG + TRACE.splitlines()[0] + "\nThe words of an error without a cause\n",
            "The words of an error without a cause",
        ),
        (LOG + TRACE.splitlines()[0], TRACE.splitlines()[0]),
        (LOG.replace("WARN ", "ERROR"), None),
        (LOG + BEFORE + WITHOUT_CAUSE, "FATAL: connection requires a valid client certificate"),
        (LOG + WRONG_SCHEMA, "DB version (OMERO5.3__0) does not match the configured value (OMERO5.4__0)."),
    ],
)
def test_reason(start, log, wanted):
    """The innermost cause of a startup error is the reason; any other error is not a reason."""
    assert start.reason(log) == wanted


@pytest.mark.parametrize(
    ("errors", "log", "wanted"),
    [
        ("x\nError: Could not find or load main class ome\n", LOG, "Error: Could not find or load main class ome"),
        ("x\nUnrecognized VM option 'Xq'\nError: y\n", "", "Unrecognized VM option 'Xq'"),
        ("Error occurred during initialization of VM\nToo small\nError: y\n", "", "Too small"),
        ("broken on purpose\n", LOG.splitlines()[0], "broken on purpose"),
        ("x", LOG + "2026 ERROR [a] (b) no disk\n", "2026 ERROR [a] (b) no disk"),
        ("", "", "the logs say nothing"),
    ],
)
def test_last_words(start, errors, log, wanted):
    """Java's own errors take precedence over errors in the log, which take precedence over anything else."""
    assert start.last_words(errors, log) == wanted


def test_tail(start, tmp_path):
    """Only what is written from now on is read, also when a log is replaced by a new file, or is not there yet."""
    path = tmp_path / "log"
    path.write_text("old\n")
    tail, later = start.Tail(path), start.Tail(tmp_path / "later")
    assert tail.read() == ""
    with path.open("a") as file:
        file.write("new\n")
    assert tail.read() == "new\n"
    path.rename(tmp_path / "log.1")
    path.write_text("newest\n")
    assert tail.read() == "new\nnewest\n"
    assert later.read() == ""
    (tmp_path / "later").write_text("first\n")
    assert later.read() == "first\n"


@pytest.mark.parametrize(
    ("comes", "ended", "log", "wanted"),
    [
        (True, False, "", None),
        (False, True, "", "Blitz-0 ended: broken on purpose"),
        (False, False, TRACE, "FATAL: connection requires a valid client certificate"),
        (False, False, LOG, "no answer within 1 seconds: broken on purpose"),
    ],
)
def test_wait(start, monkeypatch, comes, ended, log, wanted):
    """The start ends when the server answers, when its log reports a startup error, or after the timeout."""
    monkeypatch.setattr(start, "PAUSE", 0.01)
    monkeypatch.setattr(start, "TRACE", 0.01)
    monkeypatch.setattr(start, "ask", lambda port, answered: answered.set() if comes else None)
    texts = [types.SimpleNamespace(read=lambda text=text: text) for text in (log, "broken on purpose\n")]
    assert start.wait(1, 4064, texts, types.SimpleNamespace(ended=lambda: ended)) == wanted


def test_ask(start, monkeypatch):
    """The server is asked again and again until it answers."""
    monkeypatch.setattr(start, "PAUSE", 0)
    outcomes = [False, False, True]
    monkeypatch.setattr(start, "answers", lambda port: outcomes.pop(0))
    answered = threading.Event()
    start.ask(4064, answered)
    assert answered.is_set()
    assert outcomes == []
