"""From a parsed HQL query to SQL that returns only what the caller may see.

Every entity that a query names, in joins and subqueries too, carries the condition of permissions.readable.
Entities, attributes and forms that schema.py and hql.py do not know are refused.
"""

from dataclasses import dataclass, field

from . import hql
from .errors import ApiUsage, Unsupported
from .permissions import readable
from .schema import DETAILS, OF_SEVERAL_CLASSES, Field, all_fields, columns, entity, list_of

_ID = Field("id", "id", "long")
_VERSION = Field("version", "version", "int")
# Objects that have a place among others of the same owner, and the column that names the owner.
_LISTED = {"Channel": "pixels", "FilesetEntry": "fileset", "WellSample": "well"}
_ARITHMETIC = {"+", "-", "*", "/", "||"}


@dataclass(frozen=True)
class Slot:
    """The columns of one entity in a row: `columns(entity)` from `start` on."""

    entity: object
    start: int


@dataclass(frozen=True)
class Output:
    """One selected item.

    Attributes:
        name: str or None, its alias.
        kind: str, `entity`, `permissions` of an entity, `group permissions`, `class` for the mark of an
            annotation's class, a scalar's kind, or None for whatever PostgreSQL returns.
        position: int, the column of a scalar or the number of the slot.
    """

    name: str | None
    kind: str | None
    position: int


@dataclass(frozen=True)
class Fetch:
    """An attribute of the entity in slot `owner` that slot `slot` fills."""

    owner: int
    attribute: object
    slot: int


@dataclass
class Compiled:
    """A query ready for PostgreSQL, and how to read its rows."""

    sql: str
    parameters: dict
    outputs: list
    slots: list
    fetches: list
    as_map: bool

    @property
    def loads_collections(self):
        """Tell whether a root object can come in more than one row."""
        return any(fetch.attribute.kind == "many" for fetch in self.fetches)


def quoted(name):
    """Return a column or table name as SQL identifier."""
    return f'"{name}"'


@dataclass(frozen=True)
class _Column:
    sql: str
    field: object


@dataclass(frozen=True)
class _Row:
    """An alias as a whole."""

    alias: str


@dataclass(frozen=True)
class _Class:
    """The class of a row, or an entity's name to compare it with."""

    sql: str


@dataclass
class _Scope:
    parent: object
    aliases: dict = field(default_factory=dict)
    roots: list = field(default_factory=list)
    tables: list = field(default_factory=list)
    conditions: list = field(default_factory=list)
    implicit: dict = field(default_factory=dict)


def compile_query(text, values, context, limit=None, offset=None):
    """Turn HQL into SQL.

    Args:
        text: str, HQL.
        values: dict of the query's named parameters: int, float, bool, str, datetime, None or a list of these.
        context: permissions.Context.
        limit: int or None, rows wanted; applied by SQL unless a collection is fetched (see Compiled).
        offset: int or None, rows to leave out first.

    Returns:
        Compiled.

    Raises:
        Unsupported: something in the query is not answered by the stand-in.
        ApiUsage: a named parameter has no value.
    """
    try:
        return _Compiler(values, context).compile(hql.parse(text), limit, offset)
    except Unsupported as refusal:
        if hql.normalise(text) in str(refusal):
            raise
        raise ApiUsage(f"{refusal} in: {hql.normalise(text)}") from None


class _Compiler:
    def __init__(self, values, context):
        self.values = values
        self.context = context
        self.parameters = {}
        self.entities = {}

    def bind(self, value):
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"%({name})s"

    # What a caller sees

    def visible(self, alias):
        kept = self.entities[alias]
        conditions = []
        if kept.discriminator:
            conditions.append(f"{alias}.discriminator = {self.bind(kept.discriminator)}")
        if kept.name == "Session" and not self.context.is_admin:
            # A session's uuid lets its holder in: nobody reads another's.
            conditions.append(f"{alias}.owner = {self.bind(self.context.user_id)}")
        groups = readable(self.context) if kept.owned else None
        if groups is not None:
            whole, own = groups
            conditions.append(
                f"({alias}.group_id = any({self.bind(whole)}) or ({alias}.group_id = any({self.bind(own)})"
                f" and {alias}.owner_id = {self.bind(self.context.user_id)}))"
            )
        return conditions

    # From and join

    def new_alias(self, kept):
        alias = f"t{len(self.entities)}"
        self.entities[alias] = kept
        return alias

    def open_scope(self, query, parent):
        scope = _Scope(parent)
        for source in query.sources:
            kept = entity(source.entity)
            if kept.embedded:
                raise Unsupported(f"to ask for {kept.name} itself")
            alias = self.new_alias(kept)
            scope.roots.append(alias)
            scope.aliases[source.alias or f"#{alias}"] = alias
            scope.tables.append(f"{' cross join ' if scope.tables else ''}{quoted(kept.table)} {alias}")
            scope.conditions += self.visible(alias)
        return scope

    def join_to(self, scope, owner, attribute, outer):
        kept = entity(attribute.target)
        alias = self.new_alias(kept)
        if attribute.kind == "many":
            link = f"{alias}.{quoted(attribute.column)} = {owner}.id"
        else:
            link = f"{alias}.id = {owner}.{quoted(attribute.column)}"
        conditions = " and ".join([link, *self.visible(alias)])
        scope.tables.append(f" {'left ' if outer else ''}join {quoted(kept.table)} {alias} on {conditions}")
        return alias

    def explicit_join(self, scope, join):
        owner, rest = self.start(scope, join.path.names)
        if not rest or (rest[-1] == "details" and join.fetch):
            raise Unsupported(f"a join with {'.'.join(join.path.names)}")
        if rest[-1] == "details":
            # They are columns of the object that has them. Nobody has used the alias yet, and it stays unknown.
            for name in rest[:-1]:
                owner = self.step(scope, owner, name, outer=join.outer)
            return owner, None, owner
        details = False
        for name in rest[:-1]:
            if name == "details":
                details = True
            else:
                owner, details = self.step(scope, owner, name, details, join.outer), False
        attribute = self.attribute(owner, rest[-1], details)
        if attribute is None or attribute.kind not in ("one", "many"):
            raise Unsupported(f"a join with {'.'.join(join.path.names)}")
        alias = self.join_to(scope, owner, attribute, join.outer)
        scope.aliases[join.alias or f"#{alias}"] = alias
        return owner, attribute, alias

    # Paths

    def start(self, scope, names):
        """Return the alias that a path starts from, and the names that are left."""
        level = scope
        while level is not None:
            if names[0] in level.aliases:
                return level.aliases[names[0]], names[1:]
            level = level.parent
        for alias in scope.roots:
            if names[0] in ("id", "details") or self.attribute(alias, names[0]) is not None:
                return alias, names
        return None, names

    def attribute(self, alias, name, details=False):
        kept = self.entities[alias]
        if details:
            return DETAILS.get(name) if kept.owned else None
        return all_fields(kept).get(name) or kept.collections.get(name)

    def step(self, scope, alias, name, details=False, outer=False):
        """Return the alias that an attribute of another leads to, joined where nothing joined it yet."""
        attribute = self.attribute(alias, name, details)
        if attribute is None or attribute.kind != "one":
            raise Unsupported(f"{self.entities[alias].name}.{name}")
        key = (alias, name, details)
        if key not in scope.implicit:
            scope.implicit[key] = self.join_to(scope, alias, attribute, outer)
        return scope.implicit[key]

    def resolve(self, scope, path):
        """Return the _Column, _Row or _Class that a path means."""
        alias, rest = self.start(scope, path.names)
        if alias is None:
            if len(path.names) == 1:
                return _Class(self.bind(entity(path.names[0]).discriminator))
            raise Unsupported(".".join(path.names))
        details = False
        for position, name in enumerate(rest):
            last = position == len(rest) - 1
            if name == "details" and not details:
                details = True
                continue
            if name == "id" and last and not details:
                return _Column(f"{alias}.id", _ID)
            if name == "class" and last and self.entities[alias].table in OF_SEVERAL_CLASSES:
                return _Class(f"{alias}.discriminator")
            if name == "version" and last and self.entities[alias].versioned:
                return _Column(f"{alias}.version", _VERSION)
            if name == "permissions" and last and details:
                return _Column(f"{alias}.permissions", Field("permissions", "permissions", "group permissions"))
            attribute = self.attribute(alias, name, details)
            if attribute is None or attribute.kind == "many":
                raise Unsupported(f"{self.entities[alias].name}.{'details.' if details else ''}{name}")
            if last:
                return _Column(f"{alias}.{quoted(attribute.column)}", attribute)
            if attribute.kind in ("length", "measure") and rest[position + 1 :] == ("value",):
                return _Column(f"{alias}.{quoted(attribute.column)}", Field(name, attribute.column, "double"))
            if attribute.kind != "one":
                raise Unsupported(".".join(path.names))
            if rest[position + 1 :] == ("id",):
                return _Column(f"{alias}.{quoted(attribute.column)}", _ID)
            alias = self.step(scope, alias, name, details)
            details = False
        if details:
            raise Unsupported(".".join(path.names))
        return _Row(alias)

    # Expressions

    def sql(self, scope, node):
        match node:
            case hql.Path():
                found = self.resolve(scope, node)
                return f"{found.alias}.id" if isinstance(found, _Row) else found.sql
            case hql.Literal():
                return "null" if node.value is None else self.bind(node.value)
            case hql.Parameter():
                value = self.value(node)
                return "null" if value is None else self.bind(value)
            case hql.Call():
                if node.name == "index":
                    return self.place(scope, node)
                if node.name in ("minindex", "maxindex"):
                    return f"{node.name[:3]}({self.place(scope, node)})"
                if node.name == "size":
                    return self.size(scope, node.arguments[0])
                inner = ", ".join(self.sql(scope, each) for each in node.arguments) or "*"
                if node.name == "type":
                    return self.class_of(scope, node.arguments[0])
                return f"{node.name}({'distinct ' if node.distinct else ''}{inner})"
            case hql.Case():
                branches = "".join(
                    f" when {self.sql(scope, condition)} then {self.sql(scope, value)}"
                    for condition, value in node.branches
                )
                return f"(case{branches} else {self.sql(scope, node.otherwise)} end)"
            case hql.Not():
                return f"(not {self.sql(scope, node.condition)})"
            case hql.IsNull():
                return f"({self.sql(scope, node.expression)} is {'not ' if node.negated else ''}null)"
            case hql.Exists():
                return f"(exists ({self.subquery(scope, node.query)}))"
            case hql.In():
                return self.membership(scope, node)
            case hql.Binary():
                return self.binary(scope, node)
            case hql.Query():
                return f"({self.subquery(scope, node)})"
        raise Unsupported(f"{type(node).__name__} as an expression")

    def class_of(self, scope, node):
        """Return the mark of a row's class."""
        found = self.resolve(scope, node)
        if isinstance(found, _Row) and self.entities[found.alias].table in OF_SEVERAL_CLASSES:
            return f"{found.alias}.discriminator"
        return found.sql

    def place(self, scope, node):
        """Return the place of an object in a list of another's: the order in which they were made."""
        found = self.resolve(scope, node.arguments[0])
        kept = self.entities[found.alias] if isinstance(found, _Row) else None
        if kept is None or (kept.name not in _LISTED and list_of(kept) is None):
            raise Unsupported(f"{node.name}() of something else than {' and '.join(_LISTED)}, and Shape")
        return self.place_of(found.alias)

    def place_of(self, alias):
        """Return the place of an object, by its alias, in the list that it belongs to."""
        kept = self.entities[alias]
        if list_of(kept) is not None:
            return f"{alias}.{quoted(list_of(kept)[1].place)}"
        owner = quoted(_LISTED[kept.name])
        others = f"select count(*) from {quoted(kept.table)} o"  # noqa: S608
        return f"({others} where o.{owner} = {alias}.{owner} and o.id < {alias}.id)"

    def sort_key(self, scope, node):
        """Return what a query is sorted by: an expression, or the column of the database that keeps such a place.

        The real server hands a name that it does not know on to PostgreSQL, and OMERO.iviewer makes use of it.
        """
        if isinstance(node, hql.Path) and len(node.names) == 1:
            for alias in scope.roots:
                if node.names[0] == f"{_LISTED.get(self.entities[alias].name)}_index":
                    return self.place_of(alias)
        return self.sql(scope, node)

    def size(self, scope, node):
        """Return how many elements of a collection the caller sees."""
        owner, rest = self.start(scope, node.names) if isinstance(node, hql.Path) else (None, ())
        if not rest:
            raise Unsupported("size() of something else than a collection")
        for name in rest[:-1]:
            owner = self.step(scope, owner, name)
        attribute = self.attribute(owner, rest[-1])
        if attribute is None or attribute.kind != "many":
            raise Unsupported(f"size() of {'.'.join(node.names)}")
        kept = entity(attribute.target)
        alias = self.new_alias(kept)
        conditions = " and ".join([f"{alias}.{quoted(attribute.column)} = {owner}.id", *self.visible(alias)])
        return f"(select count(*) from {quoted(kept.table)} {alias} where {conditions})"  # noqa: S608

    def value(self, parameter):
        if parameter.name not in self.values:
            raise ApiUsage(f"Named parameter not bound: {parameter.name}")
        return self.values[parameter.name]

    def is_null(self, node):
        return (isinstance(node, hql.Literal) and node.value is None) or (
            isinstance(node, hql.Parameter) and self.value(node) is None
        )

    def binary(self, scope, node):
        if node.operator in ("=", "!=") and self.is_null(node.right):
            return f"({self.sql(scope, node.left)} is {'not ' if node.operator == '!=' else ''}null)"
        return f"({self.sql(scope, node.left)} {node.operator} {self.sql(scope, node.right)})"

    def membership(self, scope, node):
        left = self.sql(scope, node.left)
        negation = "not " if node.negated else ""
        if isinstance(node.choices, hql.Query):
            return f"({left} {negation}in ({self.subquery(scope, node.choices)}))"
        if len(node.choices) == 1 and isinstance(node.choices[0], hql.Parameter):
            values = self.value(node.choices[0])
            values = list(values) if isinstance(values, list | tuple | set) else [values]
            return f"({negation}{left} = any({self.bind(values)}))"
        return f"({left} {negation}in ({', '.join(self.sql(scope, each) for each in node.choices)}))"

    def subquery(self, parent, query):
        scope = self.open_scope(query, parent)
        for join in query.joins:
            self.explicit_join(scope, join)
        items = query.items or [hql.Item(hql.Path((query.sources[0].alias,)), None)]
        if len(items) != 1 or query.as_map:
            raise Unsupported("a subquery of several columns")
        selected = self.sql(scope, items[0].expression)
        if query.where is not None:
            scope.conditions.append(self.sql(scope, query.where))
        if query.group_by or (query.order_by and query.distinct):
            raise Unsupported("a grouped subquery, or a sorted one of distinct values")
        order = [self.sort_key(scope, key.expression) + (" desc" if key.descending else "") for key in query.order_by]
        text = f"select {'distinct ' if query.distinct else ''}{selected}{_from(scope)}"
        return f"{text} order by {', '.join(order)}" if order else text

    # The query as a whole

    def kind(self, scope, node):
        """Return the kind of a scalar expression, None when PostgreSQL's type says enough."""
        match node:
            case hql.Path():
                found = self.resolve(scope, node)
                return found.field.kind if isinstance(found, _Column) else None
            case hql.Call(name="count"):
                return "long"
            case hql.Call(name="index" | "minindex" | "maxindex" | "size" | "length"):
                return "int"
            case hql.Call(name="type"):
                return "class"
            case hql.Call(name="max" | "min" | "coalesce"):
                return self.kind(scope, node.arguments[0])
        return None

    def compile(self, query, limit, offset):
        scope = self.open_scope(query, None)
        joined = [(join, *self.explicit_join(scope, join)) for join in query.joins]
        items = query.items or [hql.Item(hql.Path((name,)), None) for name in scope.aliases if not query.joins]
        if not items:
            raise Unsupported("a query with joins and without a select clause")
        selected, outputs, slots, slot_of = [], [], [], {}

        def slot(alias):
            if alias not in slot_of:
                slot_of[alias] = len(slots)
                slots.append(Slot(self.entities[alias], len(selected)))
                selected.extend(f"{alias}.{quoted(name)}" for name in columns(self.entities[alias]))
            return slot_of[alias]

        for item in items:
            node = item.expression
            found = self.resolve(scope, node) if isinstance(node, hql.Path) else None
            if isinstance(found, _Column) and found.field.kind == "one":
                found = _Row(self.path_row(scope, node))
            if isinstance(found, _Row) and self.entities[found.alias].embedded:
                raise Unsupported(f"to select {self.entities[found.alias].name} itself")
            if isinstance(found, _Row):
                kind = "permissions" if (item.alias or "").endswith("_details_permissions") else "entity"
                outputs.append(Output(item.alias, kind, slot(found.alias)))
            else:
                if self.kind(scope, node) in ("bytes", "measure"):
                    raise Unsupported(f"to select {'.'.join(node.names)} itself")
                outputs.append(Output(item.alias, self.kind(scope, node), len(selected)))
                selected.append(self.sql(scope, node))
        fetches = []
        for join, owner, attribute, alias in joined:
            if join.fetch:
                if owner not in slot_of:
                    raise Unsupported(f"to fetch {'.'.join(join.path.names)} of something that is not selected")
                fetches.append(Fetch(slot_of[owner], attribute, slot(alias)))
        if query.where is not None:
            scope.conditions.append(self.sql(scope, query.where))
        grouped = [self.sql(scope, node) for node in query.group_by]
        order = [self.sort_key(scope, key.expression) + (" desc" if key.descending else "") for key in query.order_by]
        if slots and not query.distinct and not grouped:
            order = order or [_unasked_order(slots[0].entity, selected[slots[0].start])]
            order += [self.collection_order(fetch, selected[slots[fetch.slot].start]) for fetch in fetches]
        text = f"select {'distinct ' if query.distinct else ''}{', '.join(selected)}{_from(scope)}"
        if grouped:
            text += f" group by {', '.join(grouped)}"
        if order:
            text += f" order by {', '.join(order)}"
        compiled = Compiled(text, self.parameters, outputs, slots, fetches, query.as_map)
        if not compiled.loads_collections:
            compiled.sql += f" limit {int(limit)}" if limit is not None else ""
            compiled.sql += f" offset {int(offset)}" if offset else ""
        return compiled

    def collection_order(self, fetch, identifier):
        """Return the sort key of a fetched collection: its place in a list, the default group first, else the id."""
        attribute = fetch.attribute
        if attribute.kind == "many" and attribute.place:
            return identifier.replace('"id"', quoted(attribute.place))
        if attribute.target == "Well":
            return _unasked_order(entity("Well"), identifier)
        if attribute.kind == "many" and (attribute.target, attribute.column) == (
            "GroupExperimenterMap",
            "child",
        ):
            return identifier.replace('"id"', "child_index")
        return identifier

    def path_row(self, scope, path):
        """Return the alias of the object that a path to a reference means."""
        alias, rest = self.start(scope, path.names)
        details = False
        for name in rest:
            if name == "details":
                details = True
            else:
                alias, details = self.step(scope, alias, name, details), False
        return alias


def _unasked_order(kept, identifier):
    """Return the sort key of objects for which nobody asks for an order: that of their ids, but for wells.

    Those come in no order of rows from the real server, and in the one that is least like it from this.
    """
    return f"{identifier} desc" if kept.name == "Well" else identifier


def _from(scope):
    where = f" where {' and '.join(scope.conditions)}" if scope.conditions else ""
    return f" from {''.join(scope.tables)}{where}"
