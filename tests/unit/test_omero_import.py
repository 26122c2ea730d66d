"""The importer gets the key of its session in a file: neither the password nor the key is in a process list."""

import importlib
import json
import pathlib
import shlex
import stat
import subprocess
import sys

import pytest

from plugins.module_utils import omero_session

# As Ansible puts them together for a host.
sys.modules["ansible.module_utils.omero_session"] = omero_session
omero_import = importlib.import_module("plugins.modules.omero_import")

KEY = "7d1c4c1e-3c4f-4c1c-9a53-000000000000"
# In the place of java: writes down what other accounts of the host see of it.
JAVA = """#!{python}
import json, os, pathlib, sys
file = pathlib.Path(sys.argv[1][1:])
print(json.dumps({{
    "line": pathlib.Path("/proc/self/cmdline").read_text().split("\\0"),
    "environment": dict(os.environ),
    "arguments": file.read_text(),
    "folder": oct(file.parent.stat().st_mode & 0o777),
    "here": os.getcwd(),
}}))
print("as the importer said", file=sys.stderr)
sys.exit(2)
"""


@pytest.fixture
def seen(tmp_path):
    """Run the importer with a session, and return what others see of it (dict)."""
    home, user = tmp_path / "OMERO.server", tmp_path / "user"
    (home / "lib/client").mkdir(parents=True)
    (home / "lib/client/blitz.jar").touch()
    user.mkdir()
    java = tmp_path / "java"
    java.write_text(JAVA.format(python=sys.executable))
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    given = {"omero_dir": str(home), "java": str(java), "directory": str(user), "arguments": ["-c", "/a b.tif"]}
    rc, stdout, stderr = omero_import.run(given, ["-s", "localhost", "-p", "4064", "-k", KEY])
    return json.loads(stdout) | {"rc": rc, "stderr": stderr, "left": list(user.iterdir()), "home": home, "user": user}


def test_nobody_sees_the_key(seen):
    """The key is in a file of a folder of the user alone, and nowhere else, and is gone at the end."""
    assert KEY in seen["arguments"]
    assert KEY not in "".join(seen["line"]), "the process list has it"
    assert KEY not in json.dumps(seen["environment"]), "the environment has it"
    assert seen["folder"] == "0o700"
    assert not seen["left"], "the file stays"


def test_arguments(seen):
    """The importer gets OMERO's jars, the session, and its own arguments last."""
    arguments = shlex.split(seen["arguments"])
    begin = arguments.index("ome.formats.importer.cli.CommandLineImporter")
    assert arguments[begin - 2 : begin] == ["-cp", f"{seen['home']}/lib/client/blitz.jar"]
    assert arguments[begin + 1 :] == ["-s", "localhost", "-p", "4064", "-k", KEY, "-c", "/a b.tif"]
    assert seen["environment"]["OMERODIR"] == str(seen["home"])
    assert pathlib.Path(seen["here"]) == seen["user"]


def test_outcome(seen):
    """The exit code and the output of the importer are returned."""
    assert seen["rc"] == 2
    assert seen["stderr"] == "as the importer said\n"


STRANGE = ["a b", 'say "x"', "back\\slash", "@file", "#", "", "täst", "it's"]


def test_file_of_arguments():
    """Arguments with spaces, quotation marks and backslashes arrive as they are."""
    assert shlex.split(omero_import.argument_file(STRANGE)) == STRANGE


def test_stand_in(tmp_path):
    """The stand-in's java reads a file of arguments as Java does."""
    program = pathlib.Path(__file__).resolve().parents[2] / "testbed/omero_server/release/tools/bin/java"
    (tmp_path / "arguments").write_text(omero_import.argument_file(["-Xmx1M", "-cp", "x y", "no.such.Class", KEY]))
    run = subprocess.run(
        [sys.executable, program, f"@{tmp_path}/arguments"], capture_output=True, text=True, check=False
    )
    assert "run 'no.such.Class'" in run.stderr
