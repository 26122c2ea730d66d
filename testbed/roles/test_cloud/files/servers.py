"""A compute driver of nova whose servers boot: each is a container like the hosts of role provision_local.

It replaces KVM. A server uses the container image named in glance's image (property container_image), its port's
address and MAC, its name, nova's metadata and user data where cloud-init looks for a config drive, and volumes as
/dev/disk/by-id/virtio-*. A server that boots from a volume has the volume as a disk, but boots the same image.
Everything else (resize, snapshot, pause, rescue, ports added later) raises NotImplementedError, as nova expects.
"""

import contextlib
import json
import os
import pathlib
import shutil
import stat
import threading
import uuid

from nova import exception
from nova.api.metadata import base
from nova.compute import power_state
from nova.objects import fields
from nova.virt import driver, hardware
from test_cloud import CONTAINER, FailedError, podman, run

TOP = pathlib.Path(os.environ["TEST_CLOUD_TOP"])
# The same as provision_local_capabilities.
CAPABILITIES = "NET_ADMIN,SYS_ADMIN,DAC_READ_SEARCH"
LOOP_MAJOR = 7
# In a container, systemd ignores the devices in fstab.
MOUNT = "[Service]\nExecStartPost=/bin/mount --all\n"
# Reported resources of a host, enough for any site: tests are limited only by quotas and flavors.
OFFER = {"VCPU": 100, "MEMORY_MB": 400000, "DISK_GB": 100000}
ONE_BRIDGE_AT_A_TIME = threading.Lock()


class Driver(driver.ComputeDriver):
    """A compute host."""

    capabilities = driver.ComputeDriver.capabilities | {"supports_image_type_raw": True}

    def init_host(self, host):
        """Store the host's name (str)."""
        self.host = host

    def get_available_nodes(self, refresh=False):
        """Return the nodes' names: only the host itself."""
        return [self.host]

    def get_nodenames_by_uuid(self, refresh=False):
        """Return the nodes' names (dict) by their permanent IDs."""
        return {str(uuid.uuid5(uuid.NAMESPACE_DNS, self.host)): self.host}

    def get_available_resource(self, nodename):
        """Return the resources of a node for nova's list of hosts."""
        kind = (fields.Architecture.X86_64, fields.HVType.LXC, fields.VMMode.EXE)
        return {
            "uuid": next(iter(self.get_nodenames_by_uuid())),
            "hypervisor_type": "container",
            "hypervisor_version": 1,
            "hypervisor_hostname": nodename,
            "vcpus": OFFER["VCPU"],
            "memory_mb": OFFER["MEMORY_MB"],
            "local_gb": OFFER["DISK_GB"],
            "vcpus_used": 0,
            "memory_mb_used": 0,
            "local_gb_used": 0,
            "cpu_info": "{}",
            "supported_instances": [kind],
            "numa_topology": None,
        }

    def update_provider_tree(self, provider_tree, nodename, allocations=None):
        """Report the resources of a node to placement."""
        provider_tree.update_inventory(
            nodename,
            {
                kind: {
                    "total": total,
                    "min_unit": 1,
                    "max_unit": total,
                    "step_size": 1,
                    "allocation_ratio": 1.0,
                    "reserved": 0,
                }
                for kind, total in OFFER.items()
            },
        )

    def list_instance_uuids(self):
        """Return the IDs of this host's servers."""
        names = podman("ps", "--all", "--filter", f"label=vitrine-cloud-host={self.host}", "--format", "{{.Names}}")
        return [name[-36:] for name in names.split() if name == container(name[-36:])]

    def get_num_instances(self):
        """Return the number of this host's servers."""
        return len(self.list_instance_uuids())

    def get_info(self, instance, use_cache=True):
        """Return whether a server runs."""
        # `ps` lists nothing if the container does not exist, whereas `inspect` would fail.
        named = f"name=^{container(instance.uuid)}$"
        found = json.loads(podman("ps", "--all", "--filter", named, "--format", "json"))
        if not found:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        # Nova stops a server ten minutes after it appears to have shut itself down.
        runs = found[0]["State"] == "running"
        return hardware.InstanceInfo(state=power_state.RUNNING if runs else power_state.SHUTDOWN)

    def spawn(
        self, context, instance, image_meta, injected_files, admin_password, allocations,
        network_info=None, block_device_info=None, power_on=True, accel_info=None,
    ):  # fmt: skip
        """Create a server and boot it.

        Raises:
            InstanceDeployFailure: Its image is none that boots here.
        """
        image = instance.system_metadata.get("image_container_image")
        if not image:
            raise exception.InstanceDeployFailure(
                reason=f"{instance.hostname}: its image has no property container_image, and that is what boots here."
            )
        folder = TOP / "servers" / instance.uuid
        for each in ("by-id", "by-label"):
            (folder / "disk" / each).mkdir(parents=True)
        metadata = base.InstanceMetadata(instance, content=injected_files, network_info=network_info)
        for path, content in metadata.metadata_for_config_drive():
            file = folder / "metadata" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        (folder / "resolv.conf").write_text(resolver(network_info))
        (folder / "mount.conf").write_text(MOUNT)
        podman(
            "create",
            "--name", container(instance.uuid),
            "--hostname", instance.hostname,
            "--label", f"vitrine-cloud={cloud_name()}",
            "--label", f"vitrine-cloud-host={self.host}",
            # Ports are plugged in when the container runs.
            "--network", "none",
            "--no-hosts",
            "--systemd", "always",
            # Podman's own lets every account create files there.
            "--tmpfs", "/run:rw,exec,nosuid,nodev,mode=0755",
            "--tty",
            "--cap-add", CAPABILITIES,
            # A volume may be attached at any time.
            "--device-cgroup-rule", f"b {LOOP_MAJOR}:* rw",
            "--volume", f"{folder}/disk:/dev/disk:dev",
            # Directory in which mount looks up labels.
            "--security-opt", "unmask=/sys/dev/block",
            "--volume", f"{folder}/metadata:/var/lib/cloud/seed/config_drive:ro",
            "--volume", f"{folder}/resolv.conf:/etc/resolv.conf",
            "--volume", f"{folder}/mount.conf:/etc/systemd/system/systemd-remount-fs.service.d/volumes.conf:ro",
            image,
            "/sbin/init",
        )  # fmt: skip
        for disk in driver.block_device_info_get_mapping(block_device_info):
            self.attach_volume(context, disk["connection_info"], instance, disk["mount_device"])
        if power_on:
            self.power_on(context, instance, network_info)

    def power_on(self, context, instance, network_info, block_device_info=None, accel_info=None, share_info=None):
        """Boot a server: start its container and plug in its ports."""
        name_labels(TOP / "servers" / instance.uuid / "disk")
        podman("start", container(instance.uuid))
        process = podman("container", "inspect", "--format", "{{.State.Pid}}", container(instance.uuid)).strip()
        run("nsenter", "--target", process, "--net", "ip", "link", "set", "lo", "up")
        for number, vif in enumerate(network_info or []):
            plug(vif, process, number)

    def power_off(self, instance, timeout=0, retry_interval=0):
        """Shut a server down, at the latest after timeout (int, s). Its ports are removed with it."""
        podman("stop", "--time", timeout, container(instance.uuid))

    def reboot(
        self, context, instance, network_info, reboot_type, block_device_info=None, bad_volumes_callback=None,
        accel_info=None, share_info=None,
    ):  # fmt: skip
        """Shut a server down (SOFT) or kill it (HARD), and boot it."""
        self.power_off(instance, timeout=0 if reboot_type == "HARD" else 60)
        self.power_on(context, instance, network_info)

    def destroy(
        self, context, instance, network_info, block_device_info=None, destroy_disks=True, destroy_secrets=True
    ):
        """Remove a server with all its files, even if it is incomplete; volumes are kept."""
        podman("rm", "--force", "--ignore", "--time", 0, container(instance.uuid))
        folder = TOP / "servers" / instance.uuid
        for node in folder.glob("disk/by-id/*"):
            run("losetup", "--detach", loop_device(node))
        shutil.rmtree(folder, ignore_errors=True)

    def cleanup(
        self, context, instance, network_info, block_device_info=None, destroy_disks=True, migrate_data=None,
        destroy_vifs=True, destroy_secrets=True,
    ):  # fmt: skip
        """Do nothing: `destroy` has removed everything."""

    def plug_vifs(self, instance, network_info):
        """Do nothing: ports are plugged in when a server boots."""

    def unplug_vifs(self, instance, network_info):
        """Do nothing: ports are removed with the container."""

    def get_volume_connector(self, instance):
        """Return the connector with which volumes are requested from cinder."""
        return {"ip": "127.0.0.1", "initiator": "none", "host": self.host}

    def attach_volume(
        self, context, connection_info, instance, mountpoint, disk_bus=None, device_type=None, encryption=None
    ):
        """Attach a volume to a server, under the names that udev gives to a virtio disk."""
        disk = TOP / "servers" / instance.uuid / "disk"
        device = run("losetup", "--find", "--show", connection_info["data"]["path"]).strip()
        number = pathlib.Path(device).stat().st_rdev
        os.mknod(disk / "by-id" / disk_name(connection_info), stat.S_IFBLK | 0o660, number)
        name_labels(disk)

    def detach_volume(self, context, connection_info, instance, mountpoint, encryption=None):
        """Detach a volume from a server."""
        disk = TOP / "servers" / instance.uuid / "disk"
        node = disk / "by-id" / disk_name(connection_info)
        run("losetup", "--detach", loop_device(node))
        node.unlink()
        name_labels(disk)

    def get_console_output(self, context, instance):
        """Return the output of a server's console (bytes)."""
        return podman("logs", container(instance.uuid)).encode()


def cloud_name():
    """Return the name of the cloud, as in its mark."""
    return (TOP / "test-cloud").read_text()


def container(server):
    """Return the name of a server's container (server: str, its ID)."""
    return CONTAINER.format(cloud=cloud_name(), server=server)


def disk_name(connection_info):
    """Return the name of a volume below by-id: a virtio disk's serial number has 20 characters of the volume's ID."""
    return f"virtio-{connection_info['data']['volume_id'][:20]}"


def loop_device(node):
    """Return the path on this machine of a device node (pathlib.Path) in a server's folder."""
    return f"/dev/loop{os.minor(node.stat().st_rdev)}"


def name_labels(disk):
    """Link a server's volumes by their labels, like udev, which containers do not have (disk: its /dev/disk).

    A label that is given while the server runs is named at its next boot; until then `mount` finds it by looking.
    """
    for old in (disk / "by-label").iterdir():
        old.unlink()
    for node in (disk / "by-id").iterdir():
        # blkid fails on empty disks.
        with contextlib.suppress(FailedError):
            label = run("blkid", "--probe", "--match-tag", "LABEL", "--output", "value", loop_device(node)).strip()
            if label:
                (disk / "by-label" / label).symlink_to(f"../by-id/{node.name}")


def resolver(network_info):
    """Return a server's resolv.conf: the subnets' name servers, or else this machine's, like neutron's DHCP."""
    subnets = [subnet for vif in network_info or [] for subnet in vif["network"]["subnets"]]
    servers = [server["address"] for subnet in subnets for server in subnet["dns"]]
    if not servers:
        return pathlib.Path("/etc/resolv.conf").read_text()
    return "".join(f"nameserver {server}\n" for server in servers)


def plug(vif, process, number):
    """Connect a port to its network's bridge.

    Args:
        vif: nova.network.model.VIF, the port.
        process: str, number of the container's first process.
        number: int, of the interface in the server.
    """
    network, inside = vif["network"], ("nsenter", "--target", process, "--net", "ip")
    bridge, interface = bridge_name(network["id"]), f"eth{number}"
    with ONE_BRIDGE_AT_A_TIME:
        if bridge not in {link["ifname"] for link in json.loads(run("ip", "-json", "link", "show", "type", "bridge"))}:
            run("ip", "link", "add", bridge, "type", "bridge")
            run("ip", "link", "set", bridge, "up")
    peer = ("peer", "name", interface, "address", vif["address"], "netns", process)
    run("ip", "link", "add", vif["devname"], "type", "veth", *peer)
    run("ip", "link", "set", vif["devname"], "master", bridge, "up")
    for subnet in network["subnets"]:
        length = subnet["cidr"].split("/")[1]
        for address in subnet["ips"]:
            run(*inside, "address", "add", f"{address['address']}/{length}", "dev", interface)
    run(*inside, "link", "set", interface, "up")
    gateway = network["subnets"][0]["gateway"]
    if number == 0 and gateway and gateway["address"]:
        run(*inside, "route", "add", "default", "via", gateway["address"])


def bridge_name(network):
    """Return the name of a network's bridge (network: str, its ID), like neutron's bridge agent."""
    return f"brq{network[:11]}"
