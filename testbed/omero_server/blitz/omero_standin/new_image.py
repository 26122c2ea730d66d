"""The rows of a new image, as the importer and IPixels make them. Nothing here is saved."""

import omero
import omero.rtypes as rtypes

from . import rendering


def new_pixels(sizes, kind, channels, enumeration):
    """Return Pixels with their channels.

    Args:
        sizes: dict from sizeX, sizeY, sizeZ, sizeC, sizeT to int.
        kind: str, OMERO's name of the kind of numbers.
        channels: list of (name: str or None, least number: float, greatest: float), one a channel.
        enumeration: function from an enumeration's name and a value to its omero.model object.

    Returns:
        omero.model.PixelsI.
    """
    made = omero.model.PixelsI()
    for name, size in sizes.items():
        setattr(made, name, rtypes.rint(size))
    made.pixelsType = enumeration("PixelsType", kind)
    made.dimensionOrder = enumeration("DimensionOrder", "XYZCT")
    made.sha1 = rtypes.rstring("Pending...")  # as the real server's until somebody asks
    for name, low, high in channels:
        channel = omero.model.ChannelI()
        channel.logicalChannel = omero.model.LogicalChannelI()
        channel.logicalChannel.name = rtypes.rstring(name) if name else None
        channel.statsInfo = omero.model.StatsInfoI()
        channel.statsInfo.globalMin, channel.statsInfo.globalMax = rtypes.rdouble(low), rtypes.rdouble(high)
        made.addChannel(channel)
    return made


def new_settings(z, t, model, channels, enumeration):
    """Return a RenderingDef, of which whoever asks says whose it is.

    Args:
        z, t: int, the plane that is shown first.
        model: str, rendering.GREYSCALE or rendering.COLOUR.
        channels: list of rendering.Channel.
        enumeration: as for new_pixels.

    Returns:
        omero.model.RenderingDefI.
    """
    made = omero.model.RenderingDefI()
    made.defaultZ, made.defaultT = rtypes.rint(z), rtypes.rint(t)
    made.compression = rtypes.rdouble(0.85)
    made.model = enumeration("RenderingModel", model)
    for shown in channels:
        binding = omero.model.ChannelBindingI()
        binding.active, binding.noiseReduction = rtypes.rbool(shown.active), rtypes.rbool(False)
        binding.inputStart, binding.inputEnd = rtypes.rdouble(shown.start), rtypes.rdouble(shown.end)
        for name in ("red", "green", "blue", "alpha"):
            setattr(binding, name, rtypes.rint(getattr(shown, name)))
        binding.coefficient = rtypes.rdouble(1.0)
        binding.family = enumeration("Family", "linear")
        made.addChannelBinding(binding)
    return made


def first_settings(stack, enumeration):
    """Return the RenderingDef of an image that nobody has set anything of.

    Args:
        stack: pixels.Stack.
        enumeration: as for new_pixels.
    """
    channels = rendering.default_channels(stack)
    model = rendering.GREYSCALE if len(channels) == 1 else rendering.COLOUR
    return new_settings(stack.sizes()["sizeZ"] // 2, 0, model, channels, enumeration)
