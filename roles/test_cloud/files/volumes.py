"""Cinder's driver for volumes with bytes: each is a sparse file in the cloud's folder volumes.

What it does not know (a migration, an image made of a volume) raises NotImplementedError.
"""

import os
import pathlib
import shutil
import subprocess

from cinder.volume import driver

FOLDER = pathlib.Path(os.environ["TEST_CLOUD_TOP"]) / "volumes"
GIB = 2**30


class Driver(driver.VolumeDriver):
    """The storage."""

    VERSION = "1"

    def check_for_setup_error(self):
        """There is nothing to set up."""

    def _update_volume_stats(self):
        """Note what the storage has: as much as is asked for, for files take no room before they are written to."""
        self._stats = {
            "volume_backend_name": self.configuration.volume_backend_name,
            "vendor_name": "Vitrine",
            "driver_version": self.VERSION,
            "storage_protocol": "file",
            "total_capacity_gb": "infinite",
            "free_capacity_gb": "infinite",
        }

    def create_volume(self, volume):
        """Make an empty volume."""
        resize(path(volume), volume.size)

    def delete_volume(self, volume):
        """Remove a volume, or what there is of it."""
        path(volume).unlink(missing_ok=True)

    def extend_volume(self, volume, new_size):
        """Let a volume grow (new_size: int, GiB)."""
        resize(path(volume), new_size)

    def create_cloned_volume(self, volume, src_vref):
        """Make a volume from another."""
        copy(path(src_vref), path(volume))
        resize(path(volume), volume.size)

    def clone_image(self, context, volume, image_location, image_meta, image_service):
        """Make a volume from an image: its bytes as they are, which cinder would have qemu-img convert otherwise."""
        resize(path(volume), volume.size)
        with path(volume).open("r+b") as file:
            image_service.download(context, image_meta["id"], file)
        return {}, True

    def create_snapshot(self, snapshot):
        """Keep what a volume holds."""
        copy(path(snapshot.volume), path(snapshot))

    def delete_snapshot(self, snapshot):
        """Remove a snapshot."""
        path(snapshot).unlink(missing_ok=True)

    def create_volume_from_snapshot(self, volume, snapshot):
        """Make a volume from a snapshot."""
        copy(path(snapshot), path(volume))
        resize(path(volume), volume.size)

    def initialize_connection(self, volume, connector):
        """Say how a compute host finds a volume: its file."""
        return {"driver_volume_type": "file", "data": {"path": str(path(volume)), "volume_id": volume.id}}

    def terminate_connection(self, volume, connector, **kwargs):
        """There is nothing to end."""

    def create_export(self, context, volume, connector):
        """There is nothing to export: the file is there."""

    def ensure_export(self, context, volume):
        """There is nothing to export."""

    def remove_export(self, context, volume):
        """There is nothing to export."""


def path(volume):
    """File of a volume or a snapshot."""
    return FOLDER / volume.id


def resize(file, size):
    """Give a file (pathlib.Path) a size (int, GiB); a new one is empty."""
    with file.open("ab") as opened:
        opened.truncate(size * GIB)
    file.chmod(0o600)


def copy(source, target):
    """Copy a file (pathlib.Path, both), its holes as holes."""
    subprocess.run([shutil.which("cp"), "--sparse=always", "--reflink=auto", source, target], check=True)
