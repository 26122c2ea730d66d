"""The module qemu_monitor against a socket that answers as QEMU does."""

import json
import socket
import threading

import pytest

from plugins.modules.qemu_monitor import MonitorError, talk


@pytest.fixture
def monitor(tmp_path):
    """Return a function that makes a machine with given answers; it returns the socket's path and what was asked."""
    threads = []

    def make(*answers):
        path, asked = str(tmp_path / "monitor"), []
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen()

        def serve():
            with server, server.accept()[0] as connection, connection.makefile("rwb") as stream:
                stream.write(b'{"QMP": {"version": {}}}\n')
                stream.flush()
                for answer in ({"return": {}}, *answers):
                    asked.append(json.loads(stream.readline()))
                    # An event may come at any time.
                    stream.write(b'{"event": "RTC_CHANGE"}\n' + json.dumps(answer).encode() + b"\n")
                    stream.flush()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        threads.append(thread)
        return path, asked

    yield make
    for thread in threads:
        thread.join(5)


def test_a_command_is_given_and_answered(monitor):
    """Arguments go with it; events in between are no answers."""
    path, asked = monitor({"return": {"status": "running"}})
    assert talk(path, "block_resize", {"device": "data", "size": 1}, 5) == {"status": "running"}
    assert asked[-1] == {"execute": "block_resize", "arguments": {"device": "data", "size": 1}}


def test_a_refusal_says_why(monitor):
    """What QEMU says is what the operator reads."""
    path, _ = monitor({"error": {"class": "GenericError", "desc": "Cannot find device 'data'"}})
    with pytest.raises(MonitorError, match="block_resize was refused: Cannot find device 'data'"):
        talk(path, "block_resize", {"device": "data", "size": 1}, 5)


def test_quit_waits_until_the_machine_has_ended(monitor):
    """After `quit` returns, nothing of the machine is left to use its files."""
    path, asked = monitor({"return": {}})
    assert talk(path, "quit", {}, 5) == {}
    assert asked[-1] == {"execute": "quit"}


def test_a_machine_that_breaks_off_has_not_answered(monitor):
    """Silence is no success."""
    path, _ = monitor()
    with pytest.raises((MonitorError, ConnectionError)):
        talk(path, "query-status", {}, 5)


def test_nobody_listens(tmp_path):
    """The module tells this from an error by these exceptions."""
    with pytest.raises(FileNotFoundError):
        talk(str(tmp_path / "none"), "quit", {}, 5)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "dead"))
    dead.close()
    with pytest.raises(ConnectionRefusedError):
        talk(str(tmp_path / "dead"), "quit", {}, 5)
