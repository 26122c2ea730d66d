"""The files that each scenario depends on, and the state of these files when the scenario last passed.

    python -m vitrine_cli.dependencies           the state of every scenario, as JSON
    python -m vitrine_cli.dependencies PATH...   the scenarios that a file can affect, as JSON

By default, a scenario depends on every file of the checkout. A file in one of the folders of AREAS affects only the
scenarios that use it: those whose own files name it, directly or through the roles, playbooks, modules, gates and paths
that they name. A file in these folders that no scenario uses affects all scenarios. molecule/scenarios.yml lists
exceptions, each with its reason.
"""

from __future__ import annotations

import ast
import configparser
import functools
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

import yaml

from vitrine_cli.site import PROJECT

METADATA = "molecule/scenarios.yml"
RECORDS = "molecule/passed.txt"
RECORDS_HEAD = """\
# Written by scripts/test: the scenarios that passed, each with a hash of its dependencies. scripts/test --changed
# leaves out the scenarios whose hash is unchanged. Resolve a conflict with either line: a wrong hash only causes a run.
"""
# In these folders, a file affects only the scenarios that use it.
AREAS = re.compile(
    r"(roles/[^/]+/|playbooks/[^/]+\.yml$|tests/|molecule/|inventories/[^/]+/|demo/|testbed/"
    r"|plugins/(modules|module_utils)/)"
)
# A path of a file in the checkout, alone or after a variable that contains the path of the checkout.
PATH = re.compile(
    r"(?<![\w.-])(?:roles|playbooks|tests|molecule|inventories|demo|testbed|plugins|scripts)/[\w./-]*\w", re.ASCII
)
# Keys of texts for people, which may mention files that are not used.
PROSE = {"name", "fail_msg", "msg", "otherwise"}
ROLE_ACTIONS = {"include_role", "import_role"}
FILE_ACTIONS = {"import_playbook", "include_tasks", "import_tasks"}
# Written by scripts/docs.
README = re.compile(r"roles/[^/]+/README\.md")
TEMPLATE = re.compile(r"{{.*?}}")
# The entries of .gitignore, for checkouts without Git.
NOT_IN_GIT = {".git", ".vitrine", "reports", "secrets", ".ansible", "__pycache__", ".pytest_cache", ".ruff_cache"}
# Environment variables that change the scenarios. Records are only about runs without these.
ENVIRONMENT = ("VITRINE_SUITE", "OMERO_SERVER_ZIP")


class Loader(yaml.CSafeLoader):
    """A loader that ignores Ansible's own tags."""


def plain(loader, _suffix, node):
    """Construct a node regardless of its tag."""
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


Loader.add_multi_constructor("!", plain)


def merge(base, over):
    """Merge settings as Molecule does: mappings are merged, other values are replaced.

    Args:
        base, over: dict.

    Returns:
        A dict.
    """
    both = dict(base)
    for key, value in over.items():
        both[key] = merge(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
    return both


def read_metadata(project=PROJECT):
    """Read molecule/scenarios.yml.

    Args:
        project: pathlib.Path of the checkout.

    Returns:
        A dict with the keys scenarios, narrower and affect_none, as described there.
    """
    return parse((project / METADATA).read_text())


@functools.cache
def parse(text):
    """Parse YAML (text: str), each text only once."""
    return yaml.load(text, Loader)  # noqa: S506 (a safe loader that knows more tags)


@functools.cache
def parse_program(text):
    """Find the imports of a program, and the strings in it that can be paths.

    Args:
        text: str, Python.

    Returns:
        A tuple of two sets of str.
    """
    imports, texts = set(), set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imports |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imports |= {f"{node.module or ''}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            texts.add(node.value)
    return imports, texts


def files_of(project=PROJECT):
    """List the files of a checkout: those in Git, and new files that Git does not ignore.

    Args:
        project: pathlib.Path of the checkout, which may belong to another user, or of an unpacked archive.

    Returns:
        A sorted list of str, relative to the checkout, including links.
    """
    arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    command = ["git", "-c", f"safe.directory={project}", "-C", project, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode == 0:
        return sorted(name for name in set(run.stdout.split("\0")) - {""} if os.path.lexists(project / name))
    found = []
    for folder, folders, files in os.walk(project):
        # Git treats links to folders as files.
        links = [name for name in folders if pathlib.Path(folder, name).is_symlink()]
        folders[:] = [name for name in folders if name not in NOT_IN_GIT and name not in links]
        found += [str(pathlib.Path(folder, name).relative_to(project)) for name in files + links]
    return sorted(name for name in found if not name.endswith(".pyc"))


class Checkout:
    """The files of a checkout, and which scenarios depend on which of them.

    Attributes:
        project: pathlib.Path.
        files: list of str, as from files_of.
        layers: list of str, lowest first.
        metadata: dict, as from read_metadata.
        scenarios: list of str.
    """

    def __init__(self, project=PROJECT):
        """Read the files, the layers and the metadata of the checkout."""
        self.project = pathlib.Path(project)
        self.files = files_of(self.project)
        self.layers = self.read("group_vars/all/site.yml")["layers"]
        self.metadata = read_metadata(self.project)
        self.scenarios = [
            path.split("/")[1] for path in self.files if re.fullmatch(r"molecule/[^/]+/molecule\.yml", path)
        ]
        self.modules = {
            pathlib.PurePath(path).stem: path for path in self.files if re.fullmatch(r"plugins/modules/\w+\.py", path)
        }

    def read(self, path):
        """Read a YAML file (path: str, relative to the checkout)."""
        return parse((self.project / path).read_text())

    @functools.cached_property
    def roles(self):
        """Return the folders of all roles on the roles_path of ansible.cfg (a dict of str by name)."""
        settings = configparser.ConfigParser(interpolation=None)
        settings.read(self.project / "ansible.cfg")
        # The first folder wins, as with Ansible.
        return {
            name: f"{folder}/{name}"
            for folder in reversed(settings["defaults"]["roles_path"].split(":"))
            for name in {path.removeprefix(f"{folder}/").split("/")[0] for path in self.below(folder)}
        }

    @functools.cached_property
    def folders(self):
        """Return the files below each folder, and for each file the file itself (a dict from str to lists of str)."""
        found: dict[str, list[str]] = {}
        for name in self.files:
            for path in (name, *map(str, pathlib.PurePath(name).parents)):
                found.setdefault(path, []).append(name)
        return found

    def below(self, path):
        """Return a file or all files of a folder (str; list of str)."""
        return self.folders.get(path.strip("/"), [])

    def layers_of(self, name):
        """Return the layers on a scenario's hosts, lowest first, including its own (name: str; list of str)."""
        own = self.metadata["scenarios"].get(name) or {}
        top = name if name in self.layers else own.get("on_top_of", own.get("up_to"))
        return self.layers[: self.layers.index(top) + 1] if top else []

    @functools.cached_property
    def closures(self):
        """Return the files that each scenario uses: a dict from names to sets of str."""
        return {name: Closure(self, name).paths for name in self.scenarios}

    @functools.cached_property
    def affected(self):
        """Return the scenarios that each file can affect: a dict from paths (str) to sets of str."""
        return {path: self._affected_by(path) for path in self.files}

    def _affected_by(self, path):
        if self.harmless(path):
            return set()
        for entry in self.metadata["narrower"]:
            if any(path == own or path.startswith(own + "/") for own in entry["paths"]):
                if "from_layer" in entry:
                    return {name for name in self.scenarios if entry["from_layer"] in self.layers_of(name)}
                return set(entry["scenarios"])
        found = {name for name in self.scenarios if path in self.closures[name]}
        return found if found and AREAS.match(path) else set(self.scenarios)

    def harmless(self, path):
        """Return why a file affects no scenario (str), or None when it may affect some."""
        found = [
            reason for own, reason in self.metadata["affect_none"].items() if path == own or path.startswith(own + "/")
        ]
        return "documentation" if README.fullmatch(path) else found[0] if found else None

    def dependencies(self, name):
        """Return the files that a scenario depends on (name: str; a list of str, sorted)."""
        return [path for path in self.files if name in self.affected[path]]

    def state(self, name):
        """Return the state of the files that a scenario depends on.

        Args:
            name: str, the scenario.

        Returns:
            A str of 20 hexadecimal digits, which changes if a file is changed, added, removed, renamed, or made
            executable. Of molecule/scenarios.yml, only the scenario's own properties count.
        """
        whole = hashlib.sha256(json.dumps(self.metadata["scenarios"].get(name), sort_keys=True).encode())
        for path in self.dependencies(name):
            if path != METADATA:
                whole.update(f"{path}\0{self.digest(path)}\n".encode())
        return whole.hexdigest()[:20]

    @functools.cache  # noqa: B019 (each checkout is read once, by a short program)
    def digest(self, path):
        """Return a hash of a file's content and mode, or the target of a link (path: str; str)."""
        file = self.project / path
        if file.is_symlink():
            return f"link {file.readlink()}"
        executable = "x" if file.stat().st_mode & 0o100 else "-"
        return f"{executable} {hashlib.sha256(file.read_bytes()).hexdigest()}"


class Closure:
    """The files that a scenario uses.

    Attributes:
        paths: set of str, files of the checkout.
    """

    def __init__(self, checkout, name):
        """Follow a scenario (checkout: Checkout, name: str)."""
        self.checkout, self.name = checkout, name
        self.paths: set[str] = set()
        self.settings = merge(
            checkout.read(".config/molecule/config.yml"), checkout.read(f"molecule/{name}/molecule.yml") or {}
        )
        layers = checkout.layers_of(name)
        self.variables = {"scenario_name": name, "provisioner": self._provisioner()}
        self.add(f"molecule/{name}")
        for layer in layers:
            # prepare.yml applies them.
            self.add(f"playbooks/{layer}.yml")
        for gate in [*layers, name]:
            self.add(f"tests/{gate}")
        ansible = self.settings["ansible"]
        for argument in ansible["executor"]["args"]["ansible_playbook"]:
            self._follow_text(self._own(argument))
        for step in self.settings["scenario"]["test_sequence"]:
            action, _, argument = step.partition(" ")
            if argument:
                self.add(os.path.normpath(f"molecule/{name}/{argument}"))
            elif action == "idempotence":
                continue
            elif "/" in (playbook := self._own(ansible["playbooks"][action])):
                self._follow_text(playbook)

    def _own(self, text):
        """Replace Molecule's variables in a setting (str)."""
        return text.replace("${MOLECULE_PROJECT_DIRECTORY}/", "").replace("${MOLECULE_SCENARIO_NAME}", self.name)

    def _provisioner(self):
        """Return the provisioner of the scenario's inventories (str)."""
        found = None
        for argument in self.settings["ansible"]["executor"]["args"]["ansible_playbook"]:
            for path in self.checkout.below(self._own(argument).partition("=")[2]):
                if path.endswith(".yml") and not (self.checkout.project / path).is_symlink():
                    content = self.checkout.read(path) or {}
                    found = content.get("provisioner", found)
        return found

    def add(self, path):
        """Add a file, or every file of a folder, and the files that these use (path: str)."""
        for name in self.checkout.below(path):
            if name not in self.paths:
                self.paths.add(name)
                self._follow(name)

    def _follow(self, path):
        """Add the files that a file uses."""
        file = self.checkout.project / path
        if file.is_symlink():
            self.add(os.path.normpath(pathlib.PurePath(path).parent / file.readlink()))
            return
        # Every scenario reads the variables of an inventory; the metadata list who uses the files that they name.
        if path.startswith(("inventories/", "docs/")) or "/group_vars/" in path:
            return
        if path.endswith((".yml", ".yaml")):
            self._walk(self.checkout.read(path), path)
        elif path.endswith(".py") or file.read_bytes()[:80].partition(b"\n")[0].endswith(b"python3"):
            imports, texts = parse_program(file.read_text())
            self._add_imports(imports)
            for text in texts:
                self._follow_text(text)
            if path.startswith("tests/"):
                self.add("tests/conftest.py")
        elif path.endswith(".j2"):
            self._follow_text(file.read_text())

    def _walk(self, node, path, prose=False):
        """Add the files that a piece of YAML uses (prose: bool, whether it is text for people)."""
        if isinstance(node, dict):
            for key, value in node.items():
                action = str(key).rpartition(".")[2]
                if action in ROLE_ACTIONS and isinstance(value, dict):
                    self._add_roles(value["name"], node)
                elif key == "roles" and isinstance(value, list):
                    for role in value:
                        self._add_roles(role if isinstance(role, str) else role.get("role", role.get("name")), node)
                elif action in FILE_ACTIONS:
                    target = value if isinstance(value, str) else value.get("file", "")
                    self.add(os.path.normpath(pathlib.PurePath(path).parent / target))
                elif action == "verify_layer" and isinstance(value, dict):
                    self.add(f"tests/{self._fill(value['layer'])}")
                elif key == "scenario_gates" and isinstance(value, list):
                    for gate in value:
                        self.add(f"tests/{gate}")
                if action in self.checkout.modules:
                    self.add(self.checkout.modules[action])
                self._walk(value, path, prose or key in PROSE)
        elif isinstance(node, list):
            for item in node:
                self._walk(item, path, prose)
        elif isinstance(node, str) and not prose:
            self._follow_text(node)

    def _fill(self, text):
        """Insert the known values into a template (str)."""
        for name, value in self.variables.items():
            text = re.sub(r"{{ *" + name + r" *}}", str(value), text)
        return text

    def _add_roles(self, name, task):
        """Add the roles that a name can mean: a template means the items of the task's loop, or else any matching role.

        Args:
            name: str.
            task: dict, the task or play that names the role.
        """
        name = self._fill(name)
        loop = task.get("loop")
        names = loop if TEMPLATE.fullmatch(name) and isinstance(loop, list) else [name]
        for each in names:
            pattern = ".*".join(re.escape(part) for part in TEMPLATE.split(each))
            for role, folder in self.checkout.roles.items():
                if re.fullmatch(pattern, role):
                    self.add(folder)

    def _follow_text(self, text):
        """Add the files whose paths a text (str) contains."""
        for path in PATH.findall(self._fill(text)) if "/" in text else ():
            self.add(os.path.normpath(path))

    def _add_imports(self, names):
        """Add the project's own modules among imported names (set of str)."""
        for name in names:
            parts = name.removeprefix("ansible.").strip(".").split(".")
            for length in range(1, len(parts) + 1):
                for start in ("tests/", "scripts/lib/", "", "plugins/"):
                    candidate = start + "/".join(parts[:length])
                    self.add(f"{candidate}.py")
                    # All modules of a package belong together.
                    if f"{candidate}/__init__.py" in self.checkout.folders:
                        self.add(candidate)


def read_records(project=PROJECT):
    """Read the states at which the scenarios passed.

    Args:
        project: pathlib.Path of the checkout.

    Returns:
        A dict from scenarios to states (str).
    """
    path = project / RECORDS
    lines = path.read_text().splitlines() if path.exists() else []
    # Conflict markers, and other lines that are not records, are ignored.
    words = [line.split() for line in lines if not line.startswith(("#", "<", "=", ">"))]
    return {pair[0]: pair[1] for pair in words if len(pair) == 2}


def record(name, state, project=PROJECT):
    """Record the state at which a scenario passed, or remove its record.

    Args:
        name: str, the scenario.
        state: str, or None if it failed.
        project: pathlib.Path of the checkout.
    """
    records = read_records(project)
    records.pop(name, None)
    if state:
        records[name] = state
    lines = [f"{each} {records[each]}\n" for each in sorted(records)]
    (project / RECORDS).write_text(RECORDS_HEAD + "".join(lines))


def unusual(environment=os.environ):
    """Return the variables of an environment that change the scenarios.

    Args:
        environment: mapping of str.

    Returns:
        A list of str, the variables' names; empty if records apply to this environment.
    """
    set_here = {name: environment[name] for name in ENVIRONMENT if environment.get(name)}
    return [name for name in set_here if (name, set_here[name]) != ("VITRINE_SUITE", "bookworm")]


def main(arguments):
    """Print states, or the scenarios that files can affect (arguments: list of str, paths; returns the exit code)."""
    checkout = Checkout()
    if arguments:
        found = {path: sorted(checkout.affected[path]) for path in checkout.files if path in arguments}
    else:
        found = {name: checkout.state(name) for name in checkout.scenarios}
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
