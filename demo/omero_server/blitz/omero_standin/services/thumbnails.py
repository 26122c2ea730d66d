"""ThumbnailStore: small pictures of images as JPEG, made anew each time."""

from .. import images, rendering
from ..calls import DONE
from ..errors import ApiUsage, Refusal
from ..stateful import Stateful, wanted

_LONGEST = 2048  # pixels


def thumbnail(call, pixels_id, size, settings=None, plane=None):
    """Return a small picture of an image as JPEG.

    Args:
        call: calls.Call.
        pixels_id: int.
        size: function from the image's width and height to those of the picture.
        settings: images.Settings or None, the default ones.
        plane: (z, t) or None, the one that is shown first.

    Raises:
        ApiUsage: there are no settings, or no such plane.
    """
    stack = images.stack_of(call, pixels_id)
    settings = settings or images.settings_of(call, pixels_id)
    if settings is None:
        raise ApiUsage(f"Pixels:{pixels_id} has no rendering settings")
    z, t = plane or (settings.z, settings.t)
    whole = images.picture(stack, settings, z, t)
    return rendering.jpeg(rendering.scaled(whole, *size(whole.shape[1], whole.shape[0])))


def longest_side(length):
    """Return a function for `thumbnail` that makes an image's longest side so many pixels (int)."""
    if not 0 < length <= _LONGEST:
        raise ApiUsage(f"a thumbnail of {length} pixels; wanted are 1 to {_LONGEST}")
    return lambda width, height: rendering.fitting(width, height, length)


def exactly(width, height):
    """Return a function for `thumbnail` that gives every picture this size in pixels (RInt or None: 48)."""
    sizes = [48 if each is None else each.val for each in (width, height)]
    if not all(0 < each <= _LONGEST for each in sizes):
        raise ApiUsage(f"a thumbnail of {sizes} pixels; wanted are 1 to {_LONGEST}")
    return lambda *_: sizes


class ThumbnailStore(Stateful):
    """Thumbnails of one image, or of several at once."""

    name = "ThumbnailStore"

    def __init__(self):
        """Begin without an image."""
        super().__init__()
        self.pixels_id = self.settings = None

    def setPixelsId(self, call, pixels_id):
        """Take an image; tell whether it has rendering settings."""
        images.stack_of(call, pixels_id)
        self.pixels_id, self.settings = pixels_id, images.settings_of(call, pixels_id)
        return self.settings is not None

    def setRenderingDefId(self, call, settings_id):
        """Take certain settings."""
        self.settings = images.settings_of(call, wanted(self.pixels_id, "setPixelsId"), settings_id)
        return DONE

    def resetDefaults(self, call):
        """Give the image the settings that it gets at import."""
        images.reset_settings(call, wanted(self.pixels_id, "setPixelsId"))
        self.settings = images.settings_of(call, self.pixels_id)
        return DONE

    def getRenderingDefId(self, call):
        """Return the settings' id."""
        return wanted(self.settings, "setPixelsId").id

    def isInProgress(self, call):
        """Tell that nothing is still being made."""
        return False

    def _one(self, call, size, plane=None):
        return thumbnail(call, wanted(self.pixels_id, "setPixelsId"), size, self.settings, plane)

    def getThumbnail(self, call, width, height):
        """Return the thumbnail of this size."""
        return self._one(call, exactly(width, height))

    def getThumbnailDirect(self, call, width, height):
        """Return the same."""
        return self._one(call, exactly(width, height))

    def getThumbnailByLongestSide(self, call, size):
        """Return the thumbnail whose longest side is so long."""
        return self._one(call, longest_side(48 if size is None else size.val))

    def getThumbnailByLongestSideDirect(self, call, size):
        """Return the same."""
        return self.getThumbnailByLongestSide(call, size)

    def getThumbnailForSectionDirect(self, call, z, t, width, height):
        """Return the thumbnail of a plane."""
        return self._one(call, exactly(width, height), (z, t))

    def getThumbnailForSectionByLongestSideDirect(self, call, z, t, size):
        """Return the thumbnail of a plane whose longest side is so long."""
        return self._one(call, longest_side(48 if size is None else size.val), (z, t))

    def getThumbnailSet(self, call, width, height, identifiers):
        """Return the thumbnails of several images, by their pixels' ids; those that cannot be made are left out."""
        return self._several(call, exactly(width, height), identifiers)

    def getThumbnailByLongestSideSet(self, call, size, identifiers):
        """Return the same by the length of the longest side."""
        return self._several(call, longest_side(48 if size is None else size.val), identifiers)

    def _several(self, call, size, identifiers):
        made = {}
        for identifier in identifiers:
            try:
                made[identifier] = thumbnail(call, identifier, size)
            except (Refusal, OSError):  # as the real server does for an image whose file is gone
                continue
        return made
