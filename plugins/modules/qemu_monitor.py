#!/usr/bin/python
"""A command for a running QEMU, by its monitor."""

DOCUMENTATION = r"""
module: qemu_monitor
short_description: Give a running QEMU a command
description:
  - Speaks QEMU's machine protocol (QMP) over the socket that C(-qmp unix:PATH,server=on) has made.
  - A machine that does not run listens at no socket, and so nobody else's process can be hit.
options:
  socket: {description: Path of the monitor's socket., type: path, required: true}
  command: {description: The command such as C(block_resize)., type: str, required: true}
  arguments: {description: Its arguments., type: dict, default: {}}
  needed:
    description: Whether it is an error that the machine does not run.
    type: bool
    default: true
  timeout: {description: Seconds to wait for each answer., type: int, default: 30}
"""

RETURN = r"""
running: {description: Whether the machine ran., type: bool, returned: always}
answer: {description: What it said., type: raw, returned: when it ran}
"""

import contextlib
import json
import socket

from ansible.module_utils.basic import AnsibleModule


class MonitorError(Exception):
    """The machine refused a command, or broke off."""


def ask(stream, command, arguments=None):
    """Give a command and wait for its answer.

    Args:
        stream: file object of the connection, for reading and writing bytes.
        command: str.
        arguments: dict.

    Returns:
        What the machine returned.

    Raises:
        MonitorError: The machine refused it, or ended before it had answered.
    """
    request = {"execute": command} | ({"arguments": arguments} if arguments else {})
    stream.write(json.dumps(request).encode() + b"\n")
    stream.flush()
    for line in stream:
        answer = json.loads(line)
        if "error" in answer:
            raise MonitorError(f"{command} was refused: {answer['error']['desc']}")
        if "return" in answer:
            return answer["return"]
        # What else comes are events.
    raise MonitorError(f"the machine ended before it answered {command}")


def talk(path, command, arguments, timeout):
    """Connect, give a command, and after `quit` wait until the machine has ended.

    Args:
        path: str, the socket's.
        command: str.
        arguments: dict.
        timeout: int, seconds for each answer.

    Returns:
        What the machine returned.

    Raises:
        MonitorError: The machine refused it or broke off.
        ConnectionRefusedError, FileNotFoundError: It does not run.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        with connection.makefile("rwb") as stream:
            stream.readline()  # its greeting
            ask(stream, "qmp_capabilities")
            answer = ask(stream, command, arguments)
            if command == "quit":
                # Until the connection ends, in whatever way.
                with contextlib.suppress(ConnectionError):
                    stream.read()
            return answer


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path", "required": True},
            "command": {"type": "str", "required": True},
            "arguments": {"type": "dict", "default": {}},
            "needed": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    path, command = module.params["socket"], module.params["command"]
    reads = command.startswith("query-")
    if module.check_mode and not reads:
        module.exit_json(changed=True, running=True)
    try:
        answer = talk(path, command, module.params["arguments"], module.params["timeout"])
    except (ConnectionRefusedError, FileNotFoundError) as problem:
        if module.params["needed"]:
            module.fail_json(msg=f"No machine listens at {path} ({problem.strerror}). Start it first.")
        module.exit_json(changed=False, running=False)
    except (MonitorError, OSError) as problem:
        module.fail_json(msg=f"The machine at {path}: {problem}")
    module.exit_json(changed=not reads, running=True, answer=answer)


if __name__ == "__main__":
    main()
