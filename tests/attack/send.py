"""Makes attempts on the host, or in the notebook, from where they come: with nothing but Python's standard library.

Reads from standard input a JSON list of attempts, and prints a JSON list of what came back, in the same order:

    {"do": "send", "address", "port", "tls", "name", "data", "idle", "pause", "after"}
        sends data (Latin-1) over a connection and reads until nothing has come for `idle` seconds. With `pause`, one
        byte is sent at a time, with as many seconds between. `after` is a list of such attempts, made afterwards
    {"do": "hello", "address", "port", "version", "ciphers", "starttls"}
        negotiates TLS
    {"do": "run", "command", "user", "input", "seconds", "exists"}
        runs a shell command, as another user if one is given, and only if the path `exists` does
"""

import concurrent.futures
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import warnings

# The start page has 100 kB.
KEPT = 1 << 18
# No attempt takes longer.
LONGEST = 30
# Programs that run at a time; connections wait most of the time, and there may be more of them.
PROGRAMS = threading.BoundedSemaphore(6)
TOO_MANY = b"HTTP/1.1 429"


def main():
    """Make all attempts, some at a time."""
    warnings.simplefilter("ignore")
    attempts = json.load(sys.stdin)
    # Those that wait most of the time do not keep the others waiting.
    with concurrent.futures.ThreadPoolExecutor(max_workers=64) as pool:
        print(json.dumps(list(pool.map(make, attempts))))


def make(attempt):
    """Make an attempt (dict); returns a dict."""
    begun = time.monotonic()
    try:
        seen = {"send": send, "hello": hello, "run": run}[attempt["do"]](attempt)
    except (OSError, ValueError) as error:
        seen = {"error": f"{type(error).__name__}: {error}"}
    seen.setdefault("seconds", time.monotonic() - begun)
    if attempt.get("after"):
        seen["after"] = [make(each) for each in attempt["after"]]
    return seen


def send(attempt):
    """Send bytes and read what comes; a refusal because of too many requests is tried again."""
    for _ in range(5):
        seen = send_once(attempt)
        if not seen["text"].encode("latin-1").startswith(TOO_MANY):
            break
        time.sleep(1)
    return seen


def send_once(attempt):
    """Send bytes over a new connection and read what comes."""
    begun = time.monotonic()
    data = attempt.get("data", "").encode("latin-1")
    idle = attempt.get("idle", 4)
    received, size, error = bytearray(), 0, ""
    connection = socket.create_connection((attempt["address"], attempt["port"]), attempt.get("connect", 3))
    with connection:
        if attempt.get("tls"):
            context = unchecked()
            connection = context.wrap_socket(connection, server_hostname=attempt.get("name") or attempt["address"])
        connection.settimeout(idle)
        try:
            if attempt.get("pause"):
                error = trickle(connection, data, attempt["pause"])
            else:
                connection.sendall(data)
        except OSError as problem:
            # The answer to what was refused half-way may have come nevertheless.
            error = f"{type(problem).__name__}: {problem}"
        try:
            while data and time.monotonic() - begun < LONGEST and (more := connection.recv(1 << 16)):
                size += len(more)
                received += more[: KEPT - len(received)]
        except TimeoutError:
            error = error or ("" if received else "no answer")
        except OSError as problem:
            error = error or f"{type(problem).__name__}: {problem}"
    return {"text": received.decode("latin-1"), "size": size, "error": error, "seconds": time.monotonic() - begun}


def trickle(connection, data, pause):
    """Send a byte at a time; returns why it ended early (str, empty if the other side listened to the end)."""
    begun = time.monotonic()
    for byte in data:
        if time.monotonic() - begun > LONGEST:
            break
        # An end that the other side has sent already shows when something is written after it.
        connection.sendall(bytes([byte]))
        time.sleep(pause)
    return ""


def unchecked():
    """Return a TLS context that takes any certificate: an attacker does not mind."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def hello(attempt):
    """Negotiate TLS with a version and ciphers; says what was agreed on."""
    context = unchecked()
    try:
        if attempt.get("ciphers"):
            context.set_ciphers(attempt["ciphers"] + ":@SECLEVEL=0")
        if attempt.get("version"):
            version = getattr(ssl.TLSVersion, attempt["version"])
            context.minimum_version = version
            context.maximum_version = version
        elif attempt.get("ciphers"):
            # The suites of 1.3 are chosen elsewhere, and none of them is weak.
            context.maximum_version = ssl.TLSVersion.TLSv1_2
    except (ssl.SSLError, ValueError) as error:
        return {"skipped": str(error)}
    with socket.create_connection((attempt["address"], attempt["port"]), 3) as connection:
        connection.settimeout(5)
        if attempt.get("starttls") == "postgresql":
            connection.sendall(struct.pack("!II", 8, 80877103))
            if connection.recv(1) != b"S":
                return {"error": "no TLS"}
        with context.wrap_socket(connection, server_hostname=attempt.get("name") or attempt["address"]) as secured:
            return {"text": f"{secured.version()} {secured.cipher()[0]}"}


def run(attempt):
    """Run a shell command; its output is kept, also that to standard error."""
    command = ["sh", "-c", attempt["command"]]
    if attempt.get("user"):
        command = ["runuser", f"--user={attempt['user']}", "--", *command]
    if attempt.get("exists") and not os.path.lexists(attempt["exists"]):
        return {"skipped": f"no {attempt['exists']}"}
    with PROGRAMS:
        return run_now(command, attempt)


def run_now(command, attempt):
    """Run a command (list of str)."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(attempt.get("input", "").encode(), timeout=attempt.get("seconds", 10))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return {"text": output.decode("latin-1")[:KEPT], "code": 124, "error": "took too long"}
    return {"text": output.decode("latin-1")[:KEPT], "code": process.returncode}


if __name__ == "__main__":
    main()
