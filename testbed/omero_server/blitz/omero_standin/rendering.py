"""From planes of numbers to a picture: windows, colours, JPEG. No part of this needs Ice."""

import dataclasses
import io

import numpy
from PIL import Image

GREYSCALE, COLOUR = "greyscale", "rgb"
# The colours that channels get, one after the other; one channel alone is grey.
COLOURS = ((0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 0, 255), (0, 255, 255), (255, 255, 0))
_JPEG_QUALITY = 85


@dataclasses.dataclass
class Channel:
    """How a channel is shown: whether, the numbers that are black and bright, and its colour."""

    active: bool
    start: float
    end: float
    red: int
    green: int
    blue: int
    alpha: int = 255


def default_channels(stack, most_active=3):
    """Return how the channels of an image are shown at first, a list of Channel.

    Args:
        stack: pixels.Stack.
        most_active: int, how many are shown.
    """
    count = stack.array.shape[1]
    shown = []
    for index in range(count):
        low, high = extremes(stack, index)
        colour = (
            (255, 255, 255)
            if count == 1
            else (((255, 0, 0), (0, 255, 0), (0, 0, 255))[index] if is_colour(stack) else COLOURS[index % len(COLOURS)])
        )
        if is_colour(stack):
            low, high = 0.0, 255.0
        shown.append(Channel(index < most_active, low, high if high > low else low + 1, *colour))
    return shown


def is_colour(stack):
    """Tell whether an image's channels are those of a colour picture."""
    return stack.type == "uint8" and stack.array.shape[1] == 3 and not stack.channels


def extremes(stack, channel):
    """Return the least and the greatest number of a channel (floats)."""
    numbers = stack.array[:, channel]
    return float(numbers.min()), float(numbers.max())


def render(planes, channels, model):
    """Return a picture.

    Args:
        planes: list of numpy.ndarray of shape (Y, X), one a channel.
        channels: list of Channel.
        model: str, GREYSCALE (the first active channel without its colour) or COLOUR.

    Returns:
        numpy.ndarray of uint8, shape (Y, X, 3).
    """
    height, width = planes[0].shape
    picture = numpy.zeros((height, width, 3), "float32")
    for plane, channel in zip(planes, channels, strict=True):
        if not channel.active:
            continue
        span = max(channel.end - channel.start, 1e-9)
        fraction = numpy.clip((plane.astype("float32") - channel.start) / span, 0, 1)[..., numpy.newaxis]
        colour = (255, 255, 255) if model == GREYSCALE else (channel.red, channel.green, channel.blue)
        picture += fraction * numpy.array(colour, "float32") * (channel.alpha / 255)
        if model == GREYSCALE:
            break
    return numpy.clip(picture, 0, 255).astype("uint8")


def jpeg(picture, quality=None):
    """Return a picture (as from render) as JPEG.

    Args:
        picture: numpy.ndarray of uint8, shape (Y, X, 3).
        quality: float from 0 to 1, or None.
    """
    out = io.BytesIO()
    level = _JPEG_QUALITY if quality is None else max(1, round(quality * 100))
    Image.fromarray(picture).save(out, "JPEG", quality=level)
    return out.getvalue()


def scaled(picture, width, height):
    """Return a picture of another size, in pixels, 1 at least."""
    return numpy.asarray(Image.fromarray(picture).resize((max(1, width), max(1, height)), Image.Resampling.LANCZOS))


def fitting(width, height, longest):
    """Return the (width, height) of a picture whose longest side is made `longest` pixels."""
    factor = longest / max(width, height)
    return max(1, round(width * factor)), max(1, round(height * factor))
