"""Search a host for secrets. Its text is sent to the host's Python, with the secrets behind it, all by standard input.

Nothing that it prints has a secret: only whose it is, and where. It needs Python 3.9, journalctl and grep.
"""

import contextlib
import grp
import json
import os
import pathlib
import pwd
import subprocess
import time

# Entries of the journal that are searched, the latest ones: a second's work.
LINES = 100000
# What an entry has of processes' arguments, beside the message: sudo's own field is COMMAND.
FIELDS = "MESSAGE,COMMAND,_CMDLINE"
# Files are searched as an account without privileges, except for logs, in which no secret belongs whoever reads them.
LOGS = "/var/log"
FOLDERS = ["/etc", "/opt", "/srv", "/run", "/var/lib", "/home", "/root", "/usr/local"]
FOLDERS += ["/tmp", "/var/tmp", "/dev/shm"]  # noqa: S108 (only read)
# Installed software, and the journal's own files, which are asked above.
LEFT_OUT = {"site-packages", "node_modules", "__pycache__", "journal"}
LEFT_OUT_PATHS = {"/var/lib/apt", "/var/lib/dpkg", "/var/lib/containers", "/run/systemd/journal"}
SOFTWARE = (
    ".jar",
    ".js",
    ".css",
    ".map",
    ".py",
    ".pyc",
    ".so",
    ".whl",
    ".gz",
    ".png",
    ".gif",
    ".jpg",
    ".svg",
    ".ttf",
    ".woff2",
)
# Of images and the like, only the folders above them: so many levels of /srv.
DEPTH = {"/srv": 3}
# Bytes of a file that are searched: larger ones are data, and of a log the end counts.
SIZE = 16 << 20
# Files that one grep gets.
AT_ONCE = 500
# Seconds after which the search of files ends with a message, and how many of the places are reported.
SECONDS, PLACES = 20, 20


def search(secrets, environments=None, folders=None):
    """Search the host.

    Args:
        secrets: dict from names to values (both str).
        environments: dict from names of secrets to lists of units (str) that get them in their environment.
        folders: list of str, the folders to be searched as an account without privileges; FOLDERS by default.

    Returns:
        A list of str, a sentence for each secret and place.
    """
    names = {value.encode(): name for name, value in secrets.items()}
    found = in_processes(names, environments or {}) + in_journal(names)
    end = time.monotonic() + SECONDS
    found += in_files(names, [LOGS], end, logs=True)
    become_nobody()
    found += in_files(names, FOLDERS if folders is None else folders, end)
    return found[:PLACES]


def in_processes(names, environments, proc="/proc"):
    """Search the arguments and environments of all processes.

    Args:
        names: dict from secrets (bytes) to their names (str).
        environments: dict, as of search.
        proc: str, the folder of the processes.

    Returns:
        A list of str.
    """
    found = []
    for folder in pathlib.Path(proc).iterdir():
        if not folder.name.isdigit():
            continue
        # Processes end at any time.
        with contextlib.suppress(OSError):
            arguments, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
            # With version 1 of control groups, a line for each controller, some of them without the unit.
            groups = [line.rpartition("/")[2] for line in (folder / "cgroup").read_text().splitlines()]
            unit = next((name for name in groups if name.endswith((".service", ".scope"))), "")
            program = os.fsdecode(arguments.partition(b"\0")[0])
            for secret, name in names.items():
                if secret in arguments:
                    found.append(f"{name} in the arguments of a process of {unit or program}")
                if secret in environment and unit not in environments.get(name, []):
                    found.append(f"{name} in the environment of a process of {unit or program}")
    return sorted(set(found))


def in_journal(names):
    """Search the latest entries of the journal (names: dict, as of in_processes; returns a list of str)."""
    command = ["journalctl", "--quiet", "--no-pager", "--output=cat", f"--output-fields={FIELDS}", f"--lines={LINES}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as journal:
        seen = grep(names, ["--no-filename"], stdin=journal.stdout)
    return sorted({f"{names[secret]} in the journal" for secret in seen.splitlines() if secret in names})


def in_files(names, folders, end, logs=False):
    """Search files for secrets.

    Args:
        names: dict, as of in_processes.
        folders: list of str.
        end: float, when to stop, as of time.monotonic.
        logs: bool, whether the ends of large files are searched.

    Returns:
        A list of str.
    """
    found, batch = set(), []

    def look():
        seen = grep(names, ["--with-filename", "--null", "--", *batch]) if batch else b""
        for line in seen.splitlines():
            path, _, secret = line.partition(b"\0")
            if secret in names:
                found.add(f"{names[secret]} in {os.fsdecode(path)}")
        batch.clear()

    for path, size in files_below(folders):
        if time.monotonic() > end:
            found.add(f"the search ended after {SECONDS} s, at {path}")
            break
        if size <= SIZE:
            batch.append(path)
        elif logs:
            with contextlib.suppress(OSError), pathlib.Path(path).open("rb") as file:
                file.seek(-SIZE, os.SEEK_END)
                text = file.read()
                found |= {f"{name} in {path}" for secret, name in names.items() if secret in text}
        if len(batch) == AT_ONCE:
            look()
    look()
    return sorted(found)


def files_below(folders):
    """Yield the regular files below folders that this process can read, and their sizes in bytes (str, int).

    Other file systems are left out, and what LEFT_OUT and DEPTH leave out.

    Args:
        folders: list of str.
    """
    for top in folders:
        try:
            device = pathlib.Path(top).stat().st_dev
        except OSError:  # it is not there, or not for this account
            continue
        waiting = [(top, 0)]
        while waiting:
            folder, depth = waiting.pop()
            # What cannot be read is what should not be read.
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        if entry.is_dir(follow_symlinks=False):
                            left_out = entry.name in LEFT_OUT or entry.path in LEFT_OUT_PATHS
                            deep = depth + 1 >= DEPTH.get(top, 99)
                            if status.st_dev == device and not left_out and not deep:
                                waiting.append((entry.path, depth + 1))
                        elif status.st_size and entry.is_file(follow_symlinks=False) and readable(entry):
                            yield entry.path, status.st_size


def readable(entry):
    """Tell whether a file is to be searched (entry: os.DirEntry; bool)."""
    return not entry.name.endswith(SOFTWARE) and os.access(entry.path, os.R_OK)


def grep(names, arguments, stdin=subprocess.DEVNULL):
    """Run grep with secrets as patterns, which it reads from a pipe: no command line has them.

    Args:
        names: dict, as of in_processes.
        arguments: list of str, further arguments.
        stdin: what grep reads if it gets no files.

    Returns:
        bytes, its output, where each line ends with a secret that was found.
    """
    patterns, write = os.pipe()
    try:
        os.write(write, b"".join(secret + b"\n" for secret in names))
    finally:
        os.close(write)
    options = ["--text", "--only-matching", "--fixed-strings", "--no-messages", f"--file=/dev/fd/{patterns}"]
    try:
        return subprocess.run(
            ["grep", *options, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[patterns],
            check=False,
        ).stdout
    finally:
        os.close(patterns)


def become_nobody():
    """Give up root for an account that is in each group that several accounts share, and in no service's own."""
    if os.geteuid() != 0:
        return
    members = {}
    for group in grp.getgrall():
        members.setdefault(group.gr_gid, set()).update(group.gr_mem)
    for account in pwd.getpwall():
        members.setdefault(account.pw_gid, set()).add(account.pw_name)
    nobody = pwd.getpwnam("nobody")
    os.setgroups([gid for gid, accounts in members.items() if len(accounts) > 1 and gid != 0])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)


def main(given):
    """Print what search finds (given: str, JSON of its arguments)."""
    print(json.dumps(search(**json.loads(given))))
