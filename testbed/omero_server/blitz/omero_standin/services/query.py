"""IQuery: objects by id, by a field's value and by HQL."""

# The texts are HQL, of names that schema.py knows; a client's values are parameters.
# ruff: noqa: S608

import omero
import omero.rtypes as rtypes

from ..errors import ApiUsage, Invalid
from ..model import from_rtype
from ..queries import load, run
from ..schema import entity


def _page(filter_):
    if filter_ is None:
        return None, None
    return from_rtype(filter_.limit), from_rtype(filter_.offset)


def _rows(call, text, parameters):
    values = {name: from_rtype(value) for name, value in ((parameters and parameters.map) or {}).items()}
    return run(call, text, values, *_page(parameters.theFilter if parameters else None))


def _value(selected):
    if isinstance(selected, dict):
        return rtypes.rmap({name: _value(each) for name, each in selected.items()})
    return rtypes.robject(selected) if isinstance(selected, omero.model.IObject) else selected


def _objects(rows, text):
    found = []
    for row in rows:
        if len(row) != 1 or not (row[0] is None or isinstance(row[0], omero.model.IObject)):
            raise ApiUsage(f"the query selects something else than objects, use projection: {text}")
        found.append(row[0])
    return found


def _only(found):
    if len(found) > 1:
        raise ApiUsage(f"query did not return a unique result: {len(found)}")
    return found[0] if found else None


class Query:
    """Answers what the caller may see."""

    def projection(self, call, text, parameters):
        """Return rows of values; an object comes as RObject."""
        return [[_value(each) for each in row] for row in _rows(call, text, parameters)]

    def findAllByQuery(self, call, text, parameters):
        """Return the objects that a query selects."""
        return _objects(_rows(call, text, parameters), text)

    def findByQuery(self, call, text, parameters):
        """Return the one object that a query selects, or null."""
        return _only(self.findAllByQuery(call, text, parameters))

    def find(self, call, type_name, identifier):
        """Return an object by id, or null."""
        return _only(load(call, entity(type_name), [identifier], context=call.context))

    def get(self, call, type_name, identifier):
        """Return an object by id; it must exist."""
        found = self.find(call, type_name, identifier)
        if found is None:
            raise Invalid(
                f"The requested object ({type_name},{identifier}) is not available. Please use IQuery.find"
                " to deal with this."
            )
        return found

    def findAll(self, call, type_name, filter_):
        """Return every object of a type."""
        return _objects(run(call, f"select o from {entity(type_name).name} o", {}, *_page(filter_)), type_name)

    def findAllByString(self, call, type_name, field, value, case_sensitive, filter_):
        """Return the objects of which a text is like the value given."""
        side = f"o.{field}" if case_sensitive else f"lower(o.{field})"
        text = f"select o from {entity(type_name).name} o where {side} like :value"
        values = {"value": value if case_sensitive else value.lower()}
        return _objects(run(call, text, values, *_page(filter_)), text)

    def findByString(self, call, type_name, field, value):
        """Return the one object of which a text is the value given, or null."""
        text = f"select o from {entity(type_name).name} o where o.{field} = :value"
        return _only(_objects(run(call, text, {"value": value}), text))

    def refresh(self, call, given):
        """Return an object as it is stored now."""
        return self.get(call, type(given).__name__, from_rtype(given.id))
