"""The documentation names what exists: its commands, with options, files, tags and variables, and its links."""

import argparse
import contextlib
import functools
import importlib
import io
import itertools
import json
import pathlib
import re
import shlex

import pytest
import yaml

from vitrine_cli import bench, checks, deploy, destroy, new_site, prose, run
from vitrine_cli.site import PROJECT, RefusedError, known_inventories, prepare_ansible

PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "testbed/README.md", "testbed/omero_server/README.md"]
PAGES += sorted(str(path.relative_to(PROJECT)) for path in (PROJECT / "docs").rglob("*.md"))
PARSERS = {"scripts/deploy": deploy.parse, "scripts/destroy": destroy.parse}
PARSERS |= {"scripts/test": checks.parse, "scripts/bench": bench.parse, "scripts/new-site": new_site.parse}
# Ansible's programs, with the classes of their command lines.
ANSIBLE = {"ansible-playbook": ("playbook", "PlaybookCLI"), "ansible": ("adhoc", "AdHocCLI")}
MOLECULE = {"test", "create", "prepare", "converge", "idempotence", "verify", "login", "destroy"}
# Stands for the reader's own site, which scripts/new-site has made.
OWN = re.compile(r"[.][.]/mine(/|$)")
# The example of docs/layers.md.
OWN_LAYER = "monitoring"
FOLDERS = ("demo", "docs", "group_vars", "inventories", "molecule", "playbooks", "plugins", "roles", "scripts")
FOLDERS += ("testbed", "tests")
# As a shell ends a command, or begins another one inside of it.
ENDS = re.compile(r"[();<>|&\n]+")
# A quoted string, which may contain the character that begins a comment, or a comment.
COMMENT = re.compile(r"""('[^']*'|"(?:\\.|[^"\\])*"|\\.)|(?:(?<=\s)|^)#.*$""", re.MULTILINE)
VARIABLE = re.compile(r"[A-Za-z_]\w*=")


def text_of(page):
    """Return the text of a page (page: str, relative to the checkout; str)."""
    return (PROJECT / page).read_text()


def commands(text):
    """Split a piece of shell (str) into its commands: a list of lists of words, without the assignments before them."""
    lexer = shlex.shlex(without_comments(text), posix=True, punctuation_chars=";&|()<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    found: list[list[str]] = [[]]
    for word in lexer:
        if ENDS.fullmatch(word):
            found.append([])
        elif found[-1] or not VARIABLE.match(word):
            found[-1].append(word)
    return [words for words in found if words]


def without_comments(text):
    """Return a piece of shell (str) without its comments, and with continued lines joined."""
    return COMMENT.sub(lambda match: match[1] or "", text).replace("\\\n", " ")


@functools.cache
def help_of(script):
    """Return what a script (str) says about itself: the comment at its top."""
    return re.match(r"#!.*\n((?:#.*\n)+)", text_of(script)).group(1)


@functools.cache
def variables():
    """Return the names of all variables that an inventory can set: a set of str."""
    found = set()
    for path in [
        *PROJECT.glob("roles/*/meta/argument_specs.yml"),
        *PROJECT.glob("testbed/roles/*/meta/argument_specs.yml"),
    ]:
        for spec in yaml.safe_load(path.read_text())["argument_specs"].values():
            found |= (spec.get("options") or {}).keys()
    for pattern in (
        "group_vars/**/*.yml",
        "inventories/*/group_vars/**/*.yml",
        "scripts/lib/bench/group_vars/**/*.yml",
    ):
        for path in PROJECT.glob(pattern):
            found |= yaml.safe_load(path.read_text()).keys()
    for path in PROJECT.glob("inventories/*/hosts.yml"):
        found |= yaml.safe_load(path.read_text())["all"]["vars"].keys()
    return found


def variables_of(playbook):
    """Return the variables that a playbook (str) documents in the comment at its top: a set of str."""
    head = itertools.takewhile(lambda line: line.startswith(("---", "#")), text_of(playbook).splitlines())
    return set(re.findall(r"-e [\"']?(\w+)=", "\n".join(head)))


def layers():
    """Return the layers of a site (list of str)."""
    return yaml.safe_load(text_of("group_vars/all/site.yml"))["layers"]


@functools.cache
def tags():
    """Return the tags of the playbooks: a set of str."""
    plays = [play for path in PROJECT.glob("playbooks/*.yml") for play in yaml.safe_load(path.read_text())]
    entries = plays + [role for play in plays for role in play.get("roles", [])]
    return {tag for entry in entries for tag in entry.get("tags", [])} | {"all"}


def parsed(parse, arguments):
    """Parse a command line.

    Args:
        parse: function that takes the arguments.
        arguments: list of str.

    Returns:
        A tuple of what it returned, or None when it refused the arguments, and what it said (str).
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            return parse(arguments), ""
    except SystemExit as refusal:
        # As after --help.
        return (argparse.Namespace(), "") if not refusal.code else (None, said.getvalue().strip().splitlines()[-1])


def ansible_parser(program):
    """Return a function that parses the arguments of one of Ansible's programs (str)."""
    prepare_ansible()
    module, name = ANSIBLE[program]
    line = getattr(importlib.import_module(f"ansible.cli.{module}"), name)([program])
    line.init_parser()
    return line.parser.parse_args


def faults_of_inventory(place):
    """List what is wrong with an inventory that a command names (str)."""
    there = place in known_inventories() or (PROJECT / place).is_dir() or OWN.match(place)
    return [] if there else [f"there is no inventory {place}"]


def faults_of_ansible(words):
    """List what is wrong with a command of Ansible (list of words)."""
    options, said = parsed(ansible_parser(words[0]), words[1:])
    if options is None:
        return [said]
    faults = [fault for place in options.inventory or () for fault in faults_of_inventory(place)]
    playbooks = getattr(options, "args", []) if words[0] == "ansible-playbook" else []
    faults += [f"there is no playbook {path}" for path in playbooks if not (PROJECT / path).is_file()]
    wanted = {
        tag
        for option in ("tags", "skip_tags")
        for each in getattr(options, option, None) or ()
        for tag in each.split(",")
    }
    faults += [f"no playbook has the tag {tag}" for tag in sorted(wanted - tags())]
    known = variables().union(*(variables_of(path) for path in playbooks if (PROJECT / path).is_file()))
    for text in options.extra_vars or ():
        names = json.loads(text) if text.startswith("{") else [word.partition("=")[0] for word in shlex.split(text)]
        faults += [f"nothing documents the variable {name}" for name in names if name not in known]
    return faults


def faults_of_script(words, whole):
    """List what is wrong with a command of a script (list of words); `whole` is false for a piece in a sentence."""
    script, *arguments = words
    if not (PROJECT / script).is_file():
        return [f"there is no {script}"]
    if script == "scripts/run":
        return faults_of_run(arguments, whole)
    own, _, further = deploy.split_at_dashes(arguments)
    faults = []
    if script == "scripts/podman":
        own = [word for word in own[:1] if word.startswith("-")]
    if whole and script in PARSERS and "--help" not in own:
        options, said = parsed(PARSERS[script], own)
        if options is None:
            return [said]
        places = [getattr(options, "inventory", None), *getattr(options, "inventories", ())]
        faults += [fault for place in places if place for fault in faults_of_inventory(place)]
    options = [word.partition("=")[0] for word in own if word.startswith("-")]
    faults += [
        f"{script} has no option {option}"
        for option in options
        if option not in ("--help", "-h") and not re.search(rf"(?<![\w-]){option}(?![\w-])", help_of(script))
    ]
    for option, value in itertools.pairwise(own):
        if option == "--layer" and value not in (*layers(), OWN_LAYER, "LAYER"):
            faults.append(f"there is no layer {value}")
        if option == "--scenario" and value not in (*checks.scenarios(), OWN_LAYER):
            faults.append(f"there is no scenario {value}")
    return faults + (faults_of_ansible(["ansible-playbook", *further, "playbooks/site.yml"]) if further else [])


def faults_of_run(arguments, whole):
    """List what is wrong with the arguments of scripts/run (list of str); `whole` as for faults_of_script."""
    if not arguments or arguments[0].startswith("-"):
        return []
    try:
        playbook = run.find_playbook(arguments[0])
    except RefusedError as refusal:
        return [str(refusal)]
    if not whole and len(arguments) < 2:
        return []
    options, said = parsed(run.parse, arguments)
    if options is None:
        return [said]
    return faults_of_inventory(options.inventory) + faults_of_ansible(["ansible-playbook", *options.ansible, playbook])


def faults_of_molecule(words):
    """List what is wrong with a command of Molecule (list of words)."""
    faults = [f"molecule has no command {words[1]}"] if len(words) > 1 and words[1] not in MOLECULE else []
    for option, value in itertools.pairwise(words):
        if option in ("-s", "--scenario-name") and value not in checks.scenarios():
            faults.append(f"there is no scenario {value}")
    return faults


def faults_of_paths(words):
    """List the paths of the checkout among words that lead nowhere."""
    paths = [word.removeprefix("$PWD/").partition("::")[0] for word in words]
    paths = [path for path in paths if path.startswith(tuple(f"{folder}/" for folder in FOLDERS)) and "=" not in path]
    made = re.compile(r"inventories/[^/]+/secrets(/|$)")
    return [
        f"there is no {path}"
        for path in paths
        if not (OWN.match(path) or made.match(path) or "$" in path or list(PROJECT.glob(path)))
    ]


def faults_of_command(words, whole=True):
    """List what is wrong with a command.

    Args:
        words: list of str.
        whole: bool, whether it can be run like this; false for a piece in a sentence.

    Returns:
        A list of str.
    """
    name = words[0]
    faults = faults_of_paths(words[1:])
    if name.startswith("scripts/"):
        faults += faults_of_script(words, whole)
    elif name in ANSIBLE and whole:
        faults += faults_of_ansible(words)
    elif name == "molecule":
        faults += faults_of_molecule(words)
    elif name.startswith("vitrine-") and not list(PROJECT.glob(f"roles/*/files/{name}")):
        faults.append(f"no role has the program {name}")
    for option, value in itertools.pairwise(words):
        file = f"scripts/lib/{value.replace('.', '/')}.py"
        if option == "-m" and value.startswith("vitrine_cli.") and not (PROJECT / file).is_file():
            faults.append(f"there is no {file}")
    return list(dict.fromkeys(faults))


def faults_of_page(text):
    """List what is wrong with the commands of a page (str): a list of str, which begin with the command."""
    found = [(words, True) for _, block in prose.blocks(text) for words in commands(block)]
    for span in prose.spans(text):
        if span.startswith(("scripts/", *(f"{name} " for name in (*ANSIBLE, "molecule")))):
            found += [(words, False) for words in commands(span)]
    return [f"{shlex.join(words)}: {fault}" for words, whole in found for fault in faults_of_command(words, whole)]


def faults_of_links(page, text):
    """List the links of a page that lead nowhere.

    Args:
        page: str, its path relative to the checkout.
        text: str, what it has.

    Returns:
        A list of str.
    """
    faults = []
    for address in prose.links(text):
        found = prose.target_of(page, address)
        if found is None:
            continue
        target, anchor = found
        if target.startswith("..") or not (target == page or (PROJECT / target).exists()):
            faults.append(f"{address}: there is no {target}")
        elif anchor and anchor not in prose.anchors(text if target == page else text_of(target)):
            faults.append(f"{address}: {target} has no heading #{anchor}")
    return faults


@pytest.mark.parametrize("page", PAGES)
def test_commands_name_what_exists(page):
    """Scripts and their options, playbooks, tags, variables, inventories, scenarios, and other files."""
    assert faults_of_page(text_of(page)) == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    """Files and their headings exist, for readers of the checkout and of the site (mkdocs.yml) alike."""
    assert faults_of_links(page, text_of(page)) == []


def test_there_are_commands():
    """The commands are found, so the checks above do not pass for lack of commands."""
    found = [words[0] for page in PAGES for _, block in prose.blocks(text_of(page)) for words in commands(block)]
    programs = {"scripts/deploy", "scripts/destroy", "scripts/new-site", "scripts/run", "scripts/test"}
    assert programs | {"ansible-playbook", "ansible", "molecule"} <= set(found)


def test_playbooks_are_run_one_way():
    """By scripts/run, which needs no environment and no folder; ansible-playbook is shown where it is explained."""
    pages = [page for page in PAGES if re.search(r"^\s*ansible-playbook .*playbooks/", text_of(page), re.MULTILINE)]
    assert pages == ["docs/before-you-start.md"]


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("scripts/deply demo", "there is no scripts/deply"),
        ("scripts/deploy", "the following arguments are required: inventory"),
        ("scripts/deploy demo --chek", "unrecognized arguments: --chek"),
        ("scripts/deploy dmeo", "there is no inventory dmeo"),
        ("scripts/deploy demo --layer databse", "there is no layer databse"),
        ("scripts/deploy demo --layer gate", "there is no layer gate"),
        ("scripts/deploy demo -- -e provision_openstack_remove=true", "the variable provision_openstack_remove"),
        ("scripts/destroy demo --volume", "unrecognized arguments: --volume"),
        ("scripts/new-site lab --form static", "the following arguments are required: --from"),
        ("scripts/run verfy demo", "There is no playbook 'verfy'"),
        ("scripts/run verify dmeo", "there is no inventory dmeo"),
        ("scripts/run verify", "the following arguments are required: inventory"),
        ("scripts/run site demo --tags verify,apply,none", "no playbook has the tag none"),
        ("scripts/run maintenance demo -e maintainance=on", "the variable maintainance"),
        ("scripts/run verify demo --no-such-option", "unrecognized arguments: --no-such-option"),
        ("scripts/test --scenario storage-kernl", "there is no scenario storage-kernl"),
        ("scripts/bench proxy demo --key 3", "unrecognized arguments: --key"),
        ("scripts/lock --downgrade", "scripts/lock has no option --downgrade"),
        ("scripts/podman --relase", "scripts/podman has no option --relase"),
        ("ansible-playbook playbooks/sites.yml -i inventories/demo", "there is no playbook playbooks/sites.yml"),
        ("ansible-playbook playbooks/site.yml -i inventories/dmeo", "there is no inventory inventories/dmeo"),
        (
            "ansible-playbook playbooks/site.yml -i inventories/demo --tag verify,apply,none",
            "no playbook has the tag none",
        ),
        ("ansible-playbook playbooks/site.yml --no-such-option", "unrecognized arguments: --no-such-option"),
        ("ansible-playbook playbooks/maintenance.yml -e maintainance=on", "the variable maintainance"),
        ("ansible-playbook playbooks/verify.yml -e '{\"layer\": []}'", "the variable layer"),
        ("ansible hosts -i inventories/dmeo -m ping", "there is no inventory inventories/dmeo"),
        ("molecule test -s databse", "there is no scenario databse"),
        ("molecule tset -s database", "molecule has no command tset"),
        ("vitrine-mount-gard x.json", "no role has the program vitrine-mount-gard"),
        ("python -m vitrine_cli.dependency", "there is no scripts/lib/vitrine_cli/dependency.py"),
        ("cat docs/no-such-page.md", "there is no docs/no-such-page.md"),
        ("true && A=b scripts/no-such | head", "there is no scripts/no-such"),
    ],
)
def test_faults_in_commands_are_found(command, fault):
    """In a block, of each kind."""
    faults = faults_of_page(f"Text.\n\n```sh\n{command}   # a comment\n```\n")
    assert len(faults) >= 1, "nothing was found"
    assert any(fault in each for each in faults), faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("see `scripts/deploy demo --layr x`", "has no option --layr"),
        ("see `scripts/test --scenario\nno-such`", "there is no scenario no-such"),
        ("```console\n$ scripts/no-such\nscripts/output\n```", "there is no scripts/no-such"),
    ],
)
def test_faults_elsewhere_are_found(text, fault):
    """Faults in a sentence and in a session are found; the output of a program is not taken for a command."""
    faults = faults_of_page(text)
    assert len(faults) == 1
    assert fault in faults[0]


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("[x](nowhere.md)", "there is no docs/nowhere.md"),
        ("![x](images/nothing.png)", "there is no docs/images/nothing.png"),
        ("[x](../../elsewhere.md)", "there is no ../elsewhere.md"),
        ("[x](gate.md#no-such)", "docs/gate.md has no heading #no-such"),
        ("[x](#no-such)", "docs/page.md has no heading #no-such"),
        ("| a |\n|---|\n| [x](nowhere.md) |", "there is no docs/nowhere.md"),
    ],
)
def test_faults_in_links_are_found(link, fault):
    """Of files, pictures and headings."""
    assert fault in faults_of_links("docs/page.md", f"# Page\n\n{link}\n")[0]


@pytest.mark.parametrize(
    "link", ["[x](gate.md#the-gate)", "[x](#page)", "[x](https://example.org/no.md)", "`[x](no.md)`"]
)
def test_right_links_are_left_alone(link):
    """Links to other sites are not followed, and text that only looks like a link is ignored."""
    assert faults_of_links("docs/page.md", f"# Page\n\n{link}\n") == []


def test_headings_become_anchors():
    """Anchors are made as on GitHub and GitLab: without punctuation, and with a number for the second of a name."""
    assert prose.anchors("# A `b`, c\n\n## A b c\n\nTitle\n-----\n") == {"a-b-c", "a-b-c-1", "title"}


def test_the_site_has_every_page():
    """The navigation of mkdocs.yml names each page of docs/ once; decisions have a list of their own."""

    def leaves(node):
        if isinstance(node, str):
            return [node]
        return [leaf for each in (node.values() if isinstance(node, dict) else node) for leaf in leaves(each)]

    named = leaves(yaml.safe_load(text_of("mkdocs.yml"))["nav"])
    own = [str(pathlib.Path(page).relative_to("docs")) for page in PAGES if re.fullmatch(r"docs/[^/]+\.md", page)]
    assert sorted(set(own) - set(named)) == []
    assert len(named) == len(set(named))
