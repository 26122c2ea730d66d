"""The group model of this checkout, for inventories that are elsewhere."""

from __future__ import annotations

import pathlib

from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.plugins.loader import inventory_loader

DOCUMENTATION = """
name: group_model
short_description: Adds the groups of groups.yml
description:
  - Reads C(groups.yml) of the checkout that has this plugin, wherever the inventory is. A site in a repository of its
    own therefore always has the groups of the Vitrine that runs it.
options:
  plugin:
    description: The name of this plugin.
    required: true
    choices: [group_model]
"""

GROUPS = pathlib.Path(__file__).resolve().parents[2] / "groups.yml"


class InventoryModule(BaseInventoryPlugin):
    """Reads groups.yml in place of the file that names this plugin."""

    NAME = "group_model"

    def parse(self, inventory, loader, path, cache=True):
        """Add the groups (path: str, the file that names this plugin)."""
        super().parse(inventory, loader, path, cache)
        inventory_loader.get("ansible.builtin.yaml").parse(inventory, loader, str(GROUPS), cache)
