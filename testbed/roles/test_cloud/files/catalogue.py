"""Fills an empty cloud: catalogue.py accounts|offers CLOUDS_YAML RANGE [IMAGE].

`accounts` (and endpoints) needs keystone alone, `offers` (flavors, image, external network, volume type) all services.
"""

import pathlib
import sys

import openstack
import yaml
from settings import SERVICES

# Quotas of a project, sufficient for a large site. The defaults would be 10 servers, 20 cores,
# 50 GiB of memory, 10 volumes, 1000 GiB of them and 10 security groups.
COMPUTE_QUOTA = {"instances": 30, "cores": 60, "ram": 100_000}
VOLUME_QUOTA = {"volumes": 30, "gigabytes": 2000}
# Enough for two sites: the scenario requests a third, which is refused.
NETWORK_QUOTA = {"security_groups": 20, "ports": 50}
FLAVORS = {"m1.small": (1, 1024, 10), "m1.medium": (2, 4096, 20), "m1.large": (4, 8192, 40)}
TYPES = {
    "placement": ("placement", ""),
    "glance": ("image", ""),
    "neutron": ("network", ""),
    "nova": ("compute", "/v2.1"),
    "cinder": ("block-storage", "/v3"),
}


def accounts(clouds, cloud):
    """Create the projects and accounts of the services and the user, and the endpoints.

    Args:
        clouds: dict, what clouds.yaml says.
        cloud: openstack.connection.Connection of the administrator.
    """
    identity = cloud.identity
    roles = {
        name: identity.find_role(name) or identity.create_role(name=name) for name in ("admin", "service", "member")
    }
    for entry, given in (("services", ("admin", "service")), ("openstack", ("member",))):
        account = clouds["clouds"][entry]["auth"]
        project = identity.create_project(name=account["project_name"], domain_id="default")
        user = identity.create_user(
            name=account["username"], password=account["password"], domain_id="default", default_project_id=project.id
        )
        for role in given:
            identity.assign_project_role_to_user(project, user, roles[role])
    host = clouds["clouds"]["admin"]["auth"]["auth_url"].rsplit(":", 1)[0]
    for name, (kind, path) in TYPES.items():
        service = identity.create_service(name=name, type=kind)
        for interface in ("public", "internal", "admin"):
            identity.create_endpoint(
                service_id=service.id,
                interface=interface,
                url=f"{host}:{SERVICES[name]}{path}",
                region_id="RegionOne",
            )


def offers(cloud, network, image):
    """Create the cloud's offers: images, flavors and networks.

    Args:
        cloud: openstack.connection.Connection of the administrator.
        network: str, the external network's range.
        image: str, Podman's image that servers boot, which glance's image names; empty for servers that do not.
    """
    for name, (cores, memory, disk) in FLAVORS.items():
        cloud.compute.create_flavor(name=name, vcpus=cores, ram=memory, disk=disk)
    # Servers boot the container image named in the property, not the data in glance.
    named = {"container_image": image} if image else {}
    cloud.image.create_image(
        name="debian-12", data=b"\0" * 2**20, disk_format="raw", container_format="bare", visibility="public", **named
    )
    external = cloud.network.create_network(
        name="public", is_router_external=True, provider_network_type="flat", provider_physical_network="physnet1"
    )
    cloud.network.create_subnet(
        name="public", network_id=external.id, ip_version=4, cidr=network, is_dhcp_enabled=False
    )
    cloud.block_storage.create_type(name="standard")
    project = cloud.identity.find_project("vitrine").id
    cloud.set_compute_quotas(project, **COMPUTE_QUOTA)
    cloud.set_volume_quotas(project, **VOLUME_QUOTA)
    cloud.set_network_quotas(project, **NETWORK_QUOTA)


def main(what, path, network, image=""):
    """Run the command as the administrator of clouds.yaml (path)."""
    with pathlib.Path(path).open() as file:
        clouds = yaml.safe_load(file)
    cloud = openstack.connect(**clouds["clouds"]["admin"]["auth"], region_name="RegionOne", identity_interface="public")
    accounts(clouds, cloud) if what == "accounts" else offers(cloud, network, image)


if __name__ == "__main__":
    main(*sys.argv[1:])
