"""RenderingEngine: pictures of planes, tiles and projections as JPEG."""

import omero
import omero.rtypes as rtypes

from .. import images, pixels, rendering
from ..calls import DONE
from ..errors import ApiUsage, Unsupported
from ..model import new_object
from ..queries import load
from ..schema import entity
from ..stateful import Stateful, wanted

_DESCRIPTION = (
    "join fetch o.image join fetch o.pixelsType join fetch o.dimensionOrder left outer join fetch o.channels c"
    " left outer join fetch c.logicalChannel left outer join fetch c.statsInfo"
)
_BOUNDS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}


def description(call, pixels_id):
    """Return Pixels with channels, in their order."""
    found = load(call, entity("Pixels"), [pixels_id], _DESCRIPTION)
    if not found:
        raise ApiUsage(f"there is no Pixels:{pixels_id}")
    found[0]._channelsSeq.sort(key=lambda channel: channel.id.val)
    return found[0]


class RenderingEngine(Stateful):
    """What a client changes lasts as long as its engine, unless it saves it."""

    name = "RenderingEngine"

    def __init__(self):
        """Begin without an image."""
        super().__init__()
        self.pixels_id = self.settings = self.quality = None
        self.step = 1

    def lookupPixels(self, call, pixels_id):
        """Take an image, by its pixels."""
        images.stack_of(call, pixels_id)
        self.pixels_id, self.settings = pixels_id, None
        return DONE

    def lookupRenderingDef(self, call, pixels_id):
        """Take the settings of the caller or of whoever imported the image; tell whether there are some."""
        self.settings = images.settings_of(call, pixels_id)
        return self.settings is not None

    def loadRenderingDef(self, call, settings_id):
        """Take certain settings of the image."""
        self.settings = images.settings_of(call, wanted(self.pixels_id, "lookupPixels"), settings_id)
        return DONE

    def load(self, call):
        """Be ready; an image of large planes is once it has a pyramid."""
        wanted(self.settings, "lookupRenderingDef")
        images.shown(call, wanted(self.pixels_id, "lookupPixels"))
        return DONE

    def resetDefaultSettings(self, call, save):
        """Set everything back to what it was at first, and keep that where asked."""
        pixels_id = wanted(self.pixels_id, "lookupPixels")
        if not save:
            raise Unsupported("RenderingEngine.resetDefaultSettings without saving")
        images.reset_settings(call, pixels_id)
        self.settings = images.settings_of(call, pixels_id)
        return self.settings.id

    def saveCurrentSettings(self, call):
        """Keep what was changed as the caller's own settings."""
        images.save_settings(call, self.pixels_id, wanted(self.settings, "lookupRenderingDef"))
        self.settings = images.settings_of(call, self.pixels_id)
        return DONE

    def getRenderingDefId(self, call):
        """Return the settings' id."""
        return wanted(self.settings, "lookupRenderingDef").id

    def getPixels(self, call):
        """Return Pixels with its channels."""
        return description(call, self.pixels_id)

    def getDefaultZ(self, call):
        """Return the plane that is shown first."""
        return self.settings.z

    def getDefaultT(self, call):
        """Return the time point that is shown first."""
        return self.settings.t

    def setDefaultZ(self, call, z):
        """Show another plane first."""
        self.settings.z = z
        return DONE

    def setDefaultT(self, call, t):
        """Show another time point first."""
        self.settings.t = t
        return DONE

    def getModel(self, call):
        """Return the model, greyscale or rgb."""
        return self._model(call, self.settings.model)

    def _model(self, call, value):
        found = call.connection.execute("select id from renderingmodel where value = %s", (value,)).fetchone()
        built = new_object("RenderingModel", found[0], True)
        built._value = rtypes.rstring(value)
        return built

    def getAvailableModels(self, call):
        """Return both models."""
        return [self._model(call, value) for value in (rendering.COLOUR, rendering.GREYSCALE)]

    def setModel(self, call, model):
        """Take another model."""
        if model.value.val not in (rendering.COLOUR, rendering.GREYSCALE):
            raise Unsupported(f"the rendering model {model.value.val}")
        self.settings.model = model.value.val
        return DONE

    def isActive(self, call, channel):
        """Tell whether a channel is shown."""
        return self.settings.channels[channel].active

    def setActive(self, call, channel, active):
        """Show a channel, or not."""
        self.settings.channels[channel].active = active
        return DONE

    def getChannelWindowStart(self, call, channel):
        """Return the number that is black."""
        return self.settings.channels[channel].start

    def getChannelWindowEnd(self, call, channel):
        """Return the number that is bright."""
        return self.settings.channels[channel].end

    def setChannelWindow(self, call, channel, start, end):
        """Let other numbers be black and bright."""
        if end <= start:
            raise ApiUsage(f"a window from {start} to {end}")
        self.settings.channels[channel].start, self.settings.channels[channel].end = start, end
        return DONE

    def getRGBA(self, call, channel):
        """Return a channel's colour."""
        shown = self.settings.channels[channel]
        return [shown.red, shown.green, shown.blue, shown.alpha]

    def setRGBA(self, call, channel, red, green, blue, alpha):
        """Give a channel another colour."""
        shown = self.settings.channels[channel]
        shown.red, shown.green, shown.blue, shown.alpha = red, green, blue, alpha
        return DONE

    def getChannelLookupTable(self, call, channel):
        """Return that a channel has no lookup table."""
        return ""

    def setChannelLookupTable(self, call, channel, name):
        """Accept that there is none."""
        if name:
            raise Unsupported(f"the lookup table {name}")
        return DONE

    def getChannelFamily(self, call, channel):
        """Return how numbers become brightness: in proportion."""
        found = call.connection.execute("select id from family where value = 'linear'").fetchone()
        built = new_object("Family", found[0], True)
        built._value = rtypes.rstring("linear")
        return built

    def getChannelCurveCoefficient(self, call, channel):
        """Return the coefficient of that."""
        return 1.0

    def setQuantizationMap(self, call, channel, family, coefficient, noise_reduction):
        """Accept what it is already."""
        if family.value.val != "linear" or coefficient != 1.0:
            raise Unsupported(f"the family {family.value.val} with the coefficient {coefficient}")
        return DONE

    def getCodomainMapContext(self, call, channel):
        """Return that brightness is not mapped again."""
        return []

    def removeCodomainMapFromChannel(self, call, context, channel):
        """Do nothing: there is none."""
        return DONE

    def getPixelsTypeLowerBound(self, call, channel):
        """Return the least number of the image's kind of numbers, or of the channel where that says nothing."""
        return float(self._bounds(call, channel)[0])

    def getPixelsTypeUpperBound(self, call, channel):
        """Return the greatest number, as above."""
        return float(self._bounds(call, channel)[1])

    def _bounds(self, call, channel):
        stack = images.stack_of(call, self.pixels_id)
        return _BOUNDS.get(stack.type) or rendering.extremes(stack, channel)

    def setCompressionLevel(self, call, quality):
        """Set the quality of JPEG, from 0 to 1."""
        if not 0 <= quality <= 1:
            raise ApiUsage(f"a compression level of {quality}; expected 0 to 1")
        self.quality = quality
        return DONE

    def getCompressionLevel(self, call):
        """Return the quality of JPEG."""
        return 0.85 if self.quality is None else self.quality

    def getResolutionLevels(self, call):
        """Return the number of resolutions."""
        return len(images.resolutions(call, images.shown(call, self.pixels_id)))

    def getResolutionLevel(self, call):
        """Return the resolution that is rendered, counted from the least."""
        return self.getResolutionLevels(call) - self.step.bit_length()

    def setResolutionLevel(self, call, level):
        """Render another resolution, counted from the least."""
        levels = self.getResolutionLevels(call)
        if not 0 <= level < levels:
            raise ApiUsage(f"there is no resolution {level}, there are {levels}")
        self.step = 2 ** (levels - 1 - level)
        return DONE

    def getResolutionDescriptions(self, call):
        """Return the sizes of the resolutions, the greatest first."""
        sizes = images.resolutions(call, images.shown(call, self.pixels_id))
        return [omero.api.ResolutionDescription(*size) for size in sizes]

    def requiresPixelsPyramid(self, call):
        """Tell whether the planes are so large that clients shall ask for tiles."""
        return images.requires_pyramid(call, images.shown(call, self.pixels_id))

    def isPixelsPyramid(self, call):
        """Tell that no pyramid is kept: resolutions are made from the numbers."""
        return False

    def getTileSize(self, call):
        """Return the size of a tile, in pixels."""
        return [256, 256]

    def renderCompressed(self, call, plane):
        """Return a plane, or a region of one, as JPEG."""
        if plane.slice != 0:
            raise Unsupported(f"a slice {plane.slice}: it renders planes of x and y")
        region = plane.region and (plane.region.x, plane.region.y, plane.region.width, plane.region.height)
        stack = images.shown(call, self.pixels_id)
        shown = images.picture(stack, self.settings, plane.z, plane.t, region, self.step)
        return rendering.jpeg(shown, self.quality)

    def renderProjectedCompressed(self, call, algorithm, time_point, stepping, start, end):
        """Return the greatest, or mean, numbers of several planes as JPEG."""
        stack = images.shown(call, self.pixels_id)
        some = stack.array[:, :, start : end + 1 : stepping]
        if algorithm == omero.constants.projection.ProjectionType.MAXIMUMINTENSITY:
            flat = some.max(axis=2, keepdims=True)
        elif algorithm == omero.constants.projection.ProjectionType.MEANINTENSITY:
            flat = some.mean(axis=2, keepdims=True).astype(stack.array.dtype)
        else:
            raise Unsupported(f"the projection {algorithm}")
        return rendering.jpeg(images.picture(pixels.Stack(flat), self.settings, 0, time_point), self.quality)
