"""Regions of interest: changed by who made them, seen by others, deleted with their image. Writes: for scenarios."""

import pytest

testinfra_hosts = ["ansible://omero_readwrite"]
pytestmark = pytest.mark.unit("omero-server")

MAKE = """
number, text, pixel = omero.rtypes.rdouble, omero.rtypes.rstring, omero.model.enums.UnitsLength.PIXEL
image = ezomero.post_image(connection, numpy.zeros((40, 30, 2, 1, 1), dtype="uint8"), "regions", dim_order="xyzct")
box = omero.model.RectangleI()
box.x, box.y, box.width, box.height = map(number, (4, 5, 6.5, 7))
box.theZ, box.theT, box.textValue = omero.rtypes.rint(1), omero.rtypes.rint(0), text("nucleus")
box.strokeWidth = omero.model.LengthI(2, pixel)
box.transform = omero.model.AffineTransformI()
for name, value in {"a00": 1, "a10": 0, "a01": 0, "a11": 1, "a02": 3, "a12": 4}.items():
    setattr(box.transform, name, number(value))
mask = omero.model.MaskI()
mask.x, mask.y, mask.width, mask.height = map(number, (0, 0, 4, 4))
mask.setBytes(bytes([170, 85]))
outline = omero.model.PolygonI()
outline.points = text("0,0 10,0 10,10")
roi = omero.model.RoiI()
roi.setImage(omero.model.ImageI(image, False))
for shape in (box, mask, outline):
    roi.addShape(shape)
roi = connection.getUpdateService().saveAndReturnObject(roi)
ezomero.post_roi(connection, image, [ezomero.rois.Point(1, 2, label="by ezomero")])
result = {"image": image, "roi": roi.id.val, "shapes": [shape.id.val for shape in roi.copyShapes()]}
"""
READ = """
service = connection.getRoiService()
first, second = service.findByImage(given["image"], None).rois
box, mask, outline = first.copyShapes()
result = {
    "ids": [box.id.val, mask.id.val, outline.id.val],
    "box": [each.val for each in (box.x, box.y, box.width, box.height, box.theZ, box.theT, box.textValue)],
    "stroke": [box.strokeWidth.getValue(), box.strokeWidth.getUnit().name],
    "moved": [box.transform.a02.val, box.transform.a12.val],
    "mask": list(mask.getBytes()),
    "outline": outline.points.val,
    "ezomero": ezomero.get_shape(connection, ezomero.get_shape_ids(connection, second.id.val)[0]).label,
    "count": connection.getObject("Image", given["image"]).getROICount(),
    "on the first plane": [
        type(each).__name__ for each in service.findByPlane(given["image"], 0, 0, None).rois[0].copyShapes()
    ],
}
"""
# Everything that would change one.
CHANGE = """
service, update = connection.getRoiService(), connection.getUpdateService()
def found():
    return service.findByRoi(given["roi"], None).rois[0]
def write():
    shape = found().getShape(0)
    shape.textValue = omero.rtypes.rstring("changed")
    update.saveObject(shape)
def take_out():
    roi = found()
    roi.removeShape(roi.getShape(1))
    update.saveObject(roi)
def add():
    roi = omero.model.RoiI()
    roi.setImage(omero.model.ImageI(given["image"], False))
    roi.addShape(omero.model.PointI())
    update.saveObject(roi)
result = {
    "write": refused(write),
    "take out": refused(take_out),
    "delete a shape": refused(lambda: connection.deleteObjects("Shape", given["shapes"][:1], wait=True)),
    "delete": refused(lambda: connection.deleteObjects("Roi", [given["roi"]], wait=True)),
    "add": refused(add),
}
"""
EDIT = """
service, update = connection.getRoiService(), connection.getUpdateService()
def found():
    return service.findByRoi(given["roi"], None).rois[0]
def names():
    return [None if each is None else type(each).__name__ for each in found().copyShapes()]
roi = found()
roi.addShape(omero.model.LineI())
roi.removeShape(roi.getShape(0))
update.saveObject(roi)
seen = [names()]
connection.deleteObjects("Shape", [found().getShape(1).id.val], wait=True)
seen.append(names())
alone = omero.model.PointI()
alone.setRoi(omero.model.RoiI(given["roi"], False))
tag = omero.model.TagAnnotationI()
tag.textValue = omero.rtypes.rstring("seen")
link = omero.model.ShapeAnnotationLinkI()
link.setParent(found().getShape(0).proxy())
link.setChild(tag)
link = update.saveAndReturnObject(link)
result = {
    "lists": seen,
    "a shape without its region": refused(lambda: update.saveObject(alone)),
    "tagged": type(link.getParent()).__name__,
    "tag": link.getChild().id.val,
}
"""
REMOVE = """
connection.deleteObjects("Image", [given["image"]], wait=True)
query, ids = connection.getQueryService(), omero.sys.ParametersI().addLong("id", given["image"])
left = {name: query.find(name, given["roi"] if name == "Roi" else given["image"]) for name in ("Image", "Roi")}
shapes = [connection.getObject("Shape", each) for each in given["shapes"]]
result = {
    "left": [name for name, each in left.items() if each is not None],
    "shapes": len([each for each in shapes if each is not None]),
    "regions": query.projection("select count(r.id) from Roi r where r.image.id = :id", ids)[0][0].val,
    "tag": connection.getObject("TagAnnotation", given["tag"]) is not None,
}
connection.deleteObjects("Annotation", [given["tag"]], wait=True)
"""


def test_regions(script):
    """A curator's regions are seen by visitors as they were made, changed by no visitor, and deleted with the image."""
    made = script("curator", MAKE)
    wanted = {
        "ids": made["shapes"],
        "box": [4, 5, 6.5, 7, 1, 0, "nucleus"],
        "stroke": [2, "PIXEL"],
        "moved": [3, 4],
        "mask": [170, 85],
        "outline": "0,0 10,0 10,10",
        "ezomero": "by ezomero",
        "count": 2,
        # The list keeps the place of a shape that is elsewhere.
        "on the first plane": ["NoneType", "MaskI", "PolygonI"],
    }
    assert script("public", READ, made) == wanted
    refused = script("public", CHANGE, made)
    assert refused == {
        "write": "SecurityViolation",
        "take out": "SecurityViolation",
        "delete a shape": "CmdError",
        "delete": "CmdError",
        "add": "ReadOnlyGroupSecurityViolation",
    }
    assert script("public", READ, made) == wanted, "a visitor changed it"
    edited = script("curator", EDIT, made)
    assert edited["lists"] == [["MaskI", "PolygonI", "LineI"], ["MaskI", None, "LineI"]]
    assert edited["a shape without its region"] == "ValidationException"
    assert edited["tagged"] == "MaskI"
    left = script("curator", REMOVE, made | edited)
    assert left == {"left": [], "shapes": 0, "regions": 0, "tag": True}
