"""ITypes: enumerations."""

# The texts are HQL, of names that schema.py knows; a client's values are parameters.
# ruff: noqa: S608

from ..errors import Unsupported
from ..queries import enumeration, run
from ..schema import ENTITIES, entity


class Types:
    """Answers from the tables of enumerations that the stand-in keeps."""

    def allEnumerations(self, call, type_name):
        """Return every value of an enumeration."""
        kept = entity(type_name)
        if not kept.is_enumeration:
            raise Unsupported(f"{type_name} as an enumeration")
        return [row[0] for row in run(call, f"select o from {kept.name} o", {})]

    def getEnumeration(self, call, type_name, value):
        """Return one value of an enumeration."""
        return enumeration(call, type_name, value)

    def getEnumerationTypes(self, call):
        """Return the names of the enumerations."""
        return [name for name, kept in ENTITIES.items() if kept.is_enumeration]

    def getAnnotationTypes(self, call):
        """Return the names of the kinds of annotations."""
        return [name for name, kept in ENTITIES.items() if kept.base == "Annotation"]
