"""Running a client's HQL."""

# The texts are HQL, of names that schema.py knows; a client's values are parameters.
# ruff: noqa: S608

from .compiler import compile_query
from .errors import ApiUsage, Unsupported
from .model import Assembler
from .schema import entity


def run(call, text, values, limit=None, offset=None, context=None):
    """Run an HQL query for the caller.

    Args:
        call: calls.Call.
        text: str, HQL.
        values: dict of the named parameters' values, as compiler.compile_query takes them.
        limit: int or None, rows wanted.
        offset: int or None, rows to leave out first.
        context: permissions.Context or None, the call's own.

    Returns:
        list of rows, each a list of RTypes and omero.model objects; a query for `new map` gives rows of one dict.
        Where a collection is fetched a root object comes once, not once an element, and the limit counts root
        objects.
    """
    context = context or call.context
    compiled = compile_query(text, values, context, limit, offset)
    rows = call.connection.execute(compiled.sql, compiled.parameters).fetchall()
    results = Assembler(context, compiled).results(call.connection, rows)
    if compiled.loads_collections:
        seen, once = set(), []
        for row in results:
            key = tuple(id(each) for each in row)
            if key not in seen:
                seen.add(key)
                once.append(row)
        start = offset or 0
        results = once[start:] if limit is None else once[start : start + limit]
    if compiled.as_map:
        names = [output.name or str(index) for index, output in enumerate(compiled.outputs)]
        return [[dict(zip(names, row, strict=True))] for row in results]
    return results


def load(call, kept, identifiers, fetch="", context=None):
    """Load objects by id, as far as the caller may see them.

    Args:
        call: calls.Call.
        kept: schema.Entity.
        identifiers: list of int.
        fetch: str, joins of HQL on the alias `o`.
        context: permissions.Context or None, one for all the caller's groups.

    Returns:
        list of omero.model objects in the order of their ids.
    """
    text = f"select o from {kept.name} o {fetch} where o.id in (:ids) order by o.id"
    rows = run(call, text, {"ids": list(identifiers)}, context=context or call.context_for_all())
    return [row[0] for row in rows]


def enumeration(call, name, value):
    """Return one value of an enumeration.

    Args:
        call: calls.Call.
        name: str, the enumeration's.
        value: str.

    Raises:
        ApiUsage: it has no such value.
        Unsupported: the stand-in has no such enumeration.
    """
    kept = entity(name)
    if not kept.is_enumeration:
        raise Unsupported(f"{name} as an enumeration")
    rows = run(call, f"select o from {kept.name} o where o.value = :value", {"value": value})
    if not rows:
        raise ApiUsage(f"An enum was not found with the value: {value}")
    return rows[0][0]
