"""ITypes: enumerations."""

# The texts are HQL, of names that schema.py knows; a client's values are parameters.
# ruff: noqa: S608

from ..errors import ApiUsage, Unsupported
from ..queries import run
from ..schema import ENTITIES, entity


def _enumeration(name):
    kept = entity(name)
    if "value" not in kept.fields:
        raise Unsupported(f"{name} as an enumeration")
    return kept


class Types:
    """Answers from the tables of enumerations that the stand-in keeps."""

    def allEnumerations(self, call, type_name):
        """Return every value of an enumeration."""
        return [row[0] for row in run(call, f"select o from {_enumeration(type_name).name} o", {})]

    def getEnumeration(self, call, type_name, value):
        """Return one value of an enumeration."""
        text = f"select o from {_enumeration(type_name).name} o where o.value = :value"
        rows = run(call, text, {"value": value})
        if not rows:
            raise ApiUsage(f"An enum was not found with the value: {value}")
        return rows[0][0]

    def getEnumerationTypes(self, call):
        """Return the names of the enumerations."""
        return [name for name, kept in ENTITIES.items() if "value" in kept.fields]

    def getAnnotationTypes(self, call):
        """Return the names of the kinds of annotations."""
        return [name for name, kept in ENTITIES.items() if kept.base == "Annotation"]
