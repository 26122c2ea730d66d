"""ThumbnailStore: small pictures of images as JPEG, made anew each time.

As the real one, it gives a picture of a clock while an image waits for its pyramid, and no exception.
"""

import numpy
from PIL import Image, ImageDraw

from .. import images, rendering
from ..calls import DONE
from ..errors import ApiUsage, MissingPyramid, Refusal, Unready
from ..settings import is_read_only
from ..stateful import Stateful, wanted

_LONGEST = 2048  # pixels


def clock(width, height):
    """Return the picture, as JPEG, of an image that waits for its pyramid."""
    picture = Image.new("RGB", (max(1, width), max(1, height)), (51, 51, 51))
    radius = min(picture.size) // 3
    x, y = (side // 2 for side in picture.size)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline="white")
    draw.line((x, y - radius, x, y, x + radius // 2, y), fill="white")
    return rendering.jpeg(numpy.asarray(picture))


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
        self.waits = False

    def setPixelsId(self, call, pixels_id):
        """Take an image; tell whether it has rendering settings."""
        images.stack_of(call, pixels_id)
        if pixels_id != self.pixels_id:
            self.waits = False
        self.pixels_id, self.settings = pixels_id, images.settings_of(call, pixels_id)
        return self.settings is not None

    def setRenderingDefId(self, call, settings_id):
        """Take certain settings."""
        self.settings = images.settings_of(call, wanted(self.pixels_id, "setPixelsId"), settings_id)
        return DONE

    def resetDefaults(self, call):
        """Give the image the settings that it gets at import, where it has none; setPixelsId takes them then.

        An image without its pyramid gets none, and the client does not hear of it.
        """
        pixels_id = wanted(self.pixels_id, "setPixelsId")
        if self.settings is None and images.others_settings_alone(call, pixels_id):
            raise ApiUsage(f"Unable to reset rendering settings in a read-only group for Pixels set id:{pixels_id}")
        if self.settings is not None:
            raise ApiUsage("The thumbnail service only resets **empty** rendering settings.")
        try:
            images.reset_settings(call, pixels_id)
        except MissingPyramid:
            self.waits = True
        return DONE

    def getRenderingDefId(self, call):
        """Return the settings' id."""
        if self.settings is None:
            raise ApiUsage("No rendering def")
        return self.settings.id

    def isInProgress(self, call):
        """Tell whether the image waits for its pyramid."""
        return self.waits

    def _one(self, call, size, plane=None):
        """Return the thumbnail of a plane (z, t), or of the one that is shown first.

        `size` is a function from the image's width and height to those of the picture.
        """
        pixels_id = wanted(self.pixels_id, "setPixelsId")
        if self.settings is None and not self.waits:
            if images.others_settings_alone(call, pixels_id):
                owner = images.owner_of(call, pixels_id)
                raise Unready(
                    f"The owner id:{owner} has not viewed the Pixels set id:{pixels_id},"
                    " rendering settings are missing."
                )
            raise Refusal(
                f"Fatal error retrieving rendering settings or settings not loaded for Pixels set id:{pixels_id}"
            )
        picture = None if self.waits else self._picture(call, plane)
        if picture is None:
            sizes = images.stack_of(call, pixels_id).sizes()
            return clock(*size(sizes["sizeX"], sizes["sizeY"]))
        return rendering.jpeg(rendering.scaled(picture, *size(picture.shape[1], picture.shape[0])))

    def _picture(self, call, plane):
        """Return the whole picture of a plane, None where the image waits for its pyramid."""
        z, t = plane or (self.settings.z, self.settings.t)
        try:
            return images.picture(images.shown(call, self.pixels_id), self.settings, z, t)
        except MissingPyramid:
            self.waits = True
            return None

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
        """Return thumbnails by the pixels' ids. Images without settings get some where the caller may give them."""
        made = {}
        for identifier in identifiers:
            one = ThumbnailStore()
            try:
                if not one.setPixelsId(call, identifier) and self._may_reset(call, identifier):
                    one.resetDefaults(call)
                    one.setPixelsId(call, identifier)
                made[identifier] = one._one(call, size)
            except (Refusal, OSError):  # as the real server does for an image whose file is gone
                continue
        return made

    def _may_reset(self, call, pixels_id):
        """Tell whether the caller can be given settings of an image, here and now."""
        return not (is_read_only(call.blitz.settings, "db") or images.others_settings_alone(call, pixels_id))
