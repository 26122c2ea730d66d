"""Data of a site that the scripts need before they start Ansible, read from its inventory as Ansible does."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib

PROJECT = pathlib.Path(__file__).resolve().parents[3]
# The site of the scenarios, which is the demo under another name.
TEST_INVENTORIES = ["inventories/demo", "molecule/inventory"]


class RefusedError(Exception):
    """The request cannot be carried out; the message gives the reason and the remedy. Nothing was changed."""


@dataclasses.dataclass(frozen=True)
class Site:
    """A site.

    Attributes:
        name: str, prefix of the containers and the network that it has on this machine.
        snapshots_of: str, the name of the site with whose snapshots its hosts start.
        sources: list of str, inventory arguments for Ansible, relative to the checkout if they are in it.
        provisioner: str, how its hosts are created: local, openstack, none ...
        layers: list of str, lowest first.
        addresses: list of str, the hosts' internal addresses.
        state, secrets, reports, cache: pathlib.Path of its folders on the controller.
        volumes: pathlib.Path of its hosts' data volumes, if they are containers.
        own_faults: list of str, messages about its own tasks and checks that would never be used.
    """

    name: str
    snapshots_of: str
    sources: list[str]
    provisioner: str
    layers: list[str]
    addresses: list[str]
    state: pathlib.Path
    secrets: pathlib.Path
    reports: pathlib.Path
    cache: pathlib.Path
    volumes: pathlib.Path
    own_faults: list[str] = dataclasses.field(default_factory=list)

    @property
    def inventory_arguments(self):
        """Return the inventory arguments for Ansible's commands (list of str)."""
        return [f"--inventory={source}" for source in self.sources]


def known_inventories(project=PROJECT):
    """Return the names below inventories/ (list of str)."""
    return sorted(folder.name for folder in (project / "inventories").iterdir() if folder.is_dir())


def find_inventory(wanted, project=PROJECT):
    """Find an inventory by its name or path.

    Args:
        wanted: str, a name below inventories/ or a path.
        project: pathlib.Path of the checkout.

    Returns:
        A str: its path, relative to the checkout if it is in it.

    Raises:
        RefusedError: There is none.
    """
    named = project / "inventories" / wanted
    path = named if wanted and named.exists() else pathlib.Path(wanted)
    if not wanted or not path.exists():
        known = ", ".join(known_inventories(project))
        raise RefusedError(f"There is no inventory '{wanted}'; expected one of {known}, or a path.")
    path = path.resolve()
    return str(path.relative_to(project)) if path.is_relative_to(project) else str(path)


@functools.cache
def prepare_ansible():
    """Make Ansible usable from Python. Must run once, before anything else of Ansible is imported."""
    os.environ["ANSIBLE_CONFIG"] = str(PROJECT / "ansible.cfg")
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader()


def read_inventory(sources):
    """Read an inventory as a run does.

    Args:
        sources: list of str, inventory paths, absolute or relative to the checkout; later ones take precedence.

    Returns:
        A tuple of Ansible's InventoryManager, VariableManager and DataLoader.

    Raises:
        AnsibleError: Ansible cannot read it.
    """
    prepare_ansible()
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.vars.manager import VariableManager

    loader = DataLoader()
    loader.set_basedir(str(PROJECT / "playbooks"))  # beside group_vars, as in a run
    inventory = InventoryManager(loader=loader, sources=[str(PROJECT / source) for source in sources])
    return inventory, VariableManager(loader=loader, inventory=inventory), loader


def load_site(sources):
    """Read a site from its inventory.

    Args:
        sources: list of str, as for read_inventory.

    Returns:
        A Site.

    Raises:
        RefusedError: Ansible cannot read the inventory, or its values are impossible.
    """
    prepare_ansible()
    from ansible.errors import AnsibleError
    from ansible.template import Templar

    try:
        inventory, manager, loader = read_inventory(sources)
        hosts = inventory.groups["hosts"].get_hosts() if "hosts" in inventory.groups else []
        values = manager.get_vars(host=hosts[0] if hosts else inventory.get_host("localhost"))
        # A site without hosts has no inventory_dir from which its name is derived.
        values["inventory_dir"] = values.get("inventory_dir") or str(PROJECT / sources[-1])
        # Ansible sets this only in its own commands.
        values["ansible_inventory_sources"] = [str(PROJECT / source) for source in sources]
        templar = Templar(loader=loader, variables=values)

        def value(name, default=None):
            return templar.template(values[name]) if name in values else default

        name = value("provision_local_name", value("site_name"))
        return Site(
            name=name,
            snapshots_of=value("site_name"),
            sources=list(sources),
            provisioner=value("provisioner"),
            layers=list(value("layers")),
            addresses=[
                str(templar.template(address))
                for host in hosts
                if (address := host.get_vars().get("internal_address")) is not None
            ],
            state=pathlib.Path(value("site_state_dir")),
            secrets=pathlib.Path(value("secrets_dir")),
            reports=pathlib.Path(value("reports_dir")),
            cache=pathlib.Path(value("cache_dir")),
            volumes=pathlib.Path(value("provision_local_volumes_dir", "/var/lib/vitrine"), name),
            own_faults=list(value("site_own_faults")),
        )
    except AnsibleError as problem:
        cloud = " It queries a cloud: see the messages above, and your clouds.yaml (docs/openstack.md)."
        asks = "openstack.yml" in str(problem)
        raise RefusedError(
            f"The inventory {' + '.join(sources)} cannot be read: {problem}.{cloud if asks else ''}"
        ) from problem


def check_own_files(site):
    """Check that a site's own tasks and checks belong to a layer.

    Args:
        site: Site.

    Raises:
        RefusedError: One of them would never be used.
    """
    if site.own_faults:
        raise RefusedError("\n".join(site.own_faults))


def layers_below(site, layer, project=PROJECT):
    """Return the layers below `layer`, lowest first.

    Args:
        site: Site.
        layer: str.
        project: pathlib.Path of the checkout.

    Returns:
        A list of str.

    Raises:
        RefusedError: The site has no such layer, or the layer has no playbook.
    """
    if layer not in site.layers:
        raise RefusedError(f"There is no layer '{layer}'; expected one of {', '.join(site.layers)}.")
    playbook = project / "playbooks" / f"{layer}.yml"
    if not playbook.exists():
        raise RefusedError(f"The layer {layer} has no playbook: {playbook} is missing.")
    return site.layers[: site.layers.index(layer)]
