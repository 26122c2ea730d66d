"""Settings of the test cloud's services, all written by a single function."""

import configparser
import pathlib

SERVICES = {
    "keystone": 5000,
    "placement": 8778,
    "glance": 9292,
    "neutron": 9696,
    "cinder": 8776,
    "nova": 8774,
}
# Compute hosts, all in one process, for servers that need different hosts (anti-affinity).
HOSTS = ("cloud01", "cloud02", "cloud03")
DATABASES = ("keystone", "glance", "placement", "nova_api", "nova", "nova_cell0", "neutron", "cinder")


def database(top, name):
    """Return the address of a database for SQLAlchemy (top: pathlib.Path of the cloud's folder, name: str)."""
    return f"postgresql+psycopg2://postgres@/{name}?host={top}/database/socket"


def write(top, venv, address, password, image):
    """Write every service's settings below etc/.

    Args:
        top: pathlib.Path, the cloud's folder.
        venv: pathlib.Path, the virtual environment with the services.
        address: str, IPv4 address that the services listen on.
        password: str, of the services' own account.
        image: str, Podman's image that servers boot; empty for servers that do not.
    """
    account = {
        "auth_type": "password",
        "auth_url": f"http://{address}:5000/v3",
        "username": "service",
        "password": password,
        "project_name": "service",
        "user_domain_id": "default",
        "project_domain_id": "default",
        "region_name": "RegionOne",
    }
    token = account | {
        "www_authenticate_uri": f"http://{address}:5000/v3",
        "service_token_roles": "service",
        "service_token_roles_required": "true",
    }
    lock = {"lock_path": f"{top}/lock"}
    # Messages stay within a process: nova's four services share one, and so do cinder's three.
    in_memory = {"transport_url": "fake:///", "host": HOSTS[0]}
    soon = {"report_interval": "5", "periodic_fuzzy_delay": "0"}

    ini(
        top / "etc/keystone/keystone.conf",
        {
            "DEFAULT": {"log_file": f"{top}/log/keystone.log"},
            "database": {"connection": database(top, "keystone")},
            "token": {"provider": "fernet"},
            "fernet_tokens": {"key_repository": f"{top}/etc/keystone/fernet-keys"},
            "credential": {"key_repository": f"{top}/etc/keystone/credential-keys"},
            "identity": {"password_hash_rounds": "4"},
            # Without it every token is checked in the database, which takes 0.86 s instead of 0.01 s.
            "cache": {"enabled": "true", "backend": "dogpile.cache.memory", "expiration_time": "600"},
        },
    )
    ini(
        top / "etc/glance/glance-api.conf",
        {
            "DEFAULT": {
                "log_file": f"{top}/log/glance.log",
                "enabled_backends": "files:file",
                "enabled_import_methods": "[]",
            },
            "database": {"connection": database(top, "glance")},
            "keystone_authtoken": token,
            "paste_deploy": {"flavor": "keystone", "config_file": f"{venv}/etc/glance/glance-api-paste.ini"},
            "glance_store": {"default_backend": "files"},
            "files": {"filesystem_store_datadir": f"{top}/images"},
            "os_glance_tasks_store": {"filesystem_store_datadir": f"{top}/images/tasks"},
            "os_glance_staging_store": {"filesystem_store_datadir": f"{top}/images/staging"},
            "oslo_concurrency": lock,
        },
    )
    ini(
        top / "etc/placement/placement.conf",
        {
            "DEFAULT": {"log_file": f"{top}/log/placement.log"},
            "api": {"auth_strategy": "keystone"},
            "placement_database": {"connection": database(top, "placement")},
            "keystone_authtoken": token,
        },
    )
    ini(
        top / "etc/nova/nova.conf",
        {
            "DEFAULT": in_memory
            | soon
            | {
                "log_file": f"{top}/log/nova.log",
                "state_path": f"{top}/state/nova",
                "compute_driver": "servers.Driver" if image else "fake.FakeDriver",
                # No agent ever reports a port as plugged.
                "vif_plugging_is_fatal": "false",
                "vif_plugging_timeout": "0",
                "enabled_apis": "osapi_compute",
                "osapi_compute_workers": "1",
                "service_down_time": "60",
            },
            "api_database": {"connection": database(top, "nova_api")},
            "database": {"connection": database(top, "nova")},
            "keystone_authtoken": token,
            "service_user": account | {"send_service_user_token": "true"},
            "neutron": account,
            "placement": account,
            "cinder": account,
            "glance": account,
            "keystone": account,
            "wsgi": {"api_paste_config": f"{venv}/etc/nova/api-paste.ini"},
            "oslo_concurrency": lock,
        },
    )
    ini(
        top / "etc/neutron/neutron.conf",
        {
            "DEFAULT": in_memory
            | {
                "log_file": f"{top}/log/neutron.log",
                "state_path": f"{top}/state/neutron",
                "core_plugin": "ml2",
                "service_plugins": "router",
                "notify_nova_on_port_status_changes": "true",
                "notify_nova_on_port_data_changes": "true",
                # The agents are rows in a table (neutron_tables.py), whose heartbeat is in the far future.
                "agent_down_time": "2000000",
                "rpc_workers": "0",
                "api_paste_config": f"{venv}/etc/neutron/api-paste.ini",
            },
            "database": {"connection": database(top, "neutron")},
            "keystone_authtoken": token,
            "nova": account,
            "placement": account,
            "oslo_concurrency": lock,
            "ml2": {
                "type_drivers": "flat,vxlan",
                "tenant_network_types": "vxlan",
                "mechanism_drivers": "openvswitch",
                "extension_drivers": "port_security",
            },
            "ml2_type_flat": {"flat_networks": "*"},
            "ml2_type_vxlan": {"vni_ranges": "1:1000"},
            "securitygroup": {"enable_security_group": "true"},
        },
    )
    ini(
        top / "etc/cinder/cinder.conf",
        {
            "DEFAULT": in_memory
            | soon
            | {
                "log_file": f"{top}/log/cinder.log",
                "auth_strategy": "keystone",
                "enabled_backends": "files",
                "scheduler_driver_init_wait_time": "1",
                "state_path": f"{top}/state/cinder",
                "api_paste_config": f"{venv}/etc/cinder/api-paste.ini",
                "resource_query_filters_file": f"{venv}/etc/cinder/resource_filters.json",
            },
            # A stand-in for a storage back end: volumes are sparse files.
            "files": {"volume_driver": "volumes.Driver", "volume_backend_name": "files"},
            "coordination": {"backend_url": f"file://{top}/state/cinder"},
            "database": {"connection": database(top, "cinder")},
            "keystone_authtoken": token,
            "service_user": account | {"send_service_user_token": "true"},
            "nova": account,
            "oslo_concurrency": lock,
        },
    )


def ini(path: pathlib.Path, sections):
    """Write an INI file that only root can read (sections: dict of dict of str)."""
    writer = configparser.RawConfigParser(default_section="")
    writer.optionxform = str
    writer.read_dict(sections)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        path.chmod(0o600)
        writer.write(file)
