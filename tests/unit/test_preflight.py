"""What the preflight finds in an inventory before anything is changed; nothing here connects to a host."""

import datetime
import ipaddress
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible import constants
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plugins.action import check_arguments, check_certificate, check_inventory
from vitrine_cli.site import PROJECT, TEST_INVENTORIES, known_inventories, read_inventory

FOLDERS = [PROJECT / "roles", PROJECT / "testbed/roles"]
KNOWN, PREFIXES = check_inventory.known_variables(FOLDERS)
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
SITE = """
all: {vars: {site_name: preflight, secrets_dir: SECRETS, study_import_images: false, MORE}}
storage: {hosts: {storage01: {internal_address: 192.168.1.11}}}
database: {hosts: {database01: {internal_address: 192.168.1.12}}}
omero_readwrite: {hosts: {omero01: {internal_address: 192.168.1.13}}}
web: {hosts: {omero01: }}
proxy: {hosts: {proxy01: {internal_address: 192.168.1.14}}}
jupyterhub: {hosts: {hub01: {internal_address: 192.168.1.15}}}
"""
ZIP = "0" * 64


def sources_of():
    """Return every inventory of the checkout that asks no cloud, as lists of sources."""
    found = [["groups.yml", f"inventories/{name}/hosts.yml"] for name in known_inventories()]
    extra = [path for path in (PROJECT / "molecule").glob("*/inventory") if path.parent.name != "openstack"]
    return [*found, TEST_INVENTORIES, *([*TEST_INVENTORIES, str(path.relative_to(PROJECT))] for path in sorted(extra))]


@pytest.mark.parametrize("sources", sources_of(), ids=lambda sources: sources[-1])
def test_names_of_the_checkout(sources):
    """No inventory of the checkout has a name that the preflight would complain about."""
    inventory, manager, loader = read_inventory(sources)
    places = check_inventory.own_variables(HostVars(inventory, manager, loader))
    assert len(places) > 5
    own = manager.get_vars(host=inventory.get_host("localhost"))["site_own_variables"]
    assert check_inventory.judge_variables(places, KNOWN, PREFIXES, own) == ([], [])
    groups = {name: [host.name for host in group.get_hosts()] for name, group in inventory.groups.items()}
    assert check_inventory.judge_groups(groups, check_inventory.known_groups()) == []


def test_where_a_variable_is_set(tmp_path):
    """Variables of hosts.yml, group_vars and host_vars of the inventory are found, those of the checkout are not."""
    (tmp_path / "hosts.yml").write_text("all: {vars: {one: 1}}\nweb: {hosts: {web01: {two: 2}}}\n")
    for name, text in {"group_vars/web.yml": "three: 3\n", "host_vars/web01/a.yml": "four: 4\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    places = check_inventory.own_variables(HostVars(*read_inventory([str(tmp_path)])))
    assert places == {
        "one": "the group all (inventory)",
        "two": "the host web01 (inventory)",
        "three": "the group web (inventory)",
        "four": "the host web01 (inventory)",
    }


@pytest.mark.parametrize(
    ("name", "refused", "warned"),
    [
        ("nginx_cache_sise", "expected a known variable, probably nginx_cache_size", ""),
        ("omero_sever_version", "expected a known variable, probably omero_server_version", ""),
        ("database_verson", "expected a known variable, probably database_version", ""),
        ("site_public_nam", "expected a known variable, probably site_public_name", ""),
        ("ngnix_cache_size", "", "the name is similar to nginx_cache_size"),
        ("nginx_cache_of_the_institute", "", "expected one of docs/variables.md"),
        ("institute_mail_relay", "", ""),
        ("nginx_cache_size", "", ""),
        ("ansible_user", "", ""),
        ("site_own", "", ""),
    ],
)
def test_names_of_variables(name, refused, warned):
    """A name that is nearly a known one is refused with that, and the site's own names are free."""
    refusals, warnings = check_inventory.judge_variables(
        {name: "the group all (inventory)"}, KNOWN, PREFIXES, ["site_own"]
    )
    for said, words in ((refusals, refused), (warnings, warned)):
        assert bool(said) == bool(words), said
        assert not words or (words in said[0] and said[0].startswith(f"{name} is set in the group all (inventory)")), (
            said
        )


@pytest.mark.parametrize(
    ("group", "hosts", "near"),
    [
        ("jupiterhub", ["hub01"], "jupyterhub"),
        ("omero_readwrites", ["omero01"], "omero_readwrite"),
        ("jupiterhub", [], None),
        ("institute", ["hub01"], None),
        # All of its hosts are where they belong: it is another name for them.
        ("databases", ["database01"], None),
        ("webs", ["web01"], None),
    ],
)
def test_names_of_groups(group, hosts, near):
    """A group whose name is nearly one of groups.yml is refused, and the site's own groups are free."""
    groups = {group: hosts, "database": ["database01"], "hosts": ["database01", *hosts]}
    found = check_inventory.judge_groups(groups, check_inventory.known_groups(), ["webs"])
    assert bool(found) == bool(near), found
    assert (
        not near or f"has a group '{group}' ({hosts[0]}); expected a group of groups.yml, probably '{near}'" in found[0]
    )


@pytest.mark.parametrize(
    "value",
    ["999.1.1.1", "192.168.1", "192.168.1.011", "storage01", "{{ nothing }}", None, "0.0.0.0", "::1"],  # noqa: S104
)
def test_wrong_addresses(value):
    """An internal_address that no host can have is refused."""
    found = check_inventory.judge_addresses({"web01": value, "web02": "192.168.1.2"})
    assert len(found) == 1
    assert found[0].startswith(
        f"internal_address of web01 is {'not set' if value is None else repr(value)}; expected the "
    )


def test_addresses():
    """Each host has an address of its own."""
    assert check_inventory.judge_addresses({"web01": "192.168.1.1", "web02": "192.168.1.2"}) == []
    assert len(check_inventory.judge_addresses({"web01": "192.168.1.1", "web02": "192.168.1.1"})) == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("images.example.org", None),
        ("Images", None),
        ("192.168.1.1", None),
        ("https://images.example.org", "without http:// or https://"),
        ("images.example.org/omero", "without a path"),
        ("images.example.org:8443", "without a port"),
        ("images example.org", "letters, digits, hyphens and dots"),
        ("images_of.example.org", "letters, digits, hyphens and dots"),
        ("images..example.org", "letters, digits, hyphens and dots"),
        ("", "letters, digits, hyphens and dots"),
        ("{{ institute_name }}", "not an unresolved template"),
        ("999.1.1.1", "a name or an IPv4 address"),
    ],
)
def test_public_names(name, words):
    """A public name is a name alone, or an address."""
    said = check_inventory.judge_public_name(name)
    assert (said is None) == (words is None), said
    assert not words or (words in said and said.startswith(f"site_public_name is '{name}'; expected "))


def test_lookup():
    """A name that the controller cannot resolve is refused with what to do."""
    assert check_inventory.judge_lookup("localhost") is None
    said = check_inventory.judge_lookup("images.invalid")
    for words in ("site_public_name is 'images.invalid'", "DNS record", "/etc/hosts", "site_resolves_on_controller"):
        assert words in said


def parts_of(role):
    """Return a role's options and its defaults as check_arguments reads them."""
    loader = read_inventory(["groups.yml"])[2]
    action = check_arguments.ActionModule(None, None, None, loader, None, None)
    return *action._read(role), loader


@pytest.fixture(autouse=True)
def roles_path(monkeypatch):
    """Look for roles in the checkout."""
    monkeypatch.setattr(constants, "DEFAULT_ROLES_PATH", list(map(str, FOLDERS)))


def roles_of_the_preflight():
    """Return the roles that the preflight examines."""
    plays = yaml.safe_load((PROJECT / "playbooks/preflight.yml").read_text())
    groups = next(play["vars"]["preflight_roles"] for play in plays if "vars" in play)
    return sorted({role for roles in groups.values() if isinstance(roles, list) for role in roles} | {"study"})


@pytest.mark.parametrize("role", roles_of_the_preflight())
def test_defaults_need_no_facts(role):
    """With its own defaults, nothing is said of a role but what the inventory has to give."""
    spec, defaults, loader = parts_of(role)
    required = {name for name, option in spec.items() if option.get("required")}
    variables = {"inventory_hostname": "web01", "ansible_facts": {}, "groups": {}, **defaults}
    # A role's input may be computed from what has to be given.
    variables |= {name: [] if spec[name]["type"] == "list" else "1" for name in required - {"omero_server_database"}}
    variables |= dict.fromkeys(("omero_public_group", "omero_curator_user", "omero_curator_password"), "1")
    variables |= {"network_services": {"omero": {"port": 4064}}}
    templar = Templar(loader=loader, variables=variables)
    said = check_arguments.examine(spec, variables, templar.template, role)
    assert [each for each in said if "omero_server_database of" not in each] == []


def lists_of_dicts():
    """Yield role and variable of every input that is a list of dictionaries."""
    for path in sorted((PROJECT / "roles").glob("*/meta/argument_specs.yml")):
        for spec in yaml.safe_load(path.read_text())["argument_specs"].values():
            for name, option in (spec.get("options") or {}).items():
                if option.get("type") == "list" and option.get("elements") == "dict":
                    yield path.parents[1].name, name, option


@pytest.mark.parametrize(("role", "name", "option"), {each[:2]: each for each in lists_of_dicts()}.values())
@pytest.mark.parametrize("value", ["one", ["one"], [["one"]], {"one": 1}, 1])
def test_lists_of_dictionaries(role, name, option, value):
    """A value of another type is refused with the variable, the value and what is expected."""
    said = check_arguments.examine({name: option}, {name: value}, lambda raw: raw, role)
    assert len(said) == 1
    assert said[0].startswith(f"{name} of {{hosts}} is ")
    assert "; expected a list of dictionaries" in said[0]
    assert f"Correct it in the inventory (roles/{role}/README.md)." in said[0]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ({"type": "int"}, "4 GiB", "expected a whole number"),
        ({"type": "int"}, "4", ""),
        ({"type": "list", "elements": "str"}, "one,two", "it is text"),
        ({"type": "dict"}, "a=b", "it is text"),
        ({"type": "str", "choices": ["a", "b"]}, "c", "expected text, of a, b"),
        (
            {"type": "list", "elements": "dict", "options": {"name": {"type": "str", "required": True}}},
            [{}],
            "name (required)",
        ),
        (
            {"type": "list", "elements": "dict", "options": {"name": {"type": "str"}}},
            [{"nme": "a"}],
            "Supported parameters include: name",
        ),
    ],
)
def test_types(option, value, words):
    """A value is compared as Ansible does, but a text is no list and no dictionary."""
    said = check_arguments.examine({"it": option}, {"it": value}, lambda raw: raw, "web")
    assert bool(said) == bool(words), said
    assert not words or words in said[0]


def test_secrets_are_hidden():
    """Neither a secret variable nor a secret in a list is shown, and a long value is cut."""
    spec = {"it_password": {"type": "int"}, "users": {"type": "int"}, "long": {"type": "int"}}
    values = {
        "it_password": "hunter2hunter2",
        "users": [{"name": "a", "password": "hunter3hunter3"}],
        "long": "a" * 1000,
    }
    said = "\n".join(check_arguments.examine(spec, values, lambda raw: raw, "web"))
    assert "hunter2" not in said
    assert "it_password of {hosts} is hidden" in said
    assert "a" * 101 not in said.replace("Correct", "")[: said.index("expected")]


@pytest.mark.parametrize(
    "value",
    [
        [{"name": "a", "pasword": "hunter2hunter2"}],
        [{"name": "a", "password": "b", "omero.db.pass": "hunter2hunter2"}],
        [{"name": {}, "a": "b", "initial": {"pass": "hunter2hunter2"}}],
        ["hunter2hunter2"],
        "a:hunter2hunter2",
        {"a": "hunter2hunter2"},
    ],
)
def test_a_secret_in_a_wrong_place_is_hidden(value):
    """Under a name with a mistake, or without one, a secret of a list is not shown either, but what is wrong is."""
    options = {"name": {"type": "str"}, "password": {"type": "str", "required": True}}
    spec = {"users": {"type": "list", "elements": "dict", "options": options}}
    (said,) = check_arguments.examine(spec, {"users": value}, lambda raw: raw, "web")
    assert "hunter2" not in said
    assert said.startswith("users of {hosts} is ")
    assert "; expected a list of dictionaries with name, password (required)" in said


def test_one_mistake_of_several_hosts():
    """It is told once, and no more than ten lines are."""
    faults = [(host, "it of {hosts} is 1; expected 2.") for host in ("web01", "web02")]
    assert check_arguments.merge(faults) == ["it of web01, web02 is 1; expected 2."]
    many = check_arguments.shorten([str(number) for number in range(15)]).splitlines()
    assert len(many) == 10
    assert many[-1] == "... and 6 more."


class Authority:
    """A certificate authority for a test."""

    def __init__(self, name, parent=None):
        """Issue its own certificate, by itself or by another authority (parent)."""
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = (parent or self).issue(self.name, self.key, (), 0, 3650)

    def issue(self, subject, key, names, begins=-10, ends=90):
        """Issue a certificate for names (iterable of str), valid between two days (int) from NOW."""
        alternatives = [
            x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names
        ]
        builder = x509.CertificateBuilder(
            issuer_name=self.name,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=NOW + datetime.timedelta(begins),
            not_valid_after=NOW + datetime.timedelta(ends),
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return builder.sign(self.key, hashes.SHA256())


ROOT = Authority("root")
MIDDLE = Authority("middle", ROOT)
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
SUBJECT = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "images.example.org")])


def leaf(*names, **days):
    """Return a certificate for these names."""
    return MIDDLE.issue(SUBJECT, KEY, names, **days)


GOOD = leaf("images.example.org")


@pytest.mark.parametrize(
    ("certificates", "key", "name", "refused", "warned"),
    [
        ([GOOD, MIDDLE.certificate], KEY, "images.example.org", "", ""),
        ([GOOD, MIDDLE.certificate, ROOT.certificate], KEY, "IMAGES.example.org", "", ""),
        ([GOOD], KEY, "images.example.org", "", "does not include the certificate of its issuer, 'CN=middle'"),
        ([GOOD, ROOT.certificate], KEY, "images.example.org", "which did not issue it", ""),
        ([GOOD, ROOT.certificate, MIDDLE.certificate], KEY, "images.example.org", "which did not issue it", ""),
        ([MIDDLE.certificate, GOOD], KEY, "", "does not have the server's own certificate first", ""),
        ([GOOD, MIDDLE.certificate], OTHER_KEY, "images.example.org", "does not match its key", ""),
        ([GOOD, MIDDLE.certificate], KEY, "www.example.org", "is for images.example.org; expected www.example.org", ""),
        ([leaf("*.example.org"), MIDDLE.certificate], KEY, "images.example.org", "", ""),
        ([leaf("*.example.org"), MIDDLE.certificate], KEY, "a.images.example.org", "is for *.example.org", ""),
        ([leaf("192.168.1.1"), MIDDLE.certificate], KEY, "192.168.1.1", "", ""),
        ([leaf("images.example.org"), MIDDLE.certificate], KEY, "192.168.1.1", "expected 192.168.1.1", ""),
        ([leaf(), MIDDLE.certificate], KEY, "images.example.org", "is for no name (subjectAltName)", ""),
        ([leaf("a.org", ends=-1), MIDDLE.certificate], KEY, "a.org", "expired on 2026-05-31", ""),
        ([leaf("a.org", begins=1), MIDDLE.certificate], KEY, "a.org", "is not valid before 2026-06-02 00:00 UTC", ""),
        ([leaf("a.org", ends=7), MIDDLE.certificate], KEY, "a.org", "", "expires on 2026-06-08, in less than 30 days"),
        ([ROOT.certificate], ROOT.key, "", "", ""),
    ],
)
def test_certificates(certificates, key, name, refused, warned):
    """A certificate that the service could not use is refused, and one that soon ends is warned of."""
    refusals, warnings = check_certificate.judge(certificates, key, name, 30, NOW)
    for said, words in ((refusals, refused), (warnings, warned)):
        assert bool(said) == bool(words), said
        assert not words or words in said[0], said


def pem_of(key, password=None):
    """Return a key as PEM (bytes), with a passphrase (bytes) or without."""
    way = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, way)


def test_files_of_certificates():
    """What cannot be read is refused with what is expected."""
    assert check_certificate.read_certificates(b"nothing")[1].startswith("contains no readable certificate")
    assert check_certificate.read_certificates(GOOD.public_bytes(serialization.Encoding.PEM))[0] == [GOOD]
    assert check_certificate.read_key(pem_of(KEY))[1] == ""
    assert check_certificate.read_key(pem_of(KEY, b"secret"))[1].startswith("has a passphrase")
    assert check_certificate.read_key(b"nothing")[1].startswith("contains no readable key")


def preflight(folder, more, *arguments):
    """Run the preflight on an inventory.

    Args:
        folder: Path, for the inventory.
        more: dict, variables of all hosts.
        arguments: str, another playbook and further arguments.

    Returns:
        The exit code (int) and what Ansible prints (str).
    """
    given = {"omero_server_zip_sha256": ZIP, "omero_server_artifacts": "https://example.org", **more}
    text = SITE.replace("SECRETS", str(folder / "secrets")).replace(
        "MORE", yaml.safe_dump(given, default_flow_style=True, width=10**6).strip()[1:-1]
    )
    (folder / "site").mkdir()
    (folder / "site/groups.yml").symlink_to(PROJECT / "groups.yml")
    (folder / "site/hosts.yml").write_text(text)
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            f"--inventory={folder}/site",
            *(arguments or ["playbooks/preflight.yml"]),
        ],
        env=os.environ | {"ANSIBLE_CONFIG": f"{PROJECT}/ansible.cfg", "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_site_with_defaults(tmp_path):
    """A site that sets nothing but what it has to is accepted, with JupyterHub's own defaults."""
    (tmp_path / "key").write_bytes(pem_of(KEY))
    (tmp_path / "key").chmod(0o644)
    issued = MIDDLE.issue(SUBJECT, KEY, ["localhost"], 0, 36500)
    (tmp_path / "pem").write_bytes(issued.public_bytes(serialization.Encoding.PEM))
    files = {"nginx_cache_certificate": f"{tmp_path}/pem", "nginx_cache_certificate_key": f"{tmp_path}/key"}
    code, said = preflight(
        tmp_path, files | {"site_public_name": "localhost", "site_of_mine": 1, "site_own_variables": ["site_of_mine"]}
    )
    assert code == 0, said[-3000:]
    assert "does not include the certificate of its issuer" in said
    assert "every user of the controller can read" in said


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"nginx_cache_sise": "5g", "internal_address": "999.1.1.1"},
            [
                "nginx_cache_sise is set in the group all (inventory)",
                "expected a known variable, probably nginx_cache_size",
            ],
        ),
        (
            {"omero_web_apps": ["iviewer"], "admin_users_list": "alice", "jupyterhub_users": [{"nme": "alice"}]},
            [
                'omero_web_apps of omero01 is ["iviewer"]; expected a list of dictionaries with name (required)',
                "is 'alice'; expected a list of dictionaries with name (required), keys (required), comment: it is",
                "jupyterhub_users of hub01 is",
                "with name (required), admin",
            ],
        ),
        ({"study": "/nowhere"}, ["study is '/nowhere', and /nowhere is not a folder on the controller"]),
        (
            {"nginx_cache_certificate": "/nowhere.pem", "nginx_cache_certificate_key": "/nowhere.key"},
            ["nginx_cache_certificate is '/nowhere.pem', which does not exist on the controller; expected a file"],
        ),
    ],
)
def test_what_the_preflight_refuses(tmp_path, more, words):
    """A mistake is refused with the variable, its value and what is expected, in few lines."""
    code, said = preflight(tmp_path, more)
    assert code != 0, "it was taken"
    lines = (
        said[said.index("fatal: ") :].partition("NO MORE HOSTS LEFT")[0].partition("PLAY RECAP")[0].strip().splitlines()
    )
    # Ansible's own, and at most ten of the message.
    assert len(lines) <= 13, said
    flat = " ".join(" ".join(lines).split())
    assert [each for each in words if each not in flat.replace("''", "'")] == [], flat


def test_connections_are_new():
    """SSH compares the hosts' keys in every deploy, before anything is asked of a host."""
    plays = [play["name"] for play in yaml.safe_load((PROJECT / "playbooks/site.yml").read_text())]
    assert plays[:4] == ["Preflight", "Provision", "Connect", "Facts"]
    first = yaml.safe_load((PROJECT / "playbooks/connect.yml").read_text())[0]
    assert first["gather_facts"] is False
    assert first["tasks"][0]["ansible.builtin.meta"] == "reset_connection"


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({"site_public_name": "localhost"}, False),
        ({"site_public_name": "images.invalid"}, True),
        (
            {"site_public_name": "images.invalid", "name_resolution_addresses": {"images.invalid": "192.168.1.14"}},
            False,
        ),
    ],
)
def test_the_public_name_on_a_host(tmp_path, settings, refused):
    """A name that the visiting host cannot resolve is refused, unless the deploy will write it to /etc/hosts."""
    start = "--start-at-task=Look up the site's public name on the visitor's host"
    code, said = preflight(tmp_path, settings | {"ansible_connection": "local"}, "playbooks/connect.yml", start)
    assert bool(code) == refused, said
    assert ("cannot resolve; expected the proxy's address" in " ".join(said.split())) == refused


def test_every_rule_is_checked():
    """The preflight includes the rules of each role that it knows and that has any."""
    play = next(each for each in yaml.safe_load((PROJECT / "playbooks/preflight.yml").read_text()) if "vars" in each)
    listed = next(task["loop"] for task in play["tasks"] if "ansible.builtin.include_role" in task)
    with_rules = {role for role in roles_of_the_preflight() if (PROJECT / f"roles/{role}/tasks/validate.yml").exists()}
    assert sorted(listed) == sorted(with_rules)
