"""The mounts of IBM Storage Scale: what its commands say, what the kernel says, and whether the two agree."""

import shlex
import uuid

import pytest

from plugins.module_utils.gpfs import Node

testinfra_hosts = ["ansible://gpfs"]
pytestmark = pytest.mark.unit("gpfs")


@pytest.fixture
def mounts(variables):
    """Return what the host mounts."""
    return [{"read_only": False, "services": []} | mount for mount in variables["gpfs_mounts"]]


@pytest.fixture
def storage_scale(host, variables):
    """Return what asks the host."""

    def run(words):
        seen = host.run(shlex.join(words))
        return seen.rc, seen.stdout, seen.stderr

    folder = variables["gpfs_client_bin"]
    return Node(run, folder, variables["gpfs_client_timeout"], variables["gpfs_client_fstype"])


def test_node(storage_scale, variables):
    """The host is an active node of its cluster."""
    node = storage_scale.read()
    assert node["cluster"] == variables["gpfs_cluster"], f"{node['node']} is a node of {node['cluster']}"
    assert node["state"] == "active", f"{node['node']} is {node['state']}"


def test_mounts(storage_scale, mounts):
    """Each file system is mounted where it should be, as Storage Scale and the kernel agree, and answers."""
    node = storage_scale.read()
    for mount in mounts:
        seen = storage_scale.read_mount(mount, node)
        assert seen["state"] == "mounted", f"{mount['file_system']} is {seen['state']}: {seen['seen']}"


def test_write(host, mounts):
    """A write is refused where the mount is promised read-only, and for no other reason."""
    for mount in mounts:
        if mount["read_only"]:
            # A new name each time, taken away again should it come to be.
            probe = f"{mount['path']}/.vitrine-probe-{uuid.uuid4().hex}"
            seen = host.run("LC_ALL=C touch %s && rm %s", probe, probe)
            assert seen.rc != 0, f"{mount['path']} took a file"
            assert "Read-only file system" in seen.stderr, f"refused for another reason: {seen.stderr.strip()}"


def test_read_only_after_reboot(host, mounts):
    """What is promised read-only is mounted so by GPFS itself, too."""
    for mount in mounts:
        file = host.file(f"/var/mmfs/etc/localMountOptions.{mount['file_system']}")
        says = file.exists and "ro" in file.content_string.replace(",", "\n").split()
        assert says == mount["read_only"], f"{file.path} {'says' if says else 'does not say'} ro"


def test_services(host, mounts):
    """Services that use a mount wait for GPFS at boot, and do not start without it."""
    for mount in mounts:
        for service in mount["services"]:
            waits = host.check_output("systemctl show --property=After --value %s", service).split()
            missing = {"gpfs.service", "gpfs-wait-mount.service"} - set(waits)
            assert not missing, f"{service} does not wait for {', '.join(sorted(missing))}"
            unit = host.check_output("systemctl cat %s", service)
            assert f"AssertPathIsMountPoint={mount['path']}\n" in unit + "\n", (
                f"{service} starts without {mount['path']}"
            )
