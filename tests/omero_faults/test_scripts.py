"""Scripts that the server runs: official ones, those of users, and what becomes of them. Writes: for scenarios."""

import pytest
from conftest import run_with_input
from faults import wait_until

testinfra_hosts = ["ansible://omero_readwrite"]
pytestmark = pytest.mark.unit("omero-server")

# The processor waits ten seconds before it begins.
SECONDS = 120
FOLDER = "/opt/omero/server/OMERO.server/lib/scripts/vitrine"
TEXT = """
import omero.scripts
from omero.rtypes import robject, rstring
client = omero.scripts.client(
    "promise.py", "for a check",
    omero.scripts.String("Word", optional=False, values=[rstring("good"), rstring("bad")]),
    omero.scripts.Long("Number", default=7, min=1, max=9),
)
word, number = client.getInput("Word", unwrap=True), client.getInput("Number", unwrap=True)
print("printed", word)
if word == "bad":
    raise SystemExit(3)
project = omero.model.ProjectI()
project.name = rstring(f"promise {word} {number}")
project = client.getSession().getUpdateService().saveAndReturnObject(project)
client.setOutput("Message", rstring("made"))
client.setOutput("Project", robject(project))
client.closeSession()
"""
BEGIN = """
import time
import omero.scripts
from omero.rtypes import rlong, rlist, rstring, unwrap
service = connection.getScriptService()
def run(identity, inputs):
    process = service.runScript(identity, inputs, omero.rtypes.rint(20))
    callback = omero.scripts.ProcessCallbackI(connection.c, process)
    end = time.monotonic() + 90
    while callback.block(500) is None and time.monotonic() < end:
        pass
    callback.close()
    ended, found = process.poll(), process.getResults(0)
    status = "select j.status.value from ScriptJob j where j.id = :id"
    parameters = omero.sys.ParametersI().addId(process.getJob().id.val)
    [[status]] = connection.getQueryService().projection(status, parameters)
    process.close(False)
    return unwrap(ended), unwrap(status), found
def text(file):
    return b"".join(connection.getObject("OriginalFile", file.val.id.val).getFileInChunks()).decode()
identity = service.getScriptID("/vitrine/promise.py") if service.getScripts() else -1
"""
RUN = """
ended, status, found = run(identity, {"Word": rstring("good")})
project = connection.getObject("Project", found["Project"].val.id.val)
result = {
    "ended": ended, "status": status, "message": unwrap(found["Message"]), "name": project.getName(),
    "owner": project.getOwner().getName() == connection.getUser().getName(), "printed": text(found["stdout"]),
}
connection.deleteObjects("Project", [project.getId()], wait=True)
"""
FAIL = """
ended, status, found = run(identity, {"Word": rstring("bad")})
result = {
    "ended": ended, "status": status, "made": "Project" in found, "printed": text(found["stdout"]),
    "no such value": refused(lambda: run(identity, {"Word": rstring("ugly")})),
    "out of range": refused(lambda: run(identity, {"Word": rstring("good"), "Number": rlong(10)})),
    "left out": refused(lambda: run(identity, {})),
    "no script": refused(lambda: run(10 ** 9, {})),
    "too long a wait": refused(lambda: service.runScript(identity, {}, omero.rtypes.rint(200))),
}
"""
FORBIDDEN = """
file = omero.model.OriginalFileI(identity, False)
mine = omero.model.OriginalFileI()
mine.name, mine.path, mine.repo = rstring("mine.py"), rstring("/vitrine/"), rstring("ScriptRepo")
result = {
    "upload": refused(lambda: service.uploadOfficialScript("/vitrine/mine.py", given["text"])),
    "edit": refused(lambda: service.editScript(file, given["text"])),
    "delete": refused(lambda: service.deleteScript(identity)),
    "say it is official": refused(lambda: connection.getUpdateService().saveObject(mine)),
}
still = service.getScriptText(identity) == given["text"] and service.getScriptID("/vitrine/mine.py") == -1
result["as before"] = still
"""
OWN = """
own = service.uploadScript("/vitrine/own.py", given["text"])
result = {
    "own": own,
    "text": service.getScriptText(own) == given["text"],
    "official": own in [each.id.val for each in service.getScripts()],
    "listed": own in [each.id.val for each in service.getUserScripts([])],
    "can": service.canRunScript(own),
    "run": refused(lambda: service.runScript(own, {"Word": rstring("good")}, omero.rtypes.rint(3))),
}
"""
FORBIDDEN_OWN = """
file = omero.model.OriginalFileI(given["own"], False)
result = {
    "edit": refused(lambda: service.editScript(file, "import sys")),
    "delete": refused(lambda: service.deleteScript(given["own"])),
}
"""
REMOVE_OWN = """
service.deleteScript(given["own"])
result = {"left": service.getScriptText(given["own"])}
"""
PARAMETERS = """
parameters = service.getParams(identity)
result = {
    "identity": identity,
    "inputs": {name: [each.optional, each.useDefault] for name, each in parameters.inputs.items()},
}
"""
RUNS = """
try:
    service.runScript(identity, {"Word": rstring("bad")}, omero.rtypes.rint(2)).close(False)
    result = True
except omero.NoProcessorAvailable:
    result = False
"""


@pytest.fixture
def write(host):
    """Return a function that writes an official script (name, text); take all of them away in the end."""

    def run(name, text):
        done = run_with_input(host, f"mkdir -p {FOLDER} && cat > {FOLDER}/{name} && chmod 644 {FOLDER}/{name}", text)
        assert done.returncode == 0, done.stderr

    yield run
    host.check_output("rm --recursive --force %s", FOLDER)


@pytest.fixture
def scripts(script, write):
    """Write an official script; return a function that runs something with it as a user, once there is a processor."""
    write("promise.py", TEXT)
    wait_until(lambda: script("curator", BEGIN + RUNS), "the processor did not start with its host", SECONDS)
    return lambda who, body, given=None: script(who, BEGIN + body, given)


@pytest.mark.parametrize("who", ["curator", "public"])
def test_official(scripts, who):
    """An official script runs for {who}, in whose name it writes, and says what it printed."""
    assert scripts(who, RUN) == {
        "ended": 0,
        "status": "Finished",
        "message": "made",
        "name": "promise good 7",
        "owner": True,
        "printed": "printed good\n",
    }


def test_failures(scripts):
    """A script that fails says so, and one that is given something wrong does not run."""
    assert scripts("curator", FAIL) == {
        "ended": 3,
        "status": "Error",
        "made": False,
        "printed": "printed bad\n",
        "no such value": "ValidationException",
        "out of range": "ValidationException",
        "left out": "ValidationException",
        "no script": "ApiUsageException",
        "too long a wait": "ApiUsageException",
    }


def test_changed(scripts, write):
    """A script that changes on the disk is another script; one that goes is none any longer."""
    before = scripts("curator", PARAMETERS)
    assert before["inputs"] == {"Word": [False, False], "Number": [True, True]}
    write("promise.py", TEXT.replace("default=7", "default=8"))
    after = scripts("curator", PARAMETERS)
    assert after["identity"] > before["identity"]
    assert scripts("curator", RUN)["name"] == "promise good 8"
    write("promise.py", "")
    assert scripts("curator", "result = identity") == -1, "an empty file is no script"


def test_official_ones_are_administrators(scripts):
    """A curator can neither upload, change nor delete official scripts."""
    assert scripts("curator", FORBIDDEN, {"text": TEXT}) == {
        "upload": "SecurityViolation",
        "edit": "SecurityViolation",
        "delete": "SecurityViolation",
        "say it is official": "SecurityViolation",
        "as before": True,
    }


def test_scripts_of_users(scripts):
    """The server keeps a curator's script, runs it nowhere of its own, and lets nobody else change it."""
    made = scripts("curator", OWN, {"text": TEXT})
    identity = made.pop("own")
    assert made == {"text": True, "official": False, "listed": True, "can": False, "run": "NoProcessorAvailable"}
    assert scripts("public", FORBIDDEN_OWN, {"own": identity}) == {
        "edit": "SecurityViolation",
        "delete": "SecurityViolation",
    }
    assert scripts("curator", REMOVE_OWN, {"own": identity}) == {"left": ""}


def test_processor_killed(host, script, scripts):
    """Without its processor no script runs, which the client is told; the processor starts again by itself."""
    # Stopped first: killed alone, IceGrid may have it back before the client asks.
    host.check_output("pkill --signal=STOP --full -- [r]unProcessor")
    assert not script("curator", BEGIN + RUNS), "a script ran without it"
    host.check_output("pkill --signal=KILL --full -- [r]unProcessor")
    wait_until(lambda: script("curator", BEGIN + RUNS), "it did not start again by itself", SECONDS)
    assert scripts("curator", RUN)["status"] == "Finished"
