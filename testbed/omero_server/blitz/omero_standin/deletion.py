"""Deleting objects with what belongs to them, as omero.cmd.Delete2 asks for.

What belongs to an object follows from the foreign keys of schema.py: the rows that refer to it, and, of what it refers
to, what nobody else needs then. Tags and terms stay: people share them.
"""

import graphlib
from collections import defaultdict
from functools import cached_property

from psycopg import sql

from . import images, original_files, pyramids
from .errors import Forbidden, Invalid, Unsupported
from .permissions import may_edit
from .schema import BY_DISCRIMINATOR, ENTITIES, OF_SEVERAL_CLASSES, all_fields, entity, java_class

# Objects that go with the last one that refers to them, beside the children of links: table and column.
_BEHIND = (
    ("wellsample", "image"),
    ("image", "fileset"),
    ("filesetentry", "originalfile"),
    ("annotation", "file"),
    ("channel", "logicalchannel"),
    ("channel", "statsinfo"),
    ("roi", "source"),
    ("shape", "transform"),
)
# What stays when the object goes that it refers to, and refers to nothing then.
_LETS_GO = (("roi", "source"), ("shape", "pixels"))
_SHARED = {"TagAnnotation", "TermAnnotation"}
_TABLES = {kept.table: kept for kept in ENTITIES.values() if kept.base is None and kept.owned}


def _foreign_keys():
    """Return (table, column, table that it refers to) of every foreign key between tables that are deleted from."""
    keys = []
    for table, kept in _TABLES.items():
        for each in all_fields(kept).values():
            if each.kind == "one" and entity(each.target).owned:
                keys.append((table, each.column, entity(each.target).table))
    return sorted(set(keys))


_KEYS = _foreign_keys()


class Deletion:
    """What one request deletes: all of it the caller may change, `may` tells.

    Args:
        call: calls.Call.
        left: set of str, names of entities of which nothing is taken along.
        taken_along: set of str, names of those that are, though they would stay.
    """

    may = staticmethod(may_edit)
    what = "Deleting"

    def __init__(self, call, left=(), taken_along=()):
        """Begin with nothing found."""
        self.call = call
        self.left = (set(left) | _SHARED) - set(taken_along)
        self.found = defaultdict(set)

    def add(self, name, identifiers):
        """Find objects and what belongs to them.

        Args:
            name: str, the objects' entity.
            identifiers: list of int.

        Raises:
            Forbidden: the caller may not delete one of them, or of what belongs to it.
            Invalid: there is no such object, or an image shares its files with images that stay.
            Unsupported: objects that are not deleted so.
        """
        table = entity(name).table
        if table not in _TABLES:
            raise Unsupported(f"to delete {name}")
        self._take(table, identifiers)
        missing = set(identifiers) - self.found[table]
        if missing:
            raise Invalid(f"there is no {name}:{min(missing)}")
        before = -1
        while before != self._count():
            before = self._count()
            for key in _KEYS:
                if key[:2] not in _LETS_GO:
                    self._take(key[0], self._referring(key))
            for key in self._behind:
                self._take(key[2], self._unneeded(key))

    def _count(self):
        return sum(map(len, self.found.values()))

    @cached_property
    def _behind(self):
        """The foreign keys whose targets may go with the rows that refer to them."""
        links = [(table, "child") for table, kept in _TABLES.items() if kept.is_link]
        return [key for key in _KEYS if key[:2] in (*_BEHIND, *links)]

    def _select(self, text, names, identifiers):
        names = [sql.Identifier(each) for each in names]
        return self.call.connection.execute(sql.SQL(text).format(*names), (list(identifiers),)).fetchall()

    def _take(self, table, identifiers):
        new = set(identifiers) - self.found[table]
        if not new:
            return
        for identifier, owner, group in self._select(
            "select id, owner_id, group_id from {} where id = any(%s)", [table], new
        ):
            if not self.may(self.call.context_for_all(), owner, group):
                raise Forbidden(f"{self.what} {_TABLES[table].name}:{identifier} not allowed")
            self.found[table].add(identifier)

    def _referring(self, key):
        """Return the rows whose foreign key leads to what is deleted."""
        found = self.found[key[2]]
        rows = self._select("select id from {} where {} = any(%s)", key[:2], found) if found else []
        return [row[0] for row in rows]

    def _unneeded(self, key):
        """Return what deleted rows refer to by a foreign key, and no row that stays."""
        table, _, target = key
        rows = self._select("select distinct {1} from {0} where id = any(%s)", key[:2], self.found[table])
        wanted = {row[0] for row in rows} - {None} - self.found[target]
        for other in self._behind:
            if wanted and other[2] == target:
                users = self._select("select id, {1} from {0} where {1} = any(%s)", other[:2], wanted)
                staying = {used for user, used in users if user not in self.found[other[0]]}
                if staying and key[:2] == ("image", "fileset"):
                    raise Invalid(f"Fileset:{min(staying)} has images that stay; delete all of them, or none")
                wanted -= staying
        names = {each: self._name(target, each) for each in wanted}
        return [each for each, name in names.items() if not self.left & {name, _TABLES[target].name}]

    def _name(self, table, identifier):
        if table not in OF_SEVERAL_CLASSES:
            return _TABLES[table].name
        mark = self._select("select discriminator from {} where id = any(%s)", [table], [identifier])[0][0]
        return BY_DISCRIMINATOR[mark].name

    def objects(self):
        """Return what was found: a dict from a Java class's name to a sorted list of ids."""
        named = defaultdict(list)
        for table, identifiers in self.found.items():
            for identifier in sorted(identifiers):
                named[java_class(self._name(table, identifier))].append(identifier)
        return dict(named)

    def run(self):
        """Delete it, what refers to others first; the files go when the transaction has ended."""
        files = [original_files.readable(self.call, identifier) for identifier in self.found["originalfile"]]
        files += [images.sent(self.call, identifier) for identifier in self.found["pixels"]]
        files += [pyramids.path_of(self.call.blitz.settings, identifier) for identifier in self.found["pixels"]]
        self.call.afterwards.append(lambda: [each.unlink(missing_ok=True) for each in files if not each.is_dir()])
        sorter = graphlib.TopologicalSorter({table: [] for table in _TABLES})
        for table, _, target in _KEYS:
            if table != target:
                sorter.add(target, table)
        for key in _KEYS:
            if key[:2] in _LETS_GO:
                self._let_go(key)
        for table in sorter.static_order():
            if not self.found[table]:
                continue
            if table == "annotation":
                self._execute("delete from annotation_mapvalue where annotation_id = any(%s)", table)
            self._execute("delete from {} where id = any(%s)", table)

    def _let_go(self, key):
        """Let rows that stay refer to nothing where they refer to what goes; the caller must have the right."""
        staying = set(self._referring(key)) - self.found[key[0]]
        for identifier, owner, group in self._select(
            "select id, owner_id, group_id from {} where id = any(%s)", key[:1], staying
        ):
            if not self.may(self.call.context_for_all(), owner, group):
                raise Forbidden(f"Updating {_TABLES[key[0]].name}:{identifier} not allowed")
        self._select("update {} set {} = null where id = any(%s) returning id", key[:2], staying)

    def _execute(self, text, table):
        statement = sql.SQL(text).format(sql.Identifier(table))
        self.call.connection.execute(statement, (list(self.found[table]),))
