"""How many bytes objects take on the disk, as omero.cmd.DiskUsage2 asks for."""

from collections import defaultdict

import omero

from . import images
from .deletion import Deletion
from .permissions import may_read
from .queries import run
from .schema import entity

# Objects that have no files of their own; all that is theirs counts.
_OWNERS = {"Experimenter": "owner_id", "ExperimenterGroup": "group_id"}
_FILES = (
    "select o.id, o.owner_id, o.group_id, coalesce(o.size, 0),"
    " case when exists (select from filesetentry where originalfile = o.id) then 'FilesetEntry'"
    " when exists (select from joboriginalfilelink where child = o.id) then 'Job' else 'Annotation' end"
    " from originalfile o"
    " where {} = any(%s) and mimetype is distinct from 'Repository'"
)
_PIXELS = (
    "select p.id, p.owner_id, p.group_id from pixels p join image i on i.id = p.image where p.{} = any(%s)"
    " and i.fileset is null"
)


class _Below(Deletion):
    """What belongs to objects, found as for a deletion: all that they refer to, and no other image of their files."""

    may = staticmethod(may_read)
    what = "Reading"

    def _referring(self, key):
        return [] if key[:2] == ("image", "fileset") else super()._referring(key)

    def _unneeded(self, key):
        rows = self._select("select distinct {1} from {0} where id = any(%s)", key[:2], self.found[key[0]])
        return [row[0] for row in rows if row[0] is not None]


class Usage:
    """Adds up files.

    Args:
        call: calls.Call.
    """

    def __init__(self, call):
        """Begin with nothing found."""
        self.call = call
        self.files = {}

    def add(self, name, identifiers):
        """Count what belongs to objects; a file that belongs to several counts once.

        Args:
            name: str, the objects' entity.
            identifiers: list of int, or None for all that the caller may see.

        Raises:
            Invalid, Unsupported, Forbidden: as from deletion.Deletion.add.
        """
        kept = entity(name)
        if identifiers is None:
            rows = run(self.call, f"select o.id from {kept.name} o", {}, context=self.call.context_for_all())  # noqa: S608
            identifiers = [row[0].val for row in rows]
        if kept.name in _OWNERS:
            self._count(_OWNERS[kept.name], identifiers, _OWNERS[kept.name], identifiers)
            return
        below = _Below(self.call)
        below.add(kept.name, identifiers)
        self._count("id", list(below.found["originalfile"]), "id", list(below.found["pixels"]))

    def _count(self, file_column, file_values, pixels_column, pixels_values):
        context = self.call.context_for_all()
        for identity, owner, group, size, component in self.call.connection.execute(
            _FILES.format(f"o.{file_column}"), (file_values,)
        ).fetchall():
            if may_read(context, owner, group):
                self.files["file", identity] = (owner, group, component, size)
        for identity, owner, group in self.call.connection.execute(
            _PIXELS.format(pixels_column), (pixels_values,)
        ).fetchall():
            path = images.sent(self.call, identity)
            if may_read(context, owner, group) and path.exists():
                self.files["pixels", identity] = (owner, group, "Pixels", path.stat().st_size)

    def response(self):
        """Return the omero.cmd.DiskUsage2Response."""
        counts, sizes = defaultdict(lambda: defaultdict(int)), defaultdict(lambda: defaultdict(int))
        for owner, group, component, size in self.files.values():
            who = omero.api.LongPair(owner, group)
            counts[who][component] += 1
            sizes[who][component] += size
        return omero.cmd.DiskUsage2Response(
            fileCountByReferer={who: dict(each) for who, each in counts.items()},
            bytesUsedByReferer={who: dict(each) for who, each in sizes.items()},
            totalFileCount={who: sum(each.values()) for who, each in counts.items()},
            totalBytesUsed={who: sum(each.values()) for who, each in sizes.items()},
        )
