#!/usr/bin/python
"""Run OMERO's importer with a session of its own."""

DOCUMENTATION = r"""
module: omero_import
short_description: Run OMERO's importer
description:
  - Logs in, and starts the Java program that C(omero import) starts. C(omero import) takes the password from the
    environment, and gives Java the key of the session on the command line, which every account of the host can read
    for as long as the import runs. Here both stay within files that only the user of the module can read.
  - Logs out at the end, which makes the key worthless.
  - Does not judge the importer's exit code, which is unreliable (M(omero_filesets) asks the server).
  - Needs omero-py in the interpreter that it runs with, and a Java that reads its arguments from a file (9 or later).
extends_documentation_fragment: [omero_login]
options:
  group: {description: Group that the data belong to., type: str, required: true}
  arguments:
    description: Options of C(omero import) for Java, and paths.
    type: list
    elements: str
    required: true
  omero_dir: {description: OMERODIR of the importer., type: path, required: true}
  java: {description: Path of the program C(java)., type: path, required: true}
  directory:
    description: Folder in which the importer runs and has its temporary files; the user of the module writes there.
    type: path
    required: true
"""

RETURN = r"""
rc: {description: Exit code of the importer., type: int, returned: success}
stdout: {description: Standard output of the importer., type: str, returned: success}
stderr: {description: Standard error of the importer., type: str, returned: success}
"""

import os
import pathlib
import subprocess
import sys
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.omero_session import ARGUMENTS, session

IMPORTER = "ome.formats.importer.cli.CommandLineImporter"
# Seconds between two signs of life, as of omero-py, so that the session outlives a long import.
KEEP_ALIVE = 300


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "group": {"type": "str", "required": True},
            "arguments": {"type": "list", "elements": "str", "required": True},
            "omero_dir": {"type": "path", "required": True},
            "java": {"type": "path", "required": True},
            "directory": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(skipped=True, rc=0, msg="the importer does not run in check mode")
    with session(module) as client:
        enter_group(module, client)
        client.enableKeepAlive(KEEP_ALIVE)
        key = client.getSessionId()
        module.no_log_values.add(key)
        login = ["-s", module.params["login_host"], "-p", str(module.params["login_port"]), "-k", key]
        rc, stdout, stderr = run(module.params, login)
    module.exit_json(changed=True, rc=rc, stdout=stdout, stderr=stderr)


def enter_group(module, client):
    """Let the session work in the module's group.

    Args:
        module: AnsibleModule.
        client: omero.client with a session.
    """
    import omero
    from omero.model import ExperimenterGroupI

    try:
        group = client.sf.getAdminService().lookupGroup(module.params["group"]).id.val
    except omero.ApiUsageException:
        module.fail_json(
            msg=f"OMERO has no group {module.params['group']}. The OMERO layer makes it: apply playbooks/omero.yml."
        )
    client.sf.setSecurityContext(ExperimenterGroupI(group, False))


def run(given, login):
    """Run the importer.

    Args:
        given: dict, the module's arguments.
        login: list of str, the options with which the importer joins the session.

    Returns:
        int, the exit code, and two str, what it wrote to standard output and to standard error.
    """
    home = pathlib.Path(given["omero_dir"])
    # The folder is readable by its owner alone, whatever the umask.
    with tempfile.TemporaryDirectory(prefix="import.", dir=given["directory"]) as temporary:
        options = [
            # As omero-py's plugin import does.
            f"-Dlogback.configurationFile={home}/etc/logback-cli.xml",
            f"-Djava.io.tmpdir={temporary}",
            "-Djava.awt.headless=true",
            "-Domero.import.depth=4",
            "-Xmx1024M",
            *("-cp", os.pathsep.join(map(str, sorted(home.glob("lib/client/*.jar"))))),
        ]
        arguments = pathlib.Path(temporary, "arguments")
        arguments.write_text(argument_file([*options, IMPORTER, *login, *given["arguments"]]), encoding="utf-8")
        path = [pathlib.Path(sys.executable).parent, pathlib.Path(given["java"]).parent, "/usr/bin", "/bin"]
        done = subprocess.run(  # noqa: S603 (no shell)
            [given["java"], f"@{arguments}"],
            cwd=given["directory"],
            env=os.environ | {"OMERODIR": str(home), "PATH": os.pathsep.join(map(str, path))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    return done.returncode, done.stdout, done.stderr


def argument_file(arguments):
    r"""Compose a file of arguments, as the program java reads them (its manual, "java Command-Line Argument Files").

    Args:
        arguments: list of str.

    Returns:
        A str: a line for each argument in quotation marks, in which backslashes escape.
    """
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"}
    return "".join(f'"{argument.translate(str.maketrans(escapes))}"\n' for argument in arguments)


if __name__ == "__main__":
    main()
