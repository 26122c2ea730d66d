"""IPixels: what is known of an image's numbers."""

import time

import omero
import omero.rtypes as rtypes

from ..calls import DONE
from ..errors import ApiUsage
from ..images import enumerations
from ..new_image import new_pixels
from ..queries import load, run
from ..schema import entity
from ..store import Store
from .rendering import description

_SETTINGS = (
    "select o from RenderingDef o join fetch o.model join fetch o.details.owner join fetch o.pixels"
    " left outer join fetch o.waveRendering w left outer join fetch w.family where o.pixels.id = :id"
)


class PixelsService:
    """Answers with whole objects."""

    def retrievePixDescription(self, call, pixels_id):
        """Return Pixels with its channels."""
        return description(call, pixels_id)

    def createImage(self, call, width, height, depth, moments, channels, kind, name, description):
        """Make an image of which the planes are still to come; return its id."""
        sizes = {"sizeX": width, "sizeY": height, "sizeZ": depth, "sizeC": len(channels), "sizeT": moments}
        if min(sizes.values()) < 1:
            raise ApiUsage(f"an image of {sizes}")
        image = omero.model.ImageI()
        image.name, image.description = rtypes.rstring(name), rtypes.rstring(description)
        image.series = rtypes.rint(0)
        image.acquisitionDate = rtypes.rtime(int(time.time() * 1000))
        unknown = [(None, 0.0, 1.0)] * len(channels)
        image.addPixels(new_pixels(sizes, kind.value.val, unknown, enumerations(call)))
        return rtypes.rlong(Store(call).save(image))

    def setChannelGlobalMinMax(self, call, pixels_id, channel, low, high):
        """Note the least and the greatest number of a channel."""
        channels = description(call, pixels_id)._channelsSeq
        if not 0 <= channel < len(channels):
            raise ApiUsage(f"there is no channel {channel}, there are {len(channels)}")
        stats = load(call, entity("StatsInfo"), [channels[channel].statsInfo.id.val])[0]
        stats.globalMin, stats.globalMax = rtypes.rdouble(low), rtypes.rdouble(high)
        Store(call).save(stats)
        return DONE

    def retrieveAllRndSettings(self, call, pixels_id, user_id):
        """Return the rendering settings of an image, of one user, or of all for -1."""
        rows = run(call, _SETTINGS, {"id": pixels_id}, context=call.context_for_all())
        settings = [row[0] for row in rows]
        for each in settings:
            each._waveRenderingSeq.sort(key=lambda binding: binding.id.val)
            for binding in each._waveRenderingSeq:
                binding._spatialDomainEnhancementLoaded = True  # and there is none
        return [each for each in settings if user_id < 0 or each.details.owner.id.val == user_id]
