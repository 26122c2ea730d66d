"""From a row of Pixels to its file's numbers and its rendering settings."""

import dataclasses
from pathlib import Path

from . import pixels, rendering
from .errors import ApiUsage, Forbidden, Invalid
from .permissions import may_read

_BINDINGS = (
    "select active, inputstart, inputend, red, green, blue, alpha from channelbinding"
    " where renderingdef = %s order by id"
)

# Pixels of a side from which on an image has several resolutions, and of the least of them.
_LARGE, _SMALLEST = 3000, 1024


@dataclasses.dataclass
class Settings:
    """Rendering settings: a row of RenderingDef with its channels.

    Attributes:
        id: int.
        z, t: int, the plane that is shown first.
        model: str, as rendering.render takes it.
        channels: list of rendering.Channel.
    """

    id: int
    z: int
    t: int
    model: str
    channels: list


def stack_of(call, pixels_id):
    """Return the numbers of an image, a pixels.Stack.

    Args:
        call: calls.Call.
        pixels_id: int.

    Raises:
        Invalid: there are no such pixels, or they have no file.
        Forbidden: the caller may not see them.
    """
    row = call.connection.execute(
        "select p.owner_id, p.group_id, o.path || o.name from pixels p join image i on i.id = p.image"
        " left join filesetentry e on e.fileset = i.fileset left join originalfile o on o.id = e.originalfile"
        " where p.id = %s order by e.id limit 1",
        (pixels_id,),
    ).fetchone()
    if row is None:
        raise Invalid(f"there is no Pixels:{pixels_id}")
    owner_id, group_id, path = row
    if not may_read(call.context_for_all(), owner_id, group_id):
        raise Forbidden(f"Cannot read Pixels:{pixels_id}")
    if path is None:
        raise Invalid(f"Pixels:{pixels_id} has no file")
    return pixels.read(repository(call.blitz.settings) / path)


def repository(settings):
    """Return the Path of the managed repository, from OMERO's settings (dict of str to str)."""
    data = settings["omero.data.dir"]
    return Path(settings["omero.managed.dir"].replace("${omero.data.dir}", data.rstrip("/")))


def settings_of(call, pixels_id, settings_id=None):
    """Return rendering settings.

    Args:
        call: calls.Call.
        pixels_id: int.
        settings_id: int or None, certain ones; else the caller's own, or those of whoever imported the image.

    Returns:
        Settings, or None where there are none.

    Raises:
        Invalid: these are not the pixels' own.
    """
    row = call.connection.execute(
        "select r.id, r.defaultz, r.defaultt, m.value from renderingdef r join renderingmodel m on m.id = r.model"
        " join pixels p on p.id = r.pixels where r.pixels = %s and (%s::int8 is null or r.id = %s)"
        " order by (r.owner_id = %s) desc, (r.owner_id = p.owner_id) desc, r.id limit 1",
        (pixels_id, settings_id, settings_id, call.session.user_id),
    ).fetchone()
    if row is None:
        if settings_id is not None:
            raise Invalid(f"there is no RenderingDef:{settings_id} of Pixels:{pixels_id}")
        return None
    channels = [rendering.Channel(*each) for each in call.connection.execute(_BINDINGS, (row[0],)).fetchall()]
    return Settings(*row, channels)


def resolutions(stack):
    """Return the sizes (width, height) at which an image is shown, the whole one first: each half of the one before.

    An image of more than 3000 pixels a side has several, down to 1024 pixels; others have one.
    """
    height, width = stack.array.shape[-2:]
    sizes = [(width, height)]
    while max(width, height) > _LARGE and max(sizes[-1]) > _SMALLEST:
        step = 2 ** len(sizes)
        sizes.append((-(-width // step), -(-height // step)))
    return sizes


def picture(stack, settings, z, t, region=None, step=1):
    """Return the picture of a plane.

    Args:
        stack: pixels.Stack.
        settings: Settings.
        z, t: int.
        region: (x, y, width, height) in pixels of the resolution, or None; cut where the image ends.
        step: int, of how many pixels one is taken.

    Returns:
        numpy.ndarray of uint8, shape (Y, X, 3).

    Raises:
        ApiUsage: the image has no such plane or region.
    """
    sizes = stack.sizes()
    if not (0 <= z < sizes["sizeZ"] and 0 <= t < sizes["sizeT"]):
        raise ApiUsage(f"there is no plane z={z} t={t}, the image has {sizes['sizeZ']} and {sizes['sizeT']}")
    planes = [stack.plane(z, c, t)[::step, ::step] for c in range(sizes["sizeC"])]
    if region is not None:
        x, y, width, height = region
        whole_height, whole_width = planes[0].shape
        if not (0 <= x < whole_width and 0 <= y < whole_height and width > 0 and height > 0):
            raise ApiUsage(f"there is no region {region} in {whole_width} x {whole_height} pixels")
        planes = [plane[y : y + height, x : x + width] for plane in planes]
    return rendering.render(planes, settings.channels, settings.model)
