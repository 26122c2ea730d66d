"""Creates neutron's tables, with rows for the agents that ports and routers require: neutron_tables.py TOP ADDRESS.

The tables come from neutron's models: a migration of this version (of `tags`) is written for MySQL alone.
There is no agent: no packet of the test cloud goes anywhere, and neutron's own part is all in its database.
"""

import json
import pathlib
import sys
import uuid

import psycopg2
import sqlalchemy
from neutron.db.migration.models import head
from settings import HOSTS, database

AGENTS = (
    (
        "neutron-openvswitch-agent",
        "Open vSwitch agent",
        "N/A",
        {
            "bridge_mappings": {"physnet1": "br-ex"},
            "tunnel_types": ["vxlan"],
            "datapath_type": "system",
            "ovs_capabilities": {"datapath_types": ["system"], "iface_types": []},
            "ovs_hybrid_plug": False,
        },
    ),
    (
        "neutron-l3-agent",
        "L3 agent",
        "l3_agent",
        {"agent_mode": "legacy", "handle_internal_only_routers": True, "interface_driver": "openvswitch"},
    ),
)
INSERT = """
    insert into agents (id, agent_type, "binary", topic, host, admin_state_up, created_at, started_at,
                        heartbeat_timestamp, configurations, load, availability_zone)
    values (%s, %s, %s, %s, %s, true, now(), now(), '2099-01-01', %s, 0, 'nova')
"""


def main(top, address):
    """Create tables, and rows for agents (top: pathlib.Path, the cloud's folder; address: str, of their tunnels)."""
    head.get_metadata().create_all(sqlalchemy.create_engine(database(top, "neutron")))
    with psycopg2.connect(host=f"{top}/database/socket", user="postgres", dbname="neutron") as connection:
        cursor = connection.cursor()
        for host in HOSTS:
            for binary, kind, topic, settings in AGENTS:
                told = json.dumps(settings | {"tunneling_ip": address})
                cursor.execute(INSERT, (str(uuid.uuid4()), kind, binary, topic, host, told))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2])
