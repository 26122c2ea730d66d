"""IAdmin: users, groups, memberships, passwords, and what the caller is."""

# The texts are HQL, of names that schema.py knows; a client's values are parameters.
# ruff: noqa: S608

import omero
import omero.rtypes as rtypes
from omero_model_PermissionsI import PermissionsI

from ..calls import DONE
from ..errors import ApiUsage, Forbidden, Invalid
from ..model import from_rtype, new_object
from ..passwords import password_hash, password_matches
from ..permissions import (
    ALL_GROUPS,
    GUEST_GROUP,
    GUEST_USER,
    ROOT_USER,
    SYSTEM_GROUP,
    USER_GROUP,
    may_edit,
)
from ..queries import load, run
from ..schema import entity

_WITH_GROUPS = "left outer join fetch o.groupExperimenterMap m left outer join fetch m.parent"
_WITH_USERS = "left outer join fetch o.groupExperimenterMap m left outer join fetch m.child"


def _user(call, where, value, message):
    text = f"select o from Experimenter o {_WITH_GROUPS} where {where} = :value"
    rows = run(call, text, {"value": value}, context=call.context_for_all())
    if not rows:
        raise ApiUsage(message)
    return rows[0][0]


def _group(call, where, value, message):
    text = f"select o from ExperimenterGroup o {_WITH_USERS} where {where} = :value"
    rows = run(call, text, {"value": value}, context=call.context_for_all())
    if not rows:
        raise ApiUsage(message)
    return rows[0][0]


def _require_admin(call, what):
    if not call.context.is_admin:
        raise Forbidden(f"{what} is for administrators")


def _require_leader(call, group_id, what):
    if not call.context.is_admin and group_id not in call.context.leaderships:
        raise Forbidden(f"{what} is for administrators and the group's owners")


def _privileges(call):
    return [row[0] for row in run(call, "select o from AdminPrivilege o", {}, context=call.context_for_all())]


def _memberships(call, user_id):
    return call.connection.execute(
        "select parent, owner from groupexperimentermap where child = %s order by child_index", (user_id,)
    ).fetchall()


def event_context(call, session, context):
    """Return the omero.sys.EventContext of a session that works in the group of a permissions.Context."""
    group_id = session.group_id if context.group_id == ALL_GROUPS else context.group_id
    found = omero.sys.EventContext()
    found.shareId = -1
    found.sessionId = session.id
    found.sessionUuid = session.uuid
    found.userId = session.user_id
    found.userName = session.user_name
    found.groupId = group_id
    found.groupName = call.connection.execute(
        "select name from experimentergroup where id = %s", (group_id,)
    ).fetchone()[0]
    found.isAdmin = context.is_admin
    found.adminPrivileges = [each.value.val for each in _privileges(call)] if context.is_admin else []
    found.eventId = -1
    found.eventType = "User"
    found.memberOfGroups = [row[0] for row in _memberships(call, session.user_id)]
    found.leaderOfGroups = sorted(context.leaderships)
    found.groupPermissions = PermissionsI(context.group_permissions[group_id])
    return found


class Admin:
    """Reads are open to every user, changes to administrators and partly to a group's owners."""

    # The caller

    def getEventContext(self, call):
        """Return who the caller is and which group the call works in."""
        return event_context(call, call.session, call.context)

    def getSecurityRoles(self, call):
        """Return the ids and names that have a meaning of their own."""
        return omero.sys.Roles(
            rootId=ROOT_USER,
            rootName="root",
            systemGroupId=SYSTEM_GROUP,
            systemGroupName="system",
            userGroupId=USER_GROUP,
            userGroupName="user",
            guestId=GUEST_USER,
            guestName="guest",
            guestGroupId=GUEST_GROUP,
            guestGroupName="guest",
        )

    def getCurrentAdminPrivileges(self, call):
        """Return what the caller may do as administrator."""
        return _privileges(call) if call.context.is_admin else []

    def getAdminPrivileges(self, call, user):
        """Return what a user may do as administrator."""
        groups = [row[0] for row in _memberships(call, from_rtype(user.id))]
        return _privileges(call) if SYSTEM_GROUP in groups else []

    def canUpdate(self, call, given):
        """Tell whether the caller may change an object."""
        kept = entity(type(given).__name__)
        if not kept.owned:
            return call.context.is_admin
        found = load(call, kept, [from_rtype(given.id)])
        if not found:
            return False
        details = found[0].details
        return may_edit(call.context, details.owner.id.val, details.group.id.val)

    # Users and groups

    def getExperimenter(self, call, identifier):
        """Return a user by id."""
        return _user(call, "o.id", identifier, f"No such experimenter: {identifier}")

    def lookupExperimenter(self, call, name):
        """Return a user by name."""
        return _user(call, "o.omeName", name, f"No such experimenter: {name}")

    def lookupExperimenters(self, call):
        """Return every user."""
        text = f"select o from Experimenter o {_WITH_GROUPS} order by o.id"
        return [row[0] for row in run(call, text, {}, context=call.context_for_all())]

    def lookupLdapAuthExperimenters(self, call):
        """Return the users who log in through LDAP: none, the stand-in has no LDAP."""
        return rtypes.rlist([])

    def lookupLdapAuthExperimenter(self, call, identifier):
        """Return a user's name in LDAP: none."""
        return ""

    def getGroup(self, call, identifier):
        """Return a group by id."""
        return _group(call, "o.id", identifier, f"No such group: {identifier}")

    def lookupGroup(self, call, name):
        """Return a group by name."""
        return _group(call, "o.name", name, f"No such group: {name}")

    def lookupGroups(self, call):
        """Return every group."""
        text = f"select o from ExperimenterGroup o {_WITH_USERS} order by o.id"
        return [row[0] for row in run(call, text, {}, context=call.context_for_all())]

    def containedExperimenters(self, call, group_id):
        """Return the users of a group."""
        text = (
            f"select o from Experimenter o {_WITH_GROUPS} where exists (select x from GroupExperimenterMap x"
            " where x.child = o.id and x.parent.id = :id) order by o.id"
        )
        return [row[0] for row in run(call, text, {"id": group_id}, context=call.context_for_all())]

    def containedGroups(self, call, user_id):
        """Return the groups of a user, the default one first."""
        order = [row[0] for row in _memberships(call, user_id)]
        found = {each.id.val: each for each in load(call, entity("ExperimenterGroup"), order, _WITH_USERS)}
        return [found[identifier] for identifier in order]

    def getDefaultGroup(self, call, user_id):
        """Return the first group of a user."""
        groups = [row[0] for row in _memberships(call, user_id) if row[0] != USER_GROUP]
        if not groups:
            raise ApiUsage(f"user {user_id} has no default group")
        return self.getGroup(call, groups[0])

    def getMemberOfGroupIds(self, call, user):
        """Return the ids of a user's groups."""
        return [row[0] for row in _memberships(call, from_rtype(user.id))]

    def getLeaderOfGroupIds(self, call, user):
        """Return the ids of the groups that a user owns."""
        return [row[0] for row in _memberships(call, from_rtype(user.id)) if row[1]]

    def createGroup(self, call, group):
        """Make a group and return its id; private unless permissions say otherwise."""
        _require_admin(call, "to make a group")
        permissions = group.details.permissions if group.details is not None else None
        stored = -120 if permissions is None else permissions.getPerm1()
        return call.connection.execute(
            "insert into experimentergroup (permissions, version, name, description, ldap)"
            " values (%s, 0, %s, %s, %s) returning id",
            (stored, self._name(group.name), from_rtype(group.description), bool(from_rtype(group.ldap))),
        ).fetchone()[0]

    def updateGroup(self, call, group):
        """Change a group's name, description and permissions."""
        identifier = from_rtype(group.id)
        _require_leader(call, identifier, "to change a group")
        stored = self._permissions(call, identifier)
        permissions = group.details.permissions if group.details is not None else None
        call.connection.execute(
            "update experimentergroup set name = %s, description = %s, permissions = %s,"
            " version = coalesce(version, 0) + 1 where id = %s",
            (
                self._name(group.name),
                from_rtype(group.description),
                stored if permissions is None else permissions.getPerm1(),
                identifier,
            ),
        )
        return DONE

    def changePermissions(self, call, given, permissions):
        """Change a group's permissions."""
        if entity(type(given).__name__).name != "ExperimenterGroup":
            raise ApiUsage("permissions belong to groups")
        identifier = from_rtype(given.id)
        _require_leader(call, identifier, "to change a group's permissions")
        self._permissions(call, identifier)
        call.connection.execute(
            "update experimentergroup set permissions = %s where id = %s",
            (permissions.getPerm1(), identifier),
        )
        return DONE

    def _permissions(self, call, group_id):
        try:
            return call.context.group_permissions[group_id]
        except KeyError:
            raise ApiUsage(f"No such group: {group_id}") from None

    def _name(self, value):
        name = from_rtype(value)
        if not name:
            raise Invalid("not-null property references a null or transient value: name")
        return name

    def createExperimenter(self, call, user, default_group, other_groups):
        """Make a user without password, who cannot log in until they get one; return the id."""
        return self._create(call, user, [default_group, *other_groups], None)

    def createExperimenterWithPassword(self, call, user, password, default_group, other_groups):
        """Make a user with a password; return the id."""
        return self._create(call, user, [default_group, *other_groups], from_rtype(password))

    def createUser(self, call, user, group_name):
        """Make a user of one group, and of `user`; return the id."""
        group = self.lookupGroup(call, group_name)
        return self._create(call, user, [group, new_object("ExperimenterGroup", USER_GROUP, False)], None)

    def _create(self, call, user, groups, password):
        _require_admin(call, "to make a user")
        identifier = call.connection.execute(
            "insert into experimenter (version, omename, firstname, middlename, lastname, institution, email, ldap)"
            " values (0, %s, %s, %s, %s, %s, %s, %s) returning id",
            (
                self._name(user.omeName),
                self._name(user.firstName),
                from_rtype(user.middleName),
                self._name(user.lastName),
                from_rtype(user.institution),
                from_rtype(user.email),
                bool(from_rtype(user.ldap)),
            ),
        ).fetchone()[0]
        self._join(call, identifier, groups)
        self._set_password(call, identifier, password)
        return identifier

    def updateExperimenter(self, call, user):
        """Change a user's names and addresses."""
        _require_admin(call, "to change a user")
        return self._update(call, user)

    def updateExperimenterWithPassword(self, call, user, password):
        """Change a user's names, addresses and password."""
        _require_admin(call, "to change a user")
        self._set_password(call, from_rtype(user.id), from_rtype(password))
        return self._update(call, user)

    def updateSelf(self, call, user):
        """Change the caller's own names and addresses."""
        if from_rtype(user.id) != call.session.user_id:
            raise Forbidden("another user")
        return self._update(call, user)

    def _update(self, call, user):
        call.connection.execute(
            "update experimenter set omename = %s, firstname = %s, middlename = %s, lastname = %s, institution = %s,"
            " email = %s, version = coalesce(version, 0) + 1 where id = %s",
            (
                self._name(user.omeName),
                self._name(user.firstName),
                from_rtype(user.middleName),
                self._name(user.lastName),
                from_rtype(user.institution),
                from_rtype(user.email),
                from_rtype(user.id),
            ),
        )
        return DONE

    # Memberships

    def _join(self, call, user_id, groups):
        for group in groups:
            identifier = from_rtype(group.id)
            self._permissions(call, identifier)
            call.connection.execute(
                "insert into groupexperimentermap (version, parent, child, owner, child_index)"
                " select 0, %(group)s, %(user)s, false, coalesce(max(child_index), -1) + 1"
                " from groupexperimentermap where child = %(user)s on conflict (parent, child) do nothing",
                {"group": identifier, "user": user_id},
            )

    def addGroups(self, call, user, groups):
        """Put a user into groups."""
        for group in groups:
            _require_leader(call, from_rtype(group.id), "to add members")
        self._join(call, from_rtype(user.id), groups)
        return DONE

    def removeGroups(self, call, user, groups):
        """Take a user out of groups; root and guest stay where they are."""
        for group in groups:
            _require_leader(call, from_rtype(group.id), "to remove members")
            if from_rtype(user.id) in (ROOT_USER, GUEST_USER):
                raise ApiUsage("root and guest keep their groups")
            call.connection.execute(
                "delete from groupexperimentermap where child = %s and parent = %s",
                (from_rtype(user.id), from_rtype(group.id)),
            )
        return DONE

    def setDefaultGroup(self, call, user, group):
        """Make one of a user's groups the one that sessions start in."""
        user_id, group_id = from_rtype(user.id), from_rtype(group.id)
        if user_id != call.session.user_id:
            _require_leader(call, group_id, "to set a default group")
        order = [row[0] for row in _memberships(call, user_id)]
        if group_id not in order:
            raise ApiUsage(f"user {user_id} is not in group {group_id}")
        order.sort(key=lambda identifier: identifier != group_id)
        # Each index is unique, so they move out of the way first.
        call.connection.execute(
            "update groupexperimentermap set child_index = -1 - child_index where child = %s", (user_id,)
        )
        for index, identifier in enumerate(order):
            call.connection.execute(
                "update groupexperimentermap set child_index = %s where child = %s and parent = %s",
                (index, user_id, identifier),
            )
        return DONE

    def _set_owner(self, call, group, users, owns):
        _require_leader(call, from_rtype(group.id), "to name a group's owners")
        for user in users:
            if owns:
                self._join(call, from_rtype(user.id), [group])
            call.connection.execute(
                "update groupexperimentermap set owner = %s where parent = %s and child = %s",
                (owns, from_rtype(group.id), from_rtype(user.id)),
            )
        return DONE

    def setGroupOwner(self, call, group, user):
        """Make a user an owner of a group."""
        return self._set_owner(call, group, [user], True)

    def unsetGroupOwner(self, call, group, user):
        """Make a user a plain member of a group."""
        return self._set_owner(call, group, [user], False)

    def addGroupOwners(self, call, group, users):
        """Make users owners of a group."""
        return self._set_owner(call, group, users, True)

    def removeGroupOwners(self, call, group, users):
        """Make users plain members of a group."""
        return self._set_owner(call, group, users, False)

    # Passwords

    def _set_password(self, call, user_id, password):
        stored = None if password is None else password_hash(password, user_id)
        call.connection.execute(
            "insert into password (experimenter_id, hash, changed) values (%s, %s, now() at time zone 'utc')"
            " on conflict (experimenter_id) do update set hash = excluded.hash, changed = excluded.changed",
            (user_id, stored),
        )

    def changeUserPassword(self, call, name, password):
        """Set a user's password."""
        user = self.lookupExperimenter(call, name)
        if user.id.val != call.session.user_id:
            _require_admin(call, "to set another's password")
        self._set_password(call, user.id.val, from_rtype(password))
        return DONE

    def changePassword(self, call, password):
        """Set the caller's own password."""
        self._set_password(call, call.session.user_id, from_rtype(password))
        return DONE

    def changePasswordWithOldPassword(self, call, old, new):
        """Set the caller's own password if they know the old one."""
        row = call.connection.execute(
            "select hash from password where experimenter_id = %s", (call.session.user_id,)
        ).fetchone()
        if row is None or not password_matches(from_rtype(old) or "", row[0], call.session.user_id):
            raise Forbidden("the old password is wrong")
        return self.changePassword(call, new)
