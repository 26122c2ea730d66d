"""What the gates ask about the site's secrets: none is in a journal, a process list, a report, or a file for others."""

import inspect
import json
import pathlib
import re

import secrets_on_host
from conftest import run_with_input

SECRET = re.compile(r"password|passphrase|secret|token", re.IGNORECASE)
# Names of what is about a secret and is none.
NONE = re.compile(r"_(dir|file|path|name|user|url|salt|length|policy)$", re.IGNORECASE)
# Shorter ones are found in text that has nothing to do with them.
SHORTEST = 12
# Files of the secrets' folder that are none (group_vars/hosts/jupyterhub.yml).
NOT_SECRET = {"jupyterhub_salt"}
# systemd reads these from files that only root can read, for services that take them from nowhere else.
ENVIRONMENTS = {
    "jupyterhub_proxy_token": ["jupyterhub.service", "jupyterhub-proxy.service"],
    "jupyterhub_culler_token": ["jupyterhub.service", "jupyterhub-idle-culler.service"],
}


def secrets_of_site(variables):
    """Collect the secrets of a site: the files of its folder, and what variables have under such names.

    Args:
        variables: dict, the variables of a host.

    Returns:
        A dict from names to values (both str); a secret with several names is named once, after its file.
    """
    found = {}
    folder = pathlib.Path(variables["secrets_dir"])
    for path in sorted(folder.rglob("*")):
        # What a password was before is one no more, or about to be none (playbooks/rotate.yml).
        if path.is_file() and path.name not in NOT_SECRET and path.suffix != ".former":
            add(found, str(path.relative_to(folder)), path.read_text(errors="replace").split("\n")[0].strip())
    for name, value in variables.items():
        for secret in texts_of(name, value):
            add(found, name, secret)
    return {name: secret for secret, name in found.items()}


def add(found, name, secret):
    """Add a secret unless it is there under another name, or too short (found: dict from secrets to names)."""
    if len(secret) >= SHORTEST and not re.search(r"\s|^/", secret):
        found.setdefault(secret, name if name not in found.values() else f"{name} ({len(found)})")


def texts_of(name, value):
    """List the texts that a variable (name: str, value: any) has under names of secrets (list of str)."""
    if isinstance(value, dict):
        return [text for key, each in value.items() for text in texts_of(str(key), each)]
    if isinstance(value, list):
        return [text for each in value if isinstance(each, dict) for text in texts_of(name, each)]
    return [value] if isinstance(value, str) and SECRET.search(name) and not NONE.search(name) else []


def search_host(host, variables):
    """Search a host for the site's secrets.

    Args:
        host: Testinfra host.
        variables: dict, the host's variables.

    Returns:
        A list of str: the name of a secret and where it is.
    """
    given = json.dumps({"secrets": secrets_of_site(variables), "environments": ENVIRONMENTS})
    program = f"{inspect.getsource(secrets_on_host)}\n\nmain({given!r})\n"
    done = run_with_input(host, "python3 -", program)
    assert done.returncode == 0, f"the search failed: {done.stderr[-500:]}"
    return json.loads(done.stdout)


def search_reports(variables):
    """Search the site's reports on the controller, and look who may read its secrets (as search_host)."""
    names = {secret.encode(): name for name, secret in secrets_of_site(variables).items()}
    found = []
    for path in pathlib.Path(variables["reports_dir"]).rglob("*"):
        if path.is_file() and path.suffix in (".json", ".log", ".txt", ".html", ""):
            text = path.read_bytes()
            found += [f"{name} in {path} on the controller" for secret, name in names.items() if secret in text]
    folder = pathlib.Path(variables["secrets_dir"])
    files = sorted(folder.rglob("*")) if folder.stat().st_mode & 0o077 else []
    open_files = [path for path in files if path.is_file() and path.stat().st_mode & 0o077]
    return found + [f"{path} on the controller is readable by others (chmod 600)" for path in open_files]


def check(host, variables):
    """Fail with the names of secrets and their places, if the host or the reports have any."""
    found = search_host(host, variables) + search_reports(variables)
    advice = "Remove what shows it, and change the password: scripts/run rotate (docs/rotate-passwords.md)"
    assert not found, f"{'; '.join(found)}. {advice}"
