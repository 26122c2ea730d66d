"""IRoi: regions of interest with their shapes."""

# The texts are HQL, of names that schema.py knows; a client's values are parameters.
# ruff: noqa: S608

import omero

from ..model import from_rtype
from ..queries import run

_MEASUREMENT = omero.constants.namespaces.NSMEASUREMENT
_OF_PLATE = (
    "select l.child.id from PlateAnnotationLink l join l.parent p join p.wells w join w.wellSamples s"
    " where s.image.id = :id"
)


def _find(call, conditions, values, options=None):
    """Return the regions with shapes for which HQL holds, of `r`, a region, and `s`, its shape.

    Args:
        call: calls.Call.
        conditions: str.
        values: dict of the values of its named parameters.
        options: omero.api.RoiOptions or None. As in the real server the kinds of shapes named there change nothing.

    Returns:
        list of omero.model.Roi in the order of their ids; the place of a shape for which it does not hold is empty.
    """
    limit = offset = None
    if options is not None:
        limit, offset = from_rtype(options.limit), from_rtype(options.offset)
        for name, given in (("owner", options.userId), ("group", options.groupId)):
            if given is not None:
                values = values | {name: from_rtype(given)}
                conditions += f" and r.details.{name}.id = :{name}"
    text = f"select r from Roi r join fetch r.shapes s where {conditions} order by r.id"
    return [row[0] for row in run(call, text, values, limit, offset)]


def _result(found, options):
    """Return regions as a client wants them, and their shapes by plane: -1 for those on every plane."""
    by_z, by_t = {}, {}
    for shape in (each for roi in found for each in roi.copyShapes() if each is not None):
        for by_place, place in ((by_z, shape.theZ), (by_t, shape.theT)):
            by_place.setdefault(-1 if place is None else place.val, []).append(shape)
    return omero.api.RoiResult(opts=options, rois=found, byZ=by_z, byT=by_t)


class Roi:
    """Answers what the caller may see; a region without a shape is never found."""

    def findByImage(self, call, image_id, options):
        """Return an image's regions."""
        return _result(_find(call, "r.image.id = :id", {"id": image_id}, options), options)

    def findByRoi(self, call, roi_id, options):
        """Return one region."""
        return _result(_find(call, "r.id = :id", {"id": roi_id}, options), options)

    def findByPlane(self, call, image_id, z, t, options):
        """Return an image's regions that have a shape on a plane, with these shapes."""
        conditions = "r.image.id = :id and (s.theZ is null or s.theZ = :z) and (s.theT is null or s.theT = :t)"
        return _result(_find(call, conditions, {"id": image_id, "z": z, "t": t}, options), options)

    def getRoiMeasurements(self, call, image_id, options):
        """Return the tables of measurements that are linked to an image's plate and to a region of the image."""
        text = (
            f"select a from FileAnnotation a where a.ns = :ns and a.id in ({_OF_PLATE}) and a.id in"
            " (select l.child.id from RoiAnnotationLink l where l.parent.image.id = :id) order by a.id"
        )
        return [row[0] for row in run(call, text, {"ns": _MEASUREMENT, "id": image_id})]

    def getMeasuredRois(self, call, image_id, annotation_id, options):
        """Return an image's regions where the annotation is linked to the image's plate."""
        return self.getMeasuredRoisMap(call, image_id, [annotation_id], options)[annotation_id]

    def getMeasuredRoisMap(self, call, image_id, annotation_ids, options):
        """Return the same for several annotations."""
        rows = run(call, f"select a.id from Annotation a where a.id in ({_OF_PLATE})", {"id": image_id})
        linked = {row[0].val for row in rows}
        found = _find(call, "r.image.id = :id", {"id": image_id})
        return {each: _result(found if each in linked else [], options) for each in annotation_ids}
