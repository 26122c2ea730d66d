"""The part of OMERO's object model that the stand-in keeps, and its tables.

One entity an entry: name, table, fields. A field's kind says its column's type and its RType; `one` is a foreign
key, `many` the other end of one. Names follow omero.model, columns the real database.
"""

from dataclasses import dataclass, field

from .errors import Unsupported

# A length is kept in nanometres, a measure in its own unit, whose symbol is in a column beside it.
SCALARS = ("string", "long", "int", "double", "bool", "time", "length", "measure", "bytes")


@dataclass(frozen=True)
class Field:
    """A column of an entity.

    Attributes:
        name: str, in omero.model.
        column: str, in the table.
        kind: str, one of SCALARS, or `one` for a foreign key.
        target: str or None, the entity that a foreign key refers to.
        required: bool, may not be null.
    """

    name: str
    column: str
    kind: str
    target: str | None = None
    required: bool = False

    @property
    def columns(self):
        """The columns that hold its value."""
        return [self.column, f"{self.column}unit"] if self.kind == "measure" else [self.column]


@dataclass(frozen=True)
class Collection:
    """The objects that refer to an entity.

    Attributes:
        name: str, in omero.model.
        target: str, the entity of the objects.
        column: str, their foreign key.
        place: str or None, their column with the place in the list, from 0, where the database keeps one. Such a list
            says itself what is in it: saved with its owner, and by nothing else.
    """

    name: str
    target: str
    column: str
    place: str | None = None
    kind: str = "many"


@dataclass(frozen=True)
class Entity:
    """A class of omero.model and its table; see the module's text."""

    name: str
    table: str
    fields: dict = field(default_factory=dict)
    collections: dict = field(default_factory=dict)
    owned: bool = True
    base: str | None = None
    discriminator: str | None = None
    versioned: bool = True
    # Rows of another's, without id and permissions of their own: they can be joined, not asked for.
    embedded: bool = False

    @property
    def is_enumeration(self):
        """Tell whether its rows are values that nobody changes."""
        return "value" in self.fields and "name" not in self.fields

    @property
    def is_link(self):
        """Tell whether it joins two objects."""
        return self.owned and {"parent", "child"} <= self.fields.keys()

    @property
    def is_annotation_link(self):
        """Tell whether it joins an object and an annotation."""
        return self.is_link and self.fields["child"].target == "Annotation"


# Tables that hold several classes; the column `discriminator` says which one a row is of.
OF_SEVERAL_CLASSES = ("annotation", "job", "shape")

# Every owned object has these; HQL calls them details.owner and so on.
DETAILS = {
    "owner": Field("owner", "owner_id", "one", "Experimenter", True),
    "group": Field("group", "group_id", "one", "ExperimenterGroup", True),
    "creationEvent": Field("creationEvent", "creation_id", "one", "Event", True),
    "updateEvent": Field("updateEvent", "update_id", "one", "Event", True),
    "externalInfo": Field("externalInfo", "external_id", "one", "ExternalInfo"),
}


def _entity(name, text, table=None, collections=(), **more):
    """Make an entity of `text`: a field a word, `name:kind`, `!` after a required one, `@column` where it differs.

    Collections are `name:entity.column`, with `@column` for the one that keeps the place in a list.
    """
    fields = {}
    for word in text.split():
        word, _, column = word.partition("@")
        field_name, _, kind = word.partition(":")
        required = kind.endswith("!")
        kind = kind.rstrip("!")
        target = None if kind in SCALARS else kind
        fields[field_name] = Field(
            field_name, column or field_name.lower(), "one" if target else kind, target, required
        )
    many = {}
    for line in collections:
        collection, target = line.split(":")
        target, _, column = target.partition(".")
        column, _, place = column.partition("@")
        many[collection] = Collection(collection, target, column, place or None)
    return Entity(name, table or name.lower(), fields, many, **more)


def _annotated(name, text, collections=(), **more):
    return _entity(name, text, collections=(*collections, f"annotationLinks:{name}AnnotationLink.parent"), **more)


def _link(parent, child, name=None):
    return _entity(name or f"{parent}{child}Link", f"parent:{parent}! child:{child}!")


def _enumeration(name, text=""):
    return _entity(name, f"value:string! {text}", owned=False, versioned=False)


_NAMED = "name:string! description:string"
_JOB = (
    "username:string! groupname:string! type:string! message:string! status:JobStatus! submitted:time!"
    " scheduledFor:time! started:time finished:time"
)
_ANNOTATION = "ns:string name:string description:string"
_SHAPE = (
    "theZ:int theT:int theC:int roi:Roi! locked:bool transform:AffineTransform fillColor:int fillRule:string"
    " strokeColor:int strokeDashArray:string strokeWidth:measure fontFamily:string fontSize:measure fontStyle:string"
)
_PLAIN = [
    _annotated(
        "Experimenter",
        "omeName:string! firstName:string! middleName:string lastName:string! institution:string email:string"
        " ldap:bool!",
        collections=["groupExperimenterMap:GroupExperimenterMap.child"],
        owned=False,
    ),
    _annotated(
        "ExperimenterGroup",
        "name:string! description:string ldap:bool!",
        collections=["groupExperimenterMap:GroupExperimenterMap.parent"],
        owned=False,
    ),
    _entity("GroupExperimenterMap", "parent:ExperimenterGroup! child:Experimenter! owner:bool!", owned=False),
    _entity(
        "Session",
        "uuid:string! owner:Experimenter! timeToIdle:long! timeToLive:long! started:time! closed:time"
        " message:string defaultEventType:string! userAgent:string userIP:string",
        owned=False,
    ),
    _entity(
        "Event",
        "time:time! status:string experimenter:Experimenter! experimenterGroup:ExperimenterGroup!"
        " type:EventType! session:Session!",
        owned=False,
        versioned=False,
    ),
    _enumeration("AdminPrivilege"),
    _enumeration("EventType"),
    _enumeration("PixelsType", "bitSize:int"),
    _enumeration("DimensionOrder"),
    _enumeration("Format"),
    _enumeration("RenderingModel"),
    _enumeration("Family"),
    _enumeration("PhotometricInterpretation"),
    _enumeration("Illumination"),
    _enumeration("AcquisitionMode"),
    _enumeration("ContrastMethod"),
    _enumeration("ChecksumAlgorithm"),
    _enumeration("JobStatus"),
    # Imports write it, for `omero fs importtime`, and nothing else does.
    _entity("EventLog", "entityId:long! entityType:string! action:string! event:Event!", owned=False, versioned=False),
    _entity(
        "ExternalInfo",
        "entityId:long! entityType:string! lsid:string uuid:string",
        owned=False,
        versioned=False,
    ),
    _annotated("Project", _NAMED, ["datasetLinks:ProjectDatasetLink.parent"]),
    _annotated("Dataset", _NAMED, ["projectLinks:ProjectDatasetLink.child", "imageLinks:DatasetImageLink.parent"]),
    _annotated(
        "Image",
        _NAMED + " acquisitionDate:time archived:bool partial:bool series:int! format:Format fileset:Fileset",
        [
            "datasetLinks:DatasetImageLink.child",
            "pixels:Pixels.image",
            "wellSamples:WellSample.image",
            "rois:Roi.image",
        ],
    ),
    _entity(
        "Pixels",
        "image:Image! pixelsType:PixelsType! dimensionOrder:DimensionOrder! significantBits:int sha1:string!"
        " sizeX:int! sizeY:int! sizeZ:int! sizeC:int! sizeT:int! methodology:string"
        " physicalSizeX:length physicalSizeY:length physicalSizeZ:length",
        collections=[
            "thumbnails:Thumbnail.pixels",
            "channels:Channel.pixels",
            "settings:RenderingDef.pixels",
            "pixelsFileMaps:PixelsOriginalFileMap.child",
        ],
    ),
    _annotated(
        "Channel",
        "pixels:Pixels! logicalChannel:LogicalChannel! statsInfo:StatsInfo red:int green:int blue:int alpha:int"
        " lookupTable:string",
    ),
    _entity(
        "LogicalChannel",
        "name:string fluor:string emissionWave:length excitationWave:length"
        " photometricInterpretation:PhotometricInterpretation illumination:Illumination mode:AcquisitionMode"
        " contrastMethod:ContrastMethod",
    ),
    # The importer writes none: the files that it reads do not say when a plane was taken.
    _entity(
        "PlaneInfo",
        "pixels:Pixels! theZ:int! theC:int! theT:int! deltaT:double exposureTime:double",
    ),
    _entity("StatsInfo", "globalMin:double! globalMax:double!"),
    _entity(
        "RenderingDef",
        "pixels:Pixels! defaultZ:int! defaultT:int! name:string compression:double model:RenderingModel!",
        collections=["waveRendering:ChannelBinding.renderingdef"],
    ),
    _entity(
        "ChannelBinding",
        "renderingDef:RenderingDef! active:bool! inputStart:double! inputEnd:double! red:int! green:int! blue:int!"
        " alpha:int! coefficient:double! family:Family! noiseReduction:bool! lookupTable:string",
    ),
    _entity("Thumbnail", "pixels:Pixels! mimeType:string! sizeX:int! sizeY:int! ref:string"),
    _annotated("Roi", "name:string description:string image:Image source:OriginalFile", ["shapes:Shape.roi@roi_index"]),
    _annotated("Shape", _SHAPE),
    _entity("AffineTransform", "a00:double! a10:double! a01:double! a11:double! a02:double! a12:double!"),
    _annotated(
        "Fileset",
        "templatePrefix:string!",
        ["images:Image.fileset", "usedFiles:FilesetEntry.fileset", "jobLinks:FilesetJobLink.parent"],
    ),
    _entity("FilesetEntry", "fileset:Fileset! originalFile:OriginalFile! clientPath:string!"),
    _annotated(
        "OriginalFile",
        "name:string! path:string! repo:string size:long mimetype:string hash:string hasher:ChecksumAlgorithm"
        " mtime:time",
    ),
    _entity("Job", _JOB, collections=["originalFileLinks:JobOriginalFileLink.parent"]),
    _link("Fileset", "Job"),
    _link("Job", "OriginalFile"),
    _annotated(
        "Screen",
        _NAMED + " type:string protocolIdentifier:string protocolDescription:string reagentSetIdentifier:string"
        " reagentSetDescription:string",
        ["plateLinks:ScreenPlateLink.parent"],
    ),
    _annotated(
        "Plate",
        _NAMED + " columnNamingConvention:string rowNamingConvention:string rows:int columns:int defaultSample:int"
        " status:string externalIdentifier:string",
        ["screenLinks:ScreenPlateLink.child", "wells:Well.plate", "plateAcquisitions:PlateAcquisition.plate"],
    ),
    _annotated(
        "PlateAcquisition",
        "name:string description:string startTime:time endTime:time maximumFieldCount:int plate:Plate!",
        ["wellSample:WellSample.plateacquisition"],
    ),
    _annotated(
        "Well",
        "plate:Plate! row:int column:int status:string type:string externalDescription:string"
        " externalIdentifier:string red:int green:int blue:int alpha:int",
        ["wellSamples:WellSample.well"],
    ),
    _entity("WellSample", "well:Well! image:Image plateAcquisition:PlateAcquisition timepoint:time"),
    _annotated("Annotation", _ANNOTATION, ["mapValue:NamedValue.annotation_id"]),
    _entity(
        "NamedValue",
        "name:string value:string",
        table="annotation_mapvalue",
        owned=False,
        versioned=False,
        embedded=True,
    ),
    _link("Project", "Dataset"),
    _link("Dataset", "Image"),
    _link("Screen", "Plate"),
    # What OMERO 4 archived beside the pixels: there is none.
    _link("OriginalFile", "Pixels", "PixelsOriginalFileMap"),
]

# Subclasses of Annotation: what each adds, and the value that marks it in the column `discriminator`.
_ANNOTATIONS = {
    "MapAnnotation": ("", "/map/"),
    "TagAnnotation": ("textValue:string", "/basic/text/tag/"),
    "CommentAnnotation": ("textValue:string", "/basic/text/comment/"),
    "XmlAnnotation": ("textValue:string", "/basic/text/xml/"),
    "TermAnnotation": ("termValue:string", "/basic/term/"),
    "LongAnnotation": ("longValue:long", "/basic/num/long/"),
    "DoubleAnnotation": ("doubleValue:double", "/basic/num/double/"),
    "BooleanAnnotation": ("boolValue:bool", "/basic/bool/"),
    "TimestampAnnotation": ("timeValue:time", "/basic/time/"),
    "FileAnnotation": ("file:OriginalFile", "/type/OriginalFile/"),
}

# Subclasses of Shape, in the same way.
_BOX = "x:double y:double width:double height:double"
_MARKERS = "markerStart:string markerEnd:string"
_SHAPES = {
    "Rectangle": (_BOX, "rect"),
    "Ellipse": ("x:double y:double radiusX:double radiusY:double", "ellipse"),
    "Point": ("x:double y:double", "point"),
    "Label": ("x:double y:double", "text"),
    "Line": (f"x1:double y1:double x2:double y2:double {_MARKERS}", "line"),
    "Polyline": (f"points:string {_MARKERS}", "polyline"),
    "Polygon": ("points:string", "polygon"),
    "Path": ("d:string", "path"),
    "Mask": (f"{_BOX} pixels:Pixels bytes:bytes", "mask"),
}

ENTITIES = {entity.name: entity for entity in _PLAIN}
for _parent in [name for name, entity in ENTITIES.items() if "annotationLinks" in entity.collections]:
    ENTITIES[f"{_parent}AnnotationLink"] = _link(_parent, "Annotation")
for _name, (_text, _mark) in _ANNOTATIONS.items():
    ENTITIES[_name] = _entity(
        _name,
        f"{_ANNOTATION} {_text}",
        table="annotation",
        collections=[
            "annotationLinks:AnnotationAnnotationLink.parent",
            *(["mapValue:NamedValue.annotation_id"] if _name == "MapAnnotation" else []),
        ],
        base="Annotation",
        discriminator=_mark,
    )

for _name, (_text, _mark) in _SHAPES.items():
    ENTITIES[_name] = _entity(
        _name,
        f"{_SHAPE} {_text} textValue:string",
        table="shape",
        collections=["annotationLinks:ShapeAnnotationLink.parent"],
        base="Shape",
        discriminator=_mark,
    )

# Subclasses of Job, the steps of an import and what runs scripts, and what each adds; in the real database each has a
# table of its own beside that of Job.
_JOBS = {
    "UploadJob": "",
    "MetadataImportJob": "",
    "PixelDataJob": "",
    "ThumbnailGenerationJob": "",
    "ScriptJob": "description:string",
    "ParseJob": "",
}
for _name, _text in _JOBS.items():
    ENTITIES[_name] = _entity(
        _name,
        f"{_JOB} {_text}",
        table="job",
        collections=["originalFileLinks:JobOriginalFileLink.parent"],
        base="Job",
        discriminator=_name,
    )

BY_DISCRIMINATOR = {entity.discriminator: entity for entity in ENTITIES.values() if entity.discriminator}
# Java's packages; what is in none of them is in ome.model.annotations.
_PACKAGES = {
    "containers": "Project Dataset ProjectDatasetLink DatasetImageLink",
    "core": "Image Pixels PlaneInfo Channel LogicalChannel OriginalFile",
    "display": "RenderingDef ChannelBinding Thumbnail",
    "fs": "Fileset FilesetEntry FilesetJobLink",
    "jobs": "UploadJob MetadataImportJob PixelDataJob ThumbnailGenerationJob ScriptJob ParseJob JobOriginalFileLink",
    "roi": f"Roi Shape AffineTransform {' '.join(_SHAPES)}",
    "screen": "Screen Plate PlateAcquisition Well WellSample ScreenPlateLink",
    "stats": "StatsInfo",
}
_PACKAGE_OF = {name: package for package, names in _PACKAGES.items() for name in names.split()}


_SUBCLASSES = {name: [each for each in ENTITIES.values() if each.base == name] for name in ENTITIES}
_LISTS = {
    many.target: (owner, many) for owner in ENTITIES.values() for many in owner.collections.values() if many.place
}


def entity(name):
    """Return an entity by the name that a client uses.

    Args:
        name: str, `Project`, `ProjectI`, `omero.model.Project` or `ome.model.containers.Project`.

    Raises:
        Unsupported: the stand-in has no such entity.
    """
    short = name.strip().rpartition(".")[2].rpartition(":")[2]
    if short not in ENTITIES and short.endswith("I"):
        short = short[:-1]
    try:
        return ENTITIES[short]
    except KeyError:
        raise Unsupported(f"objects of type {name}") from None


def java_class(name):
    """Return the name of an entity's class in Java, as clients see it: ome.model.roi.Rectangle of Rectangle."""
    return f"ome.model.{_PACKAGE_OF.get(name, 'annotations')}.{name}"


def subclasses(kept):
    """Return the entities whose rows are in the table of an entity, beside its own."""
    return _SUBCLASSES[kept.name]


def all_fields(kept):
    """Return the fields that a row of an entity has, its subclasses' included, details excluded."""
    fields = dict(kept.fields)
    for each in subclasses(kept):
        fields.update(each.fields)
    return fields


def list_of(kept):
    """Return the list that says itself which objects of an entity are in it.

    Returns:
        (Entity, Collection), the list's owner and the list, or None where the entity has no such list.
    """
    return _LISTS.get(kept.base or kept.name)


def columns(kept):
    """Return the columns that a query reads to build an object of an entity.

    Returns:
        list of str, `id` first.
    """
    names = [] if kept.embedded else ["id", "permissions"]
    if kept.versioned:
        names.append("version")
    if kept.table in OF_SEVERAL_CLASSES:
        names.append("discriminator")
    if list_of(kept) is not None:
        names.append(list_of(kept)[1].place)
    names += [column for each in all_fields(kept).values() for column in each.columns]
    if kept.owned:
        names += [each.column for each in DETAILS.values()]
    return names
