"""The inventories and the group model: read as Ansible reads them, without a host."""

import json
import pathlib

import ansible
import pytest
import yaml
from ansible.template import Templar

from vitrine_cli.site import (
    PROJECT,
    TEST_INVENTORIES,
    RefusedError,
    known_inventories,
    load_site,
    read_inventory,
)

SETTINGS = PROJECT / "group_vars" / "all"


def groups_of(tree):
    """Return every group name of an inventory tree (dict), with those below."""
    names = set()
    for name, content in tree.items():
        names |= {name} | groups_of((content or {}).get("children", {}))
    return names


@pytest.fixture(scope="module")
def model():
    """Return the names of the group model."""
    return groups_of(yaml.safe_load((PROJECT / "groups.yml").read_text()))


@pytest.fixture(scope="module")
def layers():
    """Return the layers, lowest first."""
    return yaml.safe_load((SETTINGS / "site.yml").read_text())["layers"]


def written(name):
    """Return the files of an inventory (str) but those that would ask a cloud, as sources (list of str)."""
    folder = PROJECT / "inventories" / name
    files = [path for path in sorted(folder.glob("*.yml")) if "only_clouds" not in yaml.safe_load(path.read_text())]
    return [str(path.relative_to(PROJECT)) for path in files]


@pytest.mark.parametrize("name", known_inventories())
def test_an_inventory_has_the_group_model_and_nothing_else(name, model):
    """Each inventory has groups.yml of the checkout, by a link or by the plugin: the groups that the plays use."""
    inventory, _, _ = read_inventory(written(name))
    assert model <= set(inventory.groups)
    own = PROJECT / "inventories" / name / "groups.yml"
    linked = own.is_symlink() and own.resolve() == PROJECT / "groups.yml"
    assert linked or yaml.safe_load(own.read_text()) == {"plugin": "group_model"}


@pytest.mark.parametrize("name", known_inventories())
def test_an_inventory_makes_a_site(name):
    """Every inventory has the data that the scripts need."""
    site = load_site(written(name))
    assert site.name
    assert site.layers
    assert site.provisioner


def test_the_servers_that_a_cloud_is_asked_for():
    """They are derived from groups and host variables; until servers exist, a host has no volumes to check."""
    inventory, manager, loader = read_inventory(written("openstack"))
    from ansible.vars.hostvars import HostVars

    def value(host, name):
        values = manager.get_vars(host=inventory.get_host(host)) | {"hostvars": HostVars(inventory, manager, loader)}
        return Templar(loader=loader, variables=values).template(values[name])

    servers = {each["name"]: each for each in value("proxy01", "provision_openstack_servers")}
    assert servers["omero01"]["groups"] == ["hosts", "omero", "omero_readwrite", "web"]
    assert servers["omero01"]["volumes"] == [{"name": "omero", "size": 500}]
    assert [name for name, each in servers.items() if each["floating_ip"]] == ["proxy01"]
    assert value("omero01", "data_volumes") == []
    assert "ProxyCommand" in value("omero01", "ansible_ssh_common_args")
    assert "ProxyCommand" not in value("proxy01", "ansible_ssh_common_args")


def test_a_cloud_that_cannot_be_asked(monkeypatch, tmp_path):
    """Without an entry in clouds.yaml, the inventory is refused with a message that says where to look."""
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    (tmp_path / "clouds.yaml").write_text("clouds: {}")
    with pytest.raises(RefusedError, match=r"clouds[.]yaml"):
        load_site(["inventories/openstack"])


def test_generated_passwords_are_not_hosts(tmp_path):
    """Ansible reads every file of an inventory folder; the secrets beside it must be left out."""
    folder = tmp_path / "site"
    (folder / "secrets" / "users").mkdir(parents=True)
    (folder / "hosts.yml").write_text("all: {hosts: {one: }}\n")
    (folder / "secrets" / "database_password").write_text("hunter2hunter2\n")
    (folder / "secrets" / "users" / "somebody").write_text("hunter3hunter3\n")
    inventory, _, _ = read_inventory([str(folder)])
    assert [host.name for host in inventory.get_hosts()] == ["one"]


def test_hosts_are_in_groups_of_the_model(model):
    """A host outside of the group hosts would get no play."""
    inventory, _, _ = read_inventory(["inventories/demo"])
    assert len(inventory.get_hosts()) == len(inventory.groups["hosts"].get_hosts())
    assert model >= {group for host in inventory.get_hosts() for group in map(str, host.get_groups())} - {"ungrouped"}


@pytest.mark.parametrize("part", ["playbooks/{}.yml", "tests/{}/test_*.py", "molecule/{}/molecule.yml"])
def test_every_layer_is_whole(layers, part):
    """A layer has a playbook, a gate and a scenario."""
    for layer in layers:
        assert list(PROJECT.glob(part.format(layer))), f"the layer {layer} lacks {part.format(layer)}"


def test_every_layer_has_its_group(layers, model):
    """A layer is verified on the hosts of its group."""
    assert set(layers) <= model


def test_every_playbook_of_a_layer_has_a_gate(layers):
    """A layer's playbook ends with its gate, which stops the run for all hosts."""
    for layer in layers:
        plays = yaml.safe_load((PROJECT / "playbooks" / f"{layer}.yml").read_text())
        last = plays[-1]
        assert last["tasks"][-1]["verify_layer"]["layer"] == layer
        assert last["any_errors_fatal"] is True, layer
        assert last["tags"] == [layer, "verify"]
        for play in plays[:-1]:
            # A gate for some of the layer's hosts may come before the layer's own gate.
            is_gate = "verify_layer" in play.get("tasks", [{}])[-1]
            # Facts for a run with the tag of a single role (test_sites.py).
            if play.get("ansible.builtin.import_playbook") != "parts/facts.yml":
                assert play["tags"] == [layer, "verify" if is_gate else "apply"]
            # The site's own tasks are in plays of another file (test_sites.py).
            assert "ansible.builtin.import_playbook" in play or play["any_errors_fatal"] is True, layer


def test_services_are_of_groups_of_the_model(model):
    """The firewall can only be opened for groups that exist."""
    services = yaml.safe_load((SETTINGS / "network.yml").read_text())["network_services_default"]
    for name, service in services.items():
        assert service["group"] in model, name
        assert set(service["clients"]) <= model | {"world"}, name


def test_an_inventory_is_stronger_than_the_shared_settings(tmp_path):
    """Shared settings first, the environment's own after them, from its hosts file as from its group_vars."""
    (tmp_path / "groups.yml").symlink_to(PROJECT / "groups.yml")
    (tmp_path / "hosts.yml").write_text("all: {vars: {database_name: one}}\nweb: {hosts: {here: {}}}\n")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("database_user: two\n")
    inventory, manager, _ = read_inventory([str(tmp_path)])
    values = manager.get_vars(host=inventory.get_host("here"))
    shared = yaml.safe_load((SETTINGS / "accounts.yml").read_text())
    assert (values["database_name"], values["database_user"]) == ("one", "two")
    assert values["omero_public_user"] == shared["omero_public_user"]


def test_the_scenarios_hosts_are_the_demos_under_another_name():
    """Tests and demo can run side by side: neither name nor network nor secrets are the same."""
    one, other = (load_site(sources) for sources in (["inventories/demo"], TEST_INVENTORIES))
    assert one.name != other.name
    assert one.snapshots_of != other.snapshots_of
    assert not set(one.addresses) & set(other.addresses)
    assert len(one.addresses) == len(other.addresses)
    assert one.secrets != other.secrets
    assert one.volumes != other.volumes


def test_no_scenario_leaves_out_idempotence_or_verify():
    """The base says what a scenario does; a scenario's own file may add to it, never take away."""
    wanted = yaml.safe_load((PROJECT / ".config/molecule/config.yml").read_text())["scenario"]["test_sequence"]
    assert wanted.index("converge") < wanted.index("verify") < wanted.index("idempotence")
    for path in (PROJECT / "molecule").glob("*/molecule.yml"):
        own = (yaml.safe_load(path.read_text()) or {}).get("scenario", {}).get("test_sequence", wanted)
        # What breaks a layer applies nothing, on hosts to which the layer's own scenario has applied it.
        applied = set() if path.parent.name.endswith("-faults") else {"converge", "idempotence"}
        assert {*applied, "verify"} <= set(own), path


def test_collections_are_those_of_the_package():
    """requirements.yml, for those who install ansible-core alone, names what the package ansible brings."""
    collections = pathlib.Path(ansible.__file__).parents[1] / "ansible_collections"
    for wanted in yaml.safe_load((PROJECT / "requirements.yml").read_text())["collections"]:
        namespace, name = wanted["name"].split(".")
        manifest = json.loads((collections / namespace / name / "MANIFEST.json").read_text())
        assert manifest["collection_info"]["version"] == wanted["version"], wanted["name"]


@pytest.mark.parametrize(
    ("web", "refresh", "public", "refreshing"),
    [
        (["one"], [], ["one:8080"], ["one:8080"]),
        (["one", "two"], [], ["one:8080", "two:8080"], ["one:8080", "two:8080"]),
        (["one", "two"], ["three"], ["one:8080", "two:8080"], ["three:8080"]),
        ([], ["three"], [], ["three:8080"]),
    ],
)
def test_who_answers_the_public(tmp_path, web, refresh, public, refreshing):
    """Visitors do not use a web host that refreshes the cache; without such a host, all web hosts do both."""
    (tmp_path / "groups.yml").symlink_to(PROJECT / "groups.yml")
    groups = {"web": {"hosts": dict.fromkeys(web)}, "web_refresh": {"hosts": dict.fromkeys(refresh)}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(groups))
    inventory, manager, loader = read_inventory([str(tmp_path)])
    values = manager.get_vars(host=inventory.get_host((web + refresh)[0]))
    templar = Templar(loader=loader, variables=values)
    assert sorted(templar.template(values["web_endpoints"])) == public
    assert sorted(templar.template(values["web_refresh_endpoints"])) == refreshing


@pytest.mark.parametrize(
    ("web", "keeper", "shared", "keeps"),
    [(["one"], [], False, "one"), (["one", "two"], [], True, "one"), (["one", "two"], ["three"], True, "three")],
)
def test_who_keeps_the_sessions(tmp_path, web, keeper, shared, keeps):
    """A single web host stores its own sessions; of several, the chosen one or else the first stores those of all."""
    (tmp_path / "groups.yml").symlink_to(PROJECT / "groups.yml")
    groups = {"web": {"hosts": dict.fromkeys(web)}, "web_sessions": {"hosts": dict.fromkeys(keeper)}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(groups))
    inventory, manager, loader = read_inventory([str(tmp_path)])
    values = manager.get_vars(host=inventory.get_host(web[0]))
    templar = Templar(loader=loader, variables=values)
    assert templar.template(values["web_sessions_shared"]) is shared
    assert templar.template(values["web_sessions_endpoint"]) == keeps
