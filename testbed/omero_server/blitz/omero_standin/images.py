"""From a row of Pixels to its file's numbers and its rendering settings."""

import dataclasses
import functools
from pathlib import Path

import omero

from . import pixels, pyramids, rendering
from .errors import ApiUsage, Forbidden, Invalid, MissingPyramid
from .new_image import first_settings, new_settings
from .permissions import may_edit, may_read, to_string
from .queries import enumeration
from .read_only import ReadOnly
from .settings import is_read_only
from .store import Store

_BINDINGS = (
    "select active, inputstart, inputend, red, green, blue, alpha from channelbinding"
    " where renderingdef = %s order by id"
)

_SIZES = ("sizeX", "sizeY", "sizeZ", "sizeC", "sizeT")

# Pixels of the longest side of a pyramid's least resolution.
_SMALLEST = 1024
# Groups whose members see each other's images and make no rendering settings of them.
_READ_ONLY = "rwr---"


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
        Invalid: there are no such pixels.
        Forbidden: the caller may not see them.
    """
    owner_id, group_id, path, series, kind, *sizes = _row(call, pixels_id)
    if not may_read(call.context_for_all(), owner_id, group_id):
        raise Forbidden(f"Cannot read Pixels:{pixels_id}")
    if path is None:
        return pixels.stored(sent(call, pixels_id), dict(zip(_SIZES, sizes, strict=True)), kind)
    return pixels.read(repository(call.blitz.settings) / path, series)


def needs_pyramid(call, stack):
    """Tell whether an image (pixels.Stack) is shown from a pyramid alone: its file has no resolutions of its own."""
    return stack.resolutions == 1 and requires_pyramid(call, stack)


def requires_pyramid(call, stack):
    """Tell whether the planes of an image (pixels.Stack) are large ones."""
    sizes = stack.sizes()
    return pyramids.required(call.blitz.settings, sizes["sizeX"], sizes["sizeY"], stack.type)


def shown(call, pixels_id):
    """Return the numbers of an image, a pixels.Stack, where somebody may see a picture or the numbers by now.

    Raises:
        MissingPyramid: it has large planes, and no pyramid yet.
        Invalid, Forbidden: as from stack_of.
    """
    stack = stack_of(call, pixels_id)
    path = pyramids.path_of(call.blitz.settings, pixels_id)
    if needs_pyramid(call, stack) and not path.exists():
        raise MissingPyramid(pixels_id, path, pyramids.back_off(stack.sizes()))
    return stack


def others_settings_alone(call, pixels_id):
    """Tell whether the caller sees an image with its owner's settings, and cannot have some of their own.

    So do members of a read-only group, who neither own the image nor lead the group.
    """
    owner_id, group_id, *_ = _row(call, pixels_id)
    context = call.context_for_all()
    if context.is_admin or group_id in context.leaderships or owner_id == context.user_id:
        return False
    return to_string(context.group_permissions[group_id]) == _READ_ONLY


def owner_of(call, pixels_id):
    """Return the id (int) of the user who owns an image."""
    return _row(call, pixels_id)[0]


def write_plane(call, pixels_id, place, numbers):
    """Write a plane of an image that has no file of its own.

    Args:
        call: calls.Call.
        pixels_id: int.
        place: (z, c, t), ints.
        numbers: bytes of the plane, in the order of networks.

    Raises:
        Invalid: there are no such pixels or planes, or the numbers are too few or too many.
        ApiUsage: the image was imported from a file.
        Forbidden: the caller may not change it.
        ReadOnly: the server's repository is read-only.
    """
    owner_id, group_id, path, _, kind, *sizes = _row(call, pixels_id)
    if is_read_only(call.blitz.settings, "repo"):
        raise ReadOnly
    if not may_edit(call.context_for_all(), owner_id, group_id):
        raise Forbidden(f"Updating Pixels:{pixels_id} not allowed")
    if path is not None:
        raise ApiUsage(f"Pixels:{pixels_id} are read from {path}")
    try:
        pixels.write_plane(sent(call, pixels_id), dict(zip(_SIZES, sizes, strict=True)), kind, place, numbers)
    except ValueError as error:
        raise Invalid(str(error)) from error


def _row(call, pixels_id):
    row = call.connection.execute(
        "select p.owner_id, p.group_id, o.path || o.name, i.series, k.value,"
        " p.sizex, p.sizey, p.sizez, p.sizec, p.sizet"
        " from pixels p join image i on i.id = p.image join pixelstype k on k.id = p.pixelstype"
        " left join filesetentry e on e.fileset = i.fileset left join originalfile o on o.id = e.originalfile"
        " where p.id = %s order by e.id limit 1",
        (pixels_id,),
    ).fetchone()
    if row is None:
        raise Invalid(f"there is no Pixels:{pixels_id}")
    return row


def sent(call, pixels_id):
    """Return the Path of the planes that clients sent of an image that has no file of its own."""
    return Path(call.blitz.settings["omero.data.dir"]) / "Pixels" / pyramids.long_to_path(pixels_id)


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


def enumerations(call):
    """Return a function from an enumeration's name and a value to its object, for new_image."""
    return functools.partial(enumeration, call)


def reset_settings(call, pixels_id):
    """Give the caller settings of their own of an image, or make theirs what they were at first.

    Args:
        call: calls.Call.
        pixels_id: int.

    Raises:
        MissingPyramid, Invalid, Forbidden: as from shown and store.Store.save.
    """
    replace_settings(call, pixels_id, first_settings(shown(call, pixels_id), enumerations(call)))


def save_settings(call, pixels_id, settings):
    """Keep Settings as the caller's own; their former ones of the image are replaced."""
    channels = [dataclasses.replace(each) for each in settings.channels]
    made = new_settings(settings.z, settings.t, settings.model, channels, enumerations(call))
    replace_settings(call, pixels_id, made)


def replace_settings(call, pixels_id, made):
    """Save a RenderingDef (omero.model) and delete the caller's former ones of the image."""
    former = call.connection.execute(
        "select id from renderingdef where pixels = %s and owner_id = %s", (pixels_id, call.session.user_id)
    ).fetchall()
    made.pixels = omero.model.PixelsI(pixels_id, False)
    Store(call).save(made)
    for (identifier,) in former:
        call.connection.execute("delete from channelbinding where renderingdef = %s", (identifier,))
        call.connection.execute("delete from renderingdef where id = %s", (identifier,))


def resolutions(call, stack):
    """Return the sizes (width, height) at which an image is shown, the whole one first: each half of the one before.

    A file that has several says how many. Else a pyramid has several, down to 1024 pixels a side.
    """
    is_pyramid = needs_pyramid(call, stack)
    height, width = stack.array.shape[-2:]
    sizes = [(width, height)]
    while len(sizes) < stack.resolutions or (is_pyramid and max(sizes[-1]) > _SMALLEST):
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
