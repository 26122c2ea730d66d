"""RawPixelsStore: an image's numbers, as bytes in the order of networks."""

import omero

from .. import images
from ..calls import DONE
from ..errors import ApiUsage
from ..queries import load
from ..schema import entity
from ..stateful import Stateful, wanted


class RawPixelsStore(Stateful):
    """The numbers of one image."""

    name = "RawPixelsStore"

    def __init__(self):
        """Begin without an image."""
        super().__init__()
        self.pixels_id = None
        self.step = 1

    def setPixelsId(self, call, pixels_id, bypass_original_file):
        """Take an image; one of large planes has to have its pyramid."""
        images.shown(call, pixels_id)
        self.pixels_id = pixels_id
        return DONE

    def getPixelsId(self, call):
        """Return which image it is."""
        return wanted(self.pixels_id, "setPixelsId")

    def _stack(self, call):
        return images.stack_of(call, wanted(self.pixels_id, "setPixelsId"))

    def _plane(self, call, z, c, t):
        stack = self._stack(call)
        moments, channels, depths = stack.array.shape[:3]
        if not (0 <= z < depths and 0 <= c < channels and 0 <= t < moments):
            raise ApiUsage(f"there is no plane z={z} c={c} t={t}")
        return stack.plane(z, c, t)[:: self.step, :: self.step]

    def getPlane(self, call, z, c, t):
        """Return a plane."""
        return _bytes(self._plane(call, z, c, t))

    def getTile(self, call, z, c, t, x, y, width, height):
        """Return a region of a plane."""
        plane = self._plane(call, z, c, t)
        if not (0 <= x <= x + width <= plane.shape[1] and 0 <= y <= y + height <= plane.shape[0]):
            raise ApiUsage(f"there is no tile x={x} y={y} w={width} h={height}")
        return _bytes(plane[y : y + height, x : x + width])

    def setPlane(self, call, numbers, z, c, t):
        """Write a plane of an image that a client has made."""
        images.write_plane(call, wanted(self.pixels_id, "setPixelsId"), (z, c, t), numbers)
        return DONE

    def save(self, call):
        """Return the Pixels: what was written is there."""
        return load(call, entity("Pixels"), [wanted(self.pixels_id, "setPixelsId")])[0]

    def getByteWidth(self, call):
        """Return the bytes of a number."""
        return self._stack(call).array.dtype.itemsize

    def isSigned(self, call):
        """Tell whether numbers may be negative."""
        return self._stack(call).array.dtype.kind != "u"

    def isFloat(self, call):
        """Tell whether numbers are fractions."""
        return self._stack(call).array.dtype.kind == "f"

    def getPlaneSize(self, call):
        """Return the bytes of a plane."""
        return self._stack(call).plane(0, 0, 0).nbytes

    def getRowSize(self, call):
        """Return the bytes of a row."""
        return self._stack(call).plane(0, 0, 0)[0].nbytes

    def requiresPixelsPyramid(self, call):
        """Tell whether the planes are large ones."""
        return images.requires_pyramid(call, self._stack(call))

    def getResolutionLevels(self, call):
        """Return the number of resolutions."""
        return len(images.resolutions(call, self._stack(call)))

    def getResolutionDescriptions(self, call):
        """Return the sizes of the resolutions, the greatest first."""
        return [omero.api.ResolutionDescription(*size) for size in images.resolutions(call, self._stack(call))]

    def getResolutionLevel(self, call):
        """Return the resolution that is read, counted from the least."""
        return self.getResolutionLevels(call) - self.step.bit_length()

    def setResolutionLevel(self, call, level):
        """Read another resolution, counted from the least."""
        levels = self.getResolutionLevels(call)
        if not 0 <= level < levels:
            raise ApiUsage(f"there is no resolution {level}, there are {levels}")
        self.step = 2 ** (levels - 1 - level)
        return DONE

    def getTileSize(self, call):
        """Return the size of a tile, in pixels."""
        return [256, 256]


def _bytes(plane):
    return plane.astype(plane.dtype.newbyteorder(">")).tobytes()
