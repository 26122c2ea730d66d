"""Between rows and the objects of omero.model."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import omero
import omero.rtypes as rtypes
from omero_model_PermissionsI import PermissionsI
from psycopg import sql

from .permissions import restrictions, to_string
from .schema import (
    BY_DISCRIMINATOR,
    DETAILS,
    OF_SEVERAL_CLASSES,
    all_fields,
    columns,
    entity,
    java_class,
    list_of,
    subclasses,
)

_EPOCH = datetime(1970, 1, 1)
_UNITS = {omero.model.LengthI.lookupSymbol(unit): unit for unit in omero.model.enums.UnitsLength._enumerators.values()}
_FLAGS = ("canLink", "canEdit", "canDelete", "canAnnotate", "canChgrp", "canChown")


def to_milliseconds(when):
    """Return a UTC time without zone as milliseconds since 1970."""
    return (when - _EPOCH) // timedelta(milliseconds=1)


def from_milliseconds(milliseconds):
    """Return milliseconds since 1970 as UTC time without zone."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).replace(tzinfo=None)


def to_rtype(value, kind=None):
    """Return a value from PostgreSQL as RType.

    Args:
        value: what psycopg returned.
        kind: str or None, a scalar's kind of schema.py; else the value's type decides.

    Returns:
        omero.RType or None.
    """
    if value is None:
        return None
    if kind == "class":
        return rtypes.rstring(java_class(BY_DISCRIMINATOR[value].name))
    if kind == "group permissions":
        return rtypes.rmap({"perm": rtypes.rstring(to_string(value))})
    if kind == "length":
        return omero.model.LengthI(value, omero.model.enums.UnitsLength.NANOMETER)
    if isinstance(value, datetime):
        return rtypes.rtime(to_milliseconds(value))
    if isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bool):
        return rtypes.rbool(value)
    if isinstance(value, int):
        return rtypes.rint(value) if kind == "int" else rtypes.rlong(value)
    if isinstance(value, float):
        return rtypes.rdouble(value)
    return rtypes.rstring(value)


def from_rtype(value):
    """Return an RType, a list of them or None as what psycopg takes; an object becomes its id."""
    if value is None:
        return None
    if isinstance(value, omero.model.Length):
        return omero.model.LengthI(value, omero.model.enums.UnitsLength.NANOMETER).getValue()
    if isinstance(value, omero.RTime):
        return from_milliseconds(value.val)
    if isinstance(value, omero.RCollection):
        return [from_rtype(each) for each in value.val]
    if isinstance(value, omero.RObject):
        return from_rtype(value.val.id) if value.val is not None else None
    return value.val


def to_measure(value, symbol):
    """Return a length in the unit of this symbol as omero.model.LengthI, None where there is none."""
    return None if value is None else omero.model.LengthI(value, _UNITS[symbol])


def from_measure(length):
    """Return the value and the symbol of the unit of a length, both None where there is none."""
    return (None, None) if length is None else (length.getValue(), omero.model.LengthI.lookupSymbol(length.getUnit()))


def new_object(name, identifier, loaded):
    """Return an object of omero.model by its class's plain name, without collections."""
    built = getattr(omero.model, name + "I")(identifier, loaded)
    if loaded:
        built.unloadCollections()
    return built


def permissions_object(context, stored, owner_id=None, group_id=None):
    """Return the PermissionsI of an object: its group's, and what the caller may not do with it."""
    permissions = PermissionsI(context.group_permissions.get(group_id, stored))
    if owner_id is not None:
        permissions._restrictions = restrictions(context, owner_id, group_id)
    else:
        permissions._restrictions = [not context.is_admin] * len(_FLAGS)
    return permissions


class Assembler:
    """Builds the objects of one query: each row of a table once, however often the result holds it.

    Args:
        context: permissions.Context of the caller.
        compiled: compiler.Compiled.
    """

    def __init__(self, context, compiled):
        """Start without objects."""
        self.context = context
        self.compiled = compiled
        self.objects = {}
        self.maps = {}
        self.unknown = {}
        self.places = {}
        self.transforms = {}
        self.attached = set()

    def results(self, connection, rows):
        """Return a list of rows, each a list of RTypes and omero.model objects, one an output of the query."""
        results = []
        for row in rows:
            slots = [self.object_of(slot, row) for slot in self.compiled.slots]
            for fetch in self.compiled.fetches:
                self.attach(slots[fetch.owner], fetch.attribute, slots[fetch.slot])
            results.append([self.output(output, slots, row) for output in self.compiled.outputs])
        self.complete(connection)
        return results

    def output(self, output, slots, row):
        """Return one selected item of a row."""
        if output.kind == "entity":
            return slots[output.position]
        if output.kind == "permissions":
            return self.permissions_map(slots[output.position])
        return to_rtype(row[output.position], output.kind)

    def permissions_map(self, built):
        """Return what the caller may do with an object, as OMERO.web's tree asks for it."""
        permissions = built.details.permissions
        values = {flag: rtypes.rbool(getattr(permissions, flag)()) for flag in _FLAGS}
        values["perm"] = rtypes.rstring(str(permissions))
        return rtypes.rmap(values)

    def object_of(self, slot, row):
        """Return the object of a slot, None where an outer join found nothing."""
        kept = slot.entity
        values = dict(zip(columns(kept), row[slot.start :], strict=False))
        if values["id"] is None:
            return None
        key = (kept.table, values["id"])
        if key not in self.objects:
            self.objects[key] = self.build(kept, values)
        return self.objects[key]

    def build(self, kept, values):
        """Return the object of a row."""
        if kept.table in OF_SEVERAL_CLASSES:
            kept = BY_DISCRIMINATOR[values["discriminator"]]
        built = new_object(kept.name, values["id"], True)
        for name, attribute in all_fields(kept).items():
            value = values[attribute.column]
            if attribute.kind == "one":
                self.refer(built, name, attribute, value)
            elif attribute.kind == "measure":
                setattr(built, f"_{name}", to_measure(*(values[column] for column in attribute.columns)))
            elif attribute.kind == "bytes":
                setattr(built, f"_{name}", value)
            else:
                setattr(built, f"_{name}", to_rtype(value, attribute.kind))
        if kept.versioned:
            built._version = to_rtype(values["version"], "int")
        if list_of(kept) is not None:
            self.places[id(built)] = values[list_of(kept)[1].place]
        if kept.name == "MapAnnotation":
            self.maps[values["id"]] = built
            built._mapValue = []
        details = built._details
        details._permissions = permissions_object(
            self.context, values["permissions"], values.get("owner_id"), values.get("group_id")
        )
        if kept.owned:
            for name, attribute in DETAILS.items():
                self.refer(details, name, attribute, values[attribute.column])
        return built

    def refer(self, owner, name, attribute, identifier):
        """Set an attribute to an object that is not loaded."""
        if identifier is None:
            setattr(owner, f"_{name}", None)
        elif attribute.target == "AffineTransform":
            self.transforms.setdefault(identifier, []).append(owner)
        elif subclasses(entity(attribute.target)):
            # Which subclass it is the row of the link does not say.
            self.unknown.setdefault((entity(attribute.target).table, identifier), []).append((owner, name))
        else:
            setattr(owner, f"_{name}", new_object(attribute.target, identifier, False))

    def attach(self, owner, attribute, found):
        """Put an object that a join fetched where it belongs."""
        if owner is None:
            return
        if attribute.kind == "many":
            setattr(owner, f"_{attribute.name}Loaded", True)
            key = (id(owner), attribute.name, id(found))
            if found is not None and key not in self.attached:
                self.attached.add(key)
                held = getattr(owner, f"_{attribute.name}Seq")
                if attribute.place is None:
                    held.append(found)
                else:  # as in the real server, a place whose object the query leaves out is empty
                    place = self.places[id(found)]
                    held += [None] * (place + 1 - len(held))
                    held[place] = found
                for name, back in all_fields(entity(attribute.target)).items():
                    if back.column == attribute.column:
                        setattr(found, f"_{name}", owner)
        elif found is not None:
            in_details = DETAILS.get(attribute.name) is attribute
            setattr(owner._details if in_details else owner, f"_{attribute.name}", found)

    def complete(self, connection):
        """Load what needs queries of its own: the classes of objects that are not loaded, the pairs of maps."""
        pending = {}
        for (table, identifier), places in self.unknown.items():
            if any(getattr(owner, f"_{name}") is None for owner, name in places):
                pending.setdefault(table, {})[identifier] = places
        for table, places in pending.items():
            statement = sql.SQL("select id, discriminator from {} where id = any(%s)").format(sql.Identifier(table))
            for identifier, discriminator in connection.execute(statement, (list(places),)).fetchall():
                for owner, name in places[identifier]:
                    if getattr(owner, f"_{name}") is None:
                        built = new_object(BY_DISCRIMINATOR[discriminator].name, identifier, False)
                        setattr(owner, f"_{name}", built)
        if self.transforms:
            # They come with their shapes, whatever a query fetches.
            kept = entity("AffineTransform")
            names = columns(kept)
            statement = sql.SQL("select {} from {} where id = any(%s)").format(
                sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(kept.table)
            )
            for row in connection.execute(statement, (list(self.transforms),)).fetchall():
                values = dict(zip(names, row, strict=True))
                built = self.build(kept, values)
                for shape in self.transforms[values["id"]]:
                    shape._transform = built
        if self.maps:
            pairs = connection.execute(
                "select annotation_id, name, value from annotation_mapvalue where annotation_id = any(%s)"
                " order by annotation_id, index",
                (list(self.maps),),
            ).fetchall()
            for identifier, name, value in pairs:
                self.maps[identifier]._mapValue.append(omero.model.NamedValue(name, value))
