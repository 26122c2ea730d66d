"""Saving and deleting objects of OMERO's model, with the checks of permissions."""

from omero_model_DetailsI import DetailsI
from psycopg import sql

from .errors import ApiUsage, Forbidden, Invalid, MixedGroups, Outdated, ReadOnlyGroup, Unsupported
from .imported import is_imported
from .model import from_measure, from_rtype
from .permissions import ALL_GROUPS, is_private, may_annotate, may_edit, may_link, may_read
from .queries import enumeration
from .schema import DETAILS, entity, java_class, list_of, subclasses

_EVENT_TYPE_USER = 4
_OF_IMPORTS = ("Fileset", "FilesetEntry", "FilesetJobLink", "JobOriginalFileLink")


class Store:
    """Writes what one call asks for.

    Args:
        call: calls.Call; its transaction holds all that is written.
        importing: bool, whether the server itself notes an import. Clients cannot write what says which bytes of the
            repository belong to whom: they would read those of others.
    """

    def __init__(self, call, importing=False):
        """Start with nothing saved."""
        self.call = call
        self.importing = importing
        self.context = call.context
        self.connection = call.connection
        self.saved = {}
        self.places = {}
        self.alive = []  # what `saved` knows by its address, which is nobody else's as long as it is kept
        self.busy = set()
        self._event = None

    @property
    def event(self):
        """The id of the event that this call's changes belong to, made when first needed."""
        if self._event is None:
            group = self.context.session_group_id if self.context.group_id == ALL_GROUPS else self.context.group_id
            self._event = self.connection.execute(
                'insert into event ("time", experimenter, experimentergroup, "type", "session")'
                " values (clock_timestamp() at time zone 'utc', %s, %s, %s, %s) returning id",
                (self.context.user_id, group, _EVENT_TYPE_USER, self.call.session.id),
            ).fetchone()[0]
        return self._event

    def note(self, action, java_class, identifiers):
        """Write what happened to objects into the log of events, at this moment.

        Args:
            action: str, INSERT or UPDATE.
            java_class: str, the objects' class as the real server names it.
            identifiers: list of int.
        """
        self._event = None
        rows = [(identifier, java_class, action, self.event) for identifier in identifiers]
        with self.connection.cursor() as cursor:
            cursor.executemany(
                "insert into eventlog (entityid, entitytype, action, event) values (%s, %s, %s, %s)", rows
            )

    def save(self, given):
        """Insert or update an object and the objects that it holds.

        Args:
            given: omero.model object; one that is not loaded is a reference to a stored one.

        Returns:
            int, its id.

        Raises:
            Forbidden, ReadOnlyGroup, MixedGroups: the caller may not.
            Invalid: a required value is missing, or a reference leads nowhere.
            Outdated: it was changed since the client read it.
            Unsupported: the stand-in stores no such objects.
        """
        if id(given) in self.saved:
            return self.saved[id(given)]
        kept = entity(type(given).__name__)
        identifier = from_rtype(given.id)
        if not given.isLoaded():
            return identifier
        if kept.is_enumeration:  # nobody changes its values
            if identifier is not None:
                return identifier
            return from_rtype(enumeration(self.call, kept.name, from_rtype(given._value)).id)
        if not kept.owned and kept.name != "ExternalInfo":
            raise Unsupported(f"to save {kept.name} through IUpdate; IAdmin does users and groups")
        if subclasses(kept):
            raise Invalid(f"a {kept.name} of no kind")
        if given._details is None:  # as the JSON API sends objects
            given._details = DetailsI()
        self.busy.add(id(given))
        new = identifier is None
        values = self.values_of(kept, given)
        if new:
            identifier = self.insert(kept, given, values)
        elif kept.owned:
            self.update(kept, given, identifier, values)
        self.saved[id(given)] = identifier
        self.alive.append(given)
        if kept.name == "MapAnnotation":
            self.save_pairs(identifier, given._mapValue or [])
        for name, collection in kept.collections.items():
            if collection.place and getattr(given, f"_{name}Loaded"):
                self.save_list(kept, identifier, collection, getattr(given, f"_{name}Seq"), new)
                continue
            for child in getattr(given, f"_{name}Seq", None) or []:
                if child is not None and id(child) not in self.busy:
                    self.save(child)
        self.busy.discard(id(given))
        return identifier

    def save_list(self, kept, identifier, collection, given, new):
        """Save the objects of a list with their places; what is stored and no longer in the list goes.

        Args:
            kept: schema.Entity, the list's owner.
            identifier: int, the owner's id.
            collection: schema.Collection with places.
            given: list of omero.model objects; a place may be empty.
            new: bool, whether the owner was stored just now.
        """
        target = entity(collection.target)
        table, owner, place = map(sql.Identifier, (target.table, collection.column, collection.place))
        stored = self.connection.execute(
            sql.SQL("select {}, id from {} where {} = %s order by 1").format(place, table, owner), (identifier,)
        ).fetchall()
        wanted = [(at, from_rtype(each.id)) for at, each in enumerate(given) if each is not None]
        here, there = {each for _, each in stored}, {each for _, each in wanted} - {None}
        if there - here:
            raise Unsupported(f"to take {target.name}:{min(there - here)} from another {kept.name}")
        if not new and stored != wanted:
            self.touch(kept, identifier)
        gone = list(here - there)
        links = entity(target.collections["annotationLinks"].target)
        for emptied, column in ((links.table, "parent"), (target.table, "id")):
            statement = sql.SQL("delete from {} where {} = any(%s)").format(*map(sql.Identifier, (emptied, column)))
            self.connection.execute(statement, (gone,))
        # A place belongs to one object at any time.
        moved = [(at, each) for at, each in wanted if each is not None and (at, each) not in stored]
        statement = sql.SQL("update {} set {} = %s where id = %s").format(table, place)
        for at, each in [(-1 - at, each) for at, each in moved] + moved:
            self.connection.execute(statement, (at, each))
        for at, each in enumerate(given):
            if each is not None:
                self.places[id(each)] = (identifier, at)
                self.save(each)

    def touch(self, kept, identifier):
        """Count an object as changed: the caller must have the right."""
        table = sql.Identifier(kept.table)
        row = self.connection.execute(
            sql.SQL("select owner_id, group_id from {} where id = %s").format(table), (identifier,)
        ).fetchone()
        if not may_edit(self.context, *row):
            raise Forbidden(f"Updating {kept.name}:{identifier} not allowed")
        self.connection.execute(
            sql.SQL("update {} set version = version + 1, update_id = %s where id = %s").format(table),
            (self.event, identifier),
        )

    def values_of(self, kept, given):
        """Return an object's columns and values, its references saved first."""
        values = {}
        for name, attribute in kept.fields.items():
            if list_of(kept) is not None and attribute.column == list_of(kept)[1].column:
                continue
            if attribute.kind in ("measure", "bytes"):
                value = getattr(given, f"_{name}")
                value = from_measure(value) if attribute.kind == "measure" else (value or None,)
                values.update(zip(attribute.columns, value, strict=True))
                continue
            value = getattr(given, f"_{name}")
            is_reference = attribute.kind == "one" and value is not None
            value = self.save(value) if is_reference else from_rtype(value)
            if value is None and attribute.required:
                raise Invalid(f"not-null property references a null or transient value: {kept.name}.{name}")
            values[attribute.column] = value
        return values

    def target_row(self, attribute, identifier):
        """Return owner and group of a referenced object that the caller may see."""
        target = entity(attribute.target)
        row = self.connection.execute(
            sql.SQL("select owner_id, group_id from {} where id = %s").format(sql.Identifier(target.table)),
            (identifier,),
        ).fetchone()
        if row is None:
            raise Invalid(f"there is no {target.name}:{identifier}")
        if not may_read(self.context, *row):
            raise Forbidden(f"Cannot read {target.name}:{identifier}")
        return row

    def check_references(self, kept, values, owner_id, group_id):
        """Raise unless the caller may let a new object of this owner and group refer to these others."""
        for attribute in kept.fields.values():
            identifier = values.get(attribute.column)
            if attribute.kind != "one" or identifier is None or not entity(attribute.target).owned:
                continue
            target_owner, target_group = self.target_row(attribute, identifier)
            named = f"{attribute.target}:{identifier}"
            if target_group != group_id:
                raise MixedGroups(
                    f"MIXED GROUP: {kept.name} in group {group_id} cannot link to {named} in group {target_group}"
                )
            if target_owner == self.context.user_id:
                continue
            if is_private(self.context.group_permissions[group_id]) and target_owner != owner_id:
                raise ReadOnlyGroup(f"Cannot link to {named}: it is another user's in a private group")
            annotates = kept.is_annotation_link or (kept.name, attribute.name) == ("Roi", "image")
            may = may_annotate if annotates else may_link
            if not may(self.context, target_owner, target_group):
                raise ReadOnlyGroup(f"Group is READ-ONLY. Cannot link to object: {named}")

    def insert(self, kept, given, values):
        """Insert a row and return its id."""
        self.check_imports(kept, None, values)
        values = values | self.place_of(kept, given)
        columns = dict(values)
        if kept.owned:
            owner, group = self.owner_and_group(kept, given, values)
            self.check_references(kept, values, owner, group)
            columns.update(
                owner_id=owner,
                group_id=group,
                creation_id=self.event,
                update_id=self.event,
                permissions=self.context.group_permissions[group],
            )
            external = given._details._externalInfo
            columns["external_id"] = None if external is None else self.save(external)
        if kept.versioned:
            columns["version"] = 0
        if kept.discriminator:
            columns["discriminator"] = kept.discriminator
        return self.connection.execute(
            sql.SQL("insert into {} ({}) values ({}) returning id").format(
                sql.Identifier(kept.table),
                sql.SQL(", ").join(map(sql.Identifier, columns)),
                sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
            ),
            list(columns.values()),
        ).fetchone()[0]

    def place_of(self, kept, given):
        """Return the columns of a new object of a list, which its owner's being saved has given a place."""
        if list_of(kept) is None:
            return {}
        owner, collection = list_of(kept)
        if id(given) not in self.places:
            raise Invalid(
                "not-null property references a null or transient value: "
                f"{java_class(kept.name)}._{collection.name}IndexBackref; save the {owner.name} that holds it"
            )
        return dict(zip((collection.column, collection.place), self.places[id(given)], strict=True))

    def owner_and_group(self, kept, given, values):
        """Return the owner and the group of a new object."""
        owner, group = self.context.user_id, self.context.group_id
        details = given._details
        if details._owner is not None and from_rtype(details._owner.id) != owner:
            if not self.context.is_admin:
                raise Forbidden(f"User {owner} cannot make objects of another user")
            owner = from_rtype(details._owner.id)
        if details._group is not None:
            wanted = from_rtype(details._group.id)
            if wanted not in (group, ALL_GROUPS) and not self.context.is_admin and group != ALL_GROUPS:
                raise Forbidden(f"the call works in group {group}, the object names {wanted}")
            group = wanted
        if group == ALL_GROUPS:
            raise ApiUsage("an object cannot be made in all groups: set omero.group to the id of one")
        if not self.context.is_admin and group not in self.context.memberships:
            raise Forbidden(f"User {self.context.user_id} is not a member of group {group}")
        return owner, group

    def update(self, kept, given, identifier, values):
        """Update a row where it differs from what is stored."""
        names = [*values, "owner_id", "group_id", "external_id", "version"]
        row = self.connection.execute(
            sql.SQL("select {} from {} where id = %s for no key update").format(
                sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(kept.table)
            ),
            (identifier,),
        ).fetchone()
        if row is None:
            raise Invalid(f"there is no {kept.name}:{identifier}")
        stored = dict(zip(names, row, strict=True))
        if not may_read(self.context, stored["owner_id"], stored["group_id"]):
            raise Forbidden(f"Cannot read {kept.name}:{identifier}")
        self.check_details(kept, given, identifier, stored)
        changed = {name: value for name, value in values.items() if value != stored[name]}
        external = given._details._externalInfo
        external = None if external is None else self.save(external)
        if external != stored["external_id"]:
            changed["external_id"] = external
        if kept.name == "MapAnnotation" and self.pairs(identifier) != _given_pairs(given._mapValue or []):
            # The pairs have a table of their own; a change of theirs still needs the right and a new version.
            changed["ns"] = values["ns"]
        if not changed:
            return
        self.check_imports(kept, identifier, changed)
        if not may_edit(self.context, stored["owner_id"], stored["group_id"]):
            raise Forbidden(f"Updating {kept.name}:{identifier} not allowed")
        version = from_rtype(given._version)
        if version is not None and version != stored["version"]:
            raise Outdated(f"{kept.name}:{identifier} was changed by another: version {version} is outdated")
        self.check_references(kept, values, stored["owner_id"], stored["group_id"])
        changed.update(version=(stored["version"] or 0) + 1, update_id=self.event)
        self.connection.execute(
            sql.SQL("update {} set {} where id = %s").format(
                sql.Identifier(kept.table),
                sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in changed),
            ),
            [*changed.values(), identifier],
        )

    def check_imports(self, kept, identifier, changed):
        """Raise where a client would write what imports alone do: their files, and where these lie."""
        if self.importing:
            return
        if kept.name == "JobOriginalFileLink" and identifier is None and self._is_output(changed):
            return
        if kept.name in _OF_IMPORTS or kept.base == "Job":
            raise Forbidden(f"{kept.name} is written by imports alone")
        if kept.name == "OriginalFile" and changed.get("repo") is not None:
            raise Forbidden("which repository a file is in clients do not say")
        if kept.name == "OriginalFile" and identifier is not None and changed.keys() & {"name", "path", "repo"}:
            query = "select 1 from {} where {} = %s"
            for table, column in (("filesetentry", "originalfile"), ("joboriginalfilelink", "child")):
                statement = sql.SQL(query).format(sql.Identifier(table), sql.Identifier(column))
                if self.connection.execute(statement, (identifier,)).fetchone():
                    raise Forbidden(f"OriginalFile:{identifier} is an import's, and stays where it is")

    def _is_output(self, changed):
        """Tell whether a new link leads from the job of a script, to what that wrote: to no file of an import."""
        row = self.connection.execute(
            "select 1 from job where id = %s and discriminator in ('ScriptJob', 'ParseJob')", (changed["parent"],)
        ).fetchone()
        return row is not None and not is_imported(self.call, changed["child"])

    def check_details(self, kept, given, identifier, stored):
        """Raise where an object names another owner or group than the stored ones."""
        for name in ("owner", "group"):
            wanted = getattr(given._details, f"_{name}")
            if wanted is not None and from_rtype(wanted.id) != stored[DETAILS[name].column]:
                raise Unsupported(f"to change the {name} of {kept.name}:{identifier}")

    def pairs(self, identifier):
        """Return the stored pairs of a map annotation."""
        return self.connection.execute(
            "select name, value from annotation_mapvalue where annotation_id = %s order by index",
            (identifier,),
        ).fetchall()

    def save_pairs(self, identifier, given):
        """Store the pairs of a map annotation in their order."""
        wanted = _given_pairs(given)
        if wanted == self.pairs(identifier):
            return
        self.connection.execute("delete from annotation_mapvalue where annotation_id = %s", (identifier,))
        for index, (name, value) in enumerate(wanted):
            self.connection.execute(
                "insert into annotation_mapvalue (annotation_id, name, value, index) values (%s, %s, %s, %s)",
                (identifier, name, value, index),
            )

    def delete(self, given):
        """Delete one stored object; one that others refer to stays, and Invalid says so.

        Args:
            given: omero.model object with an id.

        Raises:
            Forbidden: the caller may not.
            Invalid: it does not exist, or others refer to it.
        """
        kept = entity(type(given).__name__)
        identifier = from_rtype(given.id)
        if not kept.owned and kept.name != "ExternalInfo":
            raise Unsupported(f"to delete {kept.name} through IUpdate")
        table = sql.Identifier(kept.table)
        if kept.owned:
            row = self.connection.execute(
                sql.SQL("select owner_id, group_id from {} where id = %s").format(table), (identifier,)
            ).fetchone()
            if row is None:
                raise Invalid(f"there is no {kept.name}:{identifier}")
            if not may_edit(self.context, *row):
                raise Forbidden(f"Deleting {kept.name}:{identifier} not allowed")
        self.connection.execute(sql.SQL("delete from {} where id = %s").format(table), (identifier,))


def _given_pairs(given):
    return [(pair.name, pair.value) for pair in given if pair is not None]
