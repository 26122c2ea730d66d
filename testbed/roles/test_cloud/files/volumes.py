"""A cinder driver whose volumes hold data: each is a sparse file in the cloud's folder `volumes`.

Unsupported operations (migration, creating an image from a volume) raise NotImplementedError.
"""

import os
import pathlib
import shutil
import subprocess

from cinder.volume import driver

FOLDER = pathlib.Path(os.environ["TEST_CLOUD_TOP"]) / "volumes"
GIB = 2**30


class Driver(driver.VolumeDriver):
    """The storage back end."""

    VERSION = "1"

    def check_for_setup_error(self):
        """There is nothing to set up."""

    def _update_volume_stats(self):
        """Report unlimited capacity, since sparse files take no space before they are written to."""
        self._stats = {
            "volume_backend_name": self.configuration.volume_backend_name,
            "vendor_name": "Vitrine",
            "driver_version": self.VERSION,
            "storage_protocol": "file",
            "total_capacity_gb": "infinite",
            "free_capacity_gb": "infinite",
        }

    def create_volume(self, volume):
        """Create an empty volume."""
        resize(path(volume), volume.size)

    def delete_volume(self, volume):
        """Remove a volume, even if it is incomplete."""
        path(volume).unlink(missing_ok=True)

    def extend_volume(self, volume, new_size):
        """Grow a volume (new_size: int, GiB)."""
        resize(path(volume), new_size)

    def create_cloned_volume(self, volume, src_vref):
        """Create a volume from another."""
        copy(path(src_vref), path(volume))
        resize(path(volume), volume.size)

    def clone_image(self, context, volume, image_location, image_meta, image_service):
        """Create a volume from the raw data of an image, without the conversion by qemu-img that cinder would use."""
        resize(path(volume), volume.size)
        with path(volume).open("r+b") as file:
            image_service.download(context, image_meta["id"], file)
        return {}, True

    def create_snapshot(self, snapshot):
        """Create a snapshot of a volume."""
        copy(path(snapshot.volume), path(snapshot))

    def delete_snapshot(self, snapshot):
        """Remove a snapshot."""
        path(snapshot).unlink(missing_ok=True)

    def create_volume_from_snapshot(self, volume, snapshot):
        """Create a volume from a snapshot."""
        copy(path(snapshot), path(volume))
        resize(path(volume), volume.size)

    def initialize_connection(self, volume, connector):
        """Return how a compute host finds a volume: the path of its file."""
        return {"driver_volume_type": "file", "data": {"path": str(path(volume)), "volume_id": volume.id}}

    def terminate_connection(self, volume, connector, **kwargs):
        """Do nothing: there is no connection to close."""

    def create_export(self, context, volume, connector):
        """Do nothing: the file needs no export."""

    def ensure_export(self, context, volume):
        """Do nothing: there is no export."""

    def remove_export(self, context, volume):
        """Do nothing: there is no export."""


def path(volume):
    """Return the file of a volume or a snapshot."""
    return FOLDER / volume.id


def resize(file, size):
    """Set the size (int, GiB) of a file (pathlib.Path), which is created if missing."""
    with file.open("ab") as opened:
        opened.truncate(size * GIB)
    file.chmod(0o600)


def copy(source, target):
    """Copy a file (pathlib.Path, both), keeping its holes."""
    subprocess.run([shutil.which("cp"), "--sparse=always", "--reflink=auto", source, target], check=True)
