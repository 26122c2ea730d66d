"""Servers that boot in the cloud of role test_cloud (test_cloud_driver: podman), as a user of the cloud sees them.

Wants a site that is provisioned, with its data volumes mounted and its database.
"""

import base64
import json
import pathlib
import re
import socket
import subprocess
import urllib.parse
import uuid

import openstack
import pytest
from faults import wait_until

PROJECT = pathlib.Path(__file__).resolve().parents[2]
# Seconds.
LIMIT = 90
SOON = 3

testinfra_hosts = ["ansible://proxy"]


@pytest.fixture(scope="session")
def cloud():
    """Return a connection to the cloud as the site's project."""
    return openstack.connect(cloud="openstack")


@pytest.fixture
def server(cloud, variables):
    """Return a function from a host's name to its server in the cloud."""
    return lambda name: cloud.compute.find_server(f"{variables['site_name']}-{name}", ignore_missing=False)


@pytest.fixture
def database(variables, reach):
    """Return the database host, which is reached through the proxy."""
    return reach(variables["groups"]["database"][0])


@pytest.fixture
def volume_probe(host, variables):
    """Put a file onto the proxy's data volume, and take it away again; returns its path."""
    path = f"{variables['data_volumes'][0]['path']}/.vitrine-probe-{uuid.uuid4().hex}"
    host.check_output("echo promise > %s", path)
    yield path
    host.run("rm --force %s", path)


def wait_for_status(cloud, server, status):
    """Wait until a server is in a status, and nothing is under way; returns it."""

    def settled():
        seen = cloud.compute.get_server(server.id)
        return seen if seen.status == status and not seen.task_state else None

    return wait_until(settled, f"the server did not become {status}", LIMIT)


def boot_of(host):
    """Tell when a host's first process was started; empty while it does not answer."""
    try:
        seen = host.run("cut --delimiter=' ' --fields=22 /proc/1/stat && systemctl is-system-running --wait")
    except RuntimeError:
        # What Testinfra makes of ssh's own failures.
        return ""
    return seen.stdout.splitlines()[0] if seen.rc == 0 else ""


def reaches(host, address, port):
    """Tell whether a host gets a TCP connection to an address."""
    return host.run("timeout %s bash -c %s", str(SOON), f"exec 3<>/dev/tcp/{address}/{port}").rc == 0


def test_power(server, variables):
    """The cloud knows that each server runs."""
    # Nova's number for it. What it takes to have shut itself down it ends some minutes later.
    states = {name: server(name).power_state for name in variables["groups"]["hosts"]}
    assert states == dict.fromkeys(states, 1)


def test_identity(host, variables):
    """A server has the name, the address and the MAC that the cloud says."""
    port = variables["openstack_server"]["addresses"][variables["site_name"]][0]
    link = host.check_output("ip -oneline link show eth0")
    assert host.check_output("hostname") == f"{variables['site_name']}-{variables['inventory_hostname']}"
    assert variables["internal_address"] in host.check_output("ip -oneline -4 address show eth0")
    assert f"link/ether {port['OS-EXT-IPS-MAC:mac_addr']}" in link


def test_way_out(host):
    """A server reaches the package archive."""
    seen = host.run("apt-get update --error-on=any")
    assert seen.rc == 0, seen.stderr


@pytest.mark.parametrize("kind", ["SOFT", "HARD"])
def test_reboot(host, cloud, server, variables, volume_probe, kind):
    """A server comes back from a {kind} reboot with its volume mounted."""
    before = boot_of(host)
    cloud.compute.reboot_server(server(variables["inventory_hostname"]), kind)
    wait_until(lambda: boot_of(host) not in ("", before), "the server did not come back", LIMIT)
    assert host.file(volume_probe).content_string == "promise\n"
    # cloud-init writes them at each boot unless it is told not to.
    for name, address in variables["site_addresses"].items():
        assert host.check_output("getent ahostsv4 %s", name).split()[0] == address


def test_stop_and_start(host, cloud, server, variables, volume_probe):
    """A server that is stopped does not answer, and comes back with its volume mounted."""
    its = server(variables["inventory_hostname"])
    cloud.compute.stop_server(its)
    wait_for_status(cloud, its, "SHUTOFF")
    with (
        pytest.raises(OSError, match=r"timed out|No route"),
        socket.create_connection((variables["ansible_host"], 22), SOON),
    ):
        pass
    cloud.compute.start_server(its)
    wait_for_status(cloud, its, "ACTIVE")
    wait_until(lambda: boot_of(host), "the server did not start", LIMIT)
    assert host.file(volume_probe).content_string == "promise\n"


def test_console(cloud, server, variables):
    """The console shows how a server booted."""
    assert "systemd" in cloud.compute.get_server_console_output(server(variables["inventory_hostname"]))["output"]


def test_floating_ip_is_the_only_way_in(database):
    """From outside no server is reached at its own address."""
    address = database.ansible.get_variables()["internal_address"]
    with pytest.raises(TimeoutError), socket.create_connection((address, 22), SOON):
        pass


def test_security_groups(cloud, reach, variables):
    """A server reaches another's service as long as a rule of a security group says so."""
    client, (database,) = reach(variables["groups"]["omero_readwrite"][0]), variables["groups"]["database"]
    port = variables["network_services"]["postgresql"]["port"]
    assert reaches(client, database, port)
    own, others = (
        cloud.network.find_security_group(f"{variables['site_name']}-{name}") for name in ("database", "omero")
    )
    (rule,) = cloud.network.security_group_rules(
        security_group_id=own.id, remote_group_id=others.id, port_range_min=port
    )
    cloud.network.delete_security_group_rule(rule)
    try:
        # The hosts' own firewalls would let it pass.
        wait_until(lambda: not reaches(client, database, port), "the port did not close", LIMIT)
    finally:
        cloud.network.create_security_group_rule(
            security_group_id=own.id, remote_group_id=others.id, direction="ingress", ethertype="IPv4", protocol="tcp",
            port_range_min=port, port_range_max=port,
        )  # fmt: skip
    wait_until(lambda: reaches(client, database, port), "the port did not open", LIMIT)


def test_metadata(host, variables):
    """cloud-init found nova's metadata, and has ended well."""
    seen = json.loads(host.check_output("sudo cloud-init query --format '{{ds | tojson}}'"))["meta_data"]
    assert seen["uuid"] == variables["openstack_server"]["id"]
    assert host.check_output("cloud-init status") == "status: done"


@pytest.fixture
def short_lived(cloud, variables):
    """Return a function that makes a server from nova's own words for it; it is removed in the end."""
    made = []

    def make(**words):
        asked = {
            "name": f"{variables['site_name']}-short-lived",
            "flavor_id": cloud.compute.find_flavor("m1.small").id,
            "networks": [{"uuid": cloud.network.find_network(variables["site_name"]).id}],
        }
        if "block_device_mapping" not in words:
            asked["image_id"] = cloud.image.find_image("debian-12").id
        made.append(cloud.compute.create_server(**asked | words))
        return made[0]

    yield make
    for each in made:
        cloud.compute.delete_server(each, ignore_missing=True)
        cloud.compute.wait_for_delete(each)
        assert what_is_left(each.id) == ""


def test_user_data(cloud, short_lived):
    """A server does what its user data say."""
    script = base64.b64encode(b"#!/bin/sh\necho these are user data >/dev/console\n").decode()
    made = wait_for_status(cloud, short_lived(user_data=script), "ACTIVE")
    wait_until(
        lambda: "these are user data" in cloud.compute.get_server_console_output(made)["output"],
        "the user data are not on the console",
        LIMIT,
    )


def test_boot_volume(cloud, short_lived):
    """A server boots from a volume that is made of the image, and removed with it."""
    source = {"uuid": cloud.image.find_image("debian-12").id, "source_type": "image", "destination_type": "volume"}
    disk = source | {"boot_index": 0, "volume_size": 1, "delete_on_termination": True}
    made = wait_for_status(cloud, short_lived(block_device_mapping=[disk]), "ACTIVE")
    (attached,) = cloud.compute.volume_attachments(made)
    volume = cloud.block_storage.get_volume(attached.volume_id)
    assert (volume.is_bootable, volume.volume_image_metadata["image_name"]) == (True, "debian-12")
    cloud.compute.delete_server(made)
    cloud.compute.wait_for_delete(made)
    wait_until(
        lambda: volume.id not in {each.id for each in cloud.block_storage.volumes()}, "the volume did not go", LIMIT
    )


def what_is_left(server):
    """Containers of a server (its id), as this machine lists them."""
    command = [PROJECT / "scripts/podman", "ps", "--all", "--quiet", "--filter", f"name={server}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def namespace_of(cloud):
    """Name of the network namespace that the cloud's services are in."""
    address = urllib.parse.urlsplit(cloud.config.get_auth_args()["auth_url"]).hostname
    for line in output("ip", "netns", "list").splitlines():
        name = line.split()[0]
        seen = subprocess.run(["ip", "-n", name, "-oneline", "address"], capture_output=True, text=True, check=False)
        if f" {address}/" in seen.stdout:
            return name
    raise AssertionError(f"no namespace of this machine has the address {address}")


def output(*command):
    """Run a command on this machine; returns what it prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def volume(cloud, variables):
    """Make a volume of 1 GiB, and remove it in the end."""
    made = cloud.block_storage.create_volume(size=1, name=f"{variables['site_name']}-moved")
    yield cloud.block_storage.wait_for_status(made, "available")
    cloud.block_storage.delete_volume(made)
    cloud.block_storage.wait_for_delete(made)


def test_volume_moves(host, cloud, server, variables, database, volume):
    """A volume comes to a server that runs, leaves it, and comes to another with what it holds."""
    device = f"/dev/disk/by-id/virtio-{volume.id[:20]}"
    text = uuid.uuid4().hex
    for there, command in (
        (host, f"echo {text} | dd of={device} conv=notrunc,fsync"),
        (database, f"head --bytes=32 {device}"),
    ):
        its = server(there.backend.hostname)
        assert not there.file(device).exists
        cloud.compute.create_volume_attachment(its, volume_id=volume.id)
        wait_until(
            lambda: cloud.block_storage.get_volume(volume.id).status == "in-use", "the volume was not attached", LIMIT
        )
        wait_until(lambda there=there: there.file(device).exists, "the device did not appear", LIMIT)
        seen = there.check_output(command)
        cloud.compute.delete_volume_attachment(its, volume.id)
        wait_until(
            lambda: cloud.block_storage.get_volume(volume.id).status == "available",
            "the volume was not detached",
            LIMIT,
        )
        assert not there.file(device).exists
    assert seen == text
    assert volume.id not in output("losetup", "--list", "--output", "BACK-FILE")


def test_deleted(cloud, short_lived, volume):
    """A server that is deleted leaves no container, no interface and no device, and its volume is free."""
    made = wait_for_status(cloud, short_lived(), "ACTIVE")
    (port,) = cloud.network.ports(device_id=made.id)
    cloud.compute.create_volume_attachment(made, volume_id=volume.id)
    wait_until(
        lambda: cloud.block_storage.get_volume(volume.id).status == "in-use", "the volume was not attached", LIMIT
    )
    namespace = namespace_of(cloud)

    def seen():
        links, devices = output("ip", "-n", namespace, "-oneline", "link"), output("losetup", "--output", "BACK-FILE")
        return bool(what_is_left(made.id)), f"tap{port.id[:11]}" in links, volume.id in devices

    assert seen() == (True, True, True)
    cloud.compute.delete_server(made)
    cloud.compute.wait_for_delete(made)
    assert seen() == (False, False, False)
    wait_until(
        lambda: cloud.block_storage.get_volume(volume.id).status == "available", "the volume was not detached", LIMIT
    )


def test_services_have_no_way_out(cloud, host):
    """The cloud's own services reach nothing beyond their range, though a server does."""
    resolver = re.search(r"^nameserver (\S+)", host.file("/etc/resolv.conf").content_string, re.M).group(1)
    assert reaches(host, resolver, 53)
    there = ["bash", "-c", f"exec 3<>/dev/tcp/{resolver}/53"]
    enter = ["nsenter", f"--net=/run/netns/{namespace_of(cloud)}", "timeout", str(SOON)]
    seen = subprocess.run([*enter, *there], capture_output=True, text=True, check=False)
    assert "Connection refused" in seen.stderr
