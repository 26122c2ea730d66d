"""Who may read, annotate, link and change what: OMERO's four kinds of groups, without a database."""

from dataclasses import dataclass, field

from .errors import Forbidden

READ, WRITE, ANNOTATE = 4, 2, 1
_USER, _GROUP, _WORLD = 8, 4, 0
SYSTEM_GROUP, USER_GROUP, GUEST_GROUP = 0, 1, 2
ROOT_USER, GUEST_USER = 0, 1
ALL_GROUPS = -1


@dataclass(frozen=True)
class Context:
    """A call's caller and the group that it works in.

    Attributes:
        user_id: int.
        group_id: int, ALL_GROUPS when the call asked for every group of the user.
        is_admin: bool, member of the group `system`.
        memberships: dict of group id to permissions (int, as stored) of the user's own groups.
        leaderships: frozenset of the ids of the groups that the user owns.
        group_permissions: dict of group id to permissions of every group that the call met.
        session_group_id: int, the group that the session works in.
    """

    user_id: int
    group_id: int
    is_admin: bool = False
    memberships: dict = field(default_factory=dict)
    leaderships: frozenset = frozenset()
    group_permissions: dict = field(default_factory=dict)
    session_group_id: int = USER_GROUP


def granted(permissions, right, scope=_GROUP):
    """Tell whether stored permissions (an int, as in the column `permissions`) grant a right to the group."""
    return bool(permissions & (right << scope))


def is_private(permissions):
    """Tell whether a group's members see only their own objects."""
    return not granted(permissions, READ)


def to_string(permissions):
    """Return permissions as text, `rwra--` for example."""
    text = ""
    for scope in (_USER, _GROUP, _WORLD):
        text += "r" if granted(permissions, READ, scope) else "-"
        if granted(permissions, WRITE, scope):
            text += "w"
        else:
            text += "a" if granted(permissions, ANNOTATE, scope) else "-"
    return text


def from_string(text):
    """Return the stored form of permissions such as `rwra--`.

    Raises:
        ValueError: the text is no permissions.
    """
    if len(text) != 6 or any(text[i] not in "r-" or text[i + 1] not in "wa-" for i in (0, 2, 4)):
        raise ValueError(f"no permissions: {text!r}, wanted six characters such as rwr---")
    permissions = -1
    for index, scope in ((0, _USER), (2, _GROUP), (4, _WORLD)):
        rights = READ if text[index] == "r" else 0
        rights |= {"w": WRITE | ANNOTATE, "a": ANNOTATE, "-": 0}[text[index + 1]]
        permissions &= ~((~rights & 7) << scope)
    return permissions


def check_group(context):
    """Raise Forbidden unless the caller may work in the group that the call names."""
    group = context.group_id
    if not (context.is_admin or group == ALL_GROUPS or group in context.memberships):
        raise Forbidden(f"User {context.user_id} is not a member of group {group} and cannot login")


def readable(context):
    """Return which rows a query of this call may see.

    Returns:
        None when all, else a pair of lists: groups whose every row is visible, and groups where only the
        caller's own rows are.
    """
    if context.is_admin:
        return None if context.group_id == ALL_GROUPS else ([context.group_id], [])
    groups = context.memberships if context.group_id == ALL_GROUPS else [context.group_id]
    whole = [
        group for group in groups if group in context.leaderships or granted(context.memberships.get(group, 0), READ)
    ]
    return whole, [group for group in groups if group not in whole]


def may_read(context, owner_id, group_id):
    """Tell whether the caller may see an object, whichever of their groups the call names."""
    if context.is_admin:
        return True
    if group_id not in context.memberships:
        return False
    return (
        owner_id == context.user_id or group_id in context.leaderships or granted(context.memberships[group_id], READ)
    )


def _may(context, owner_id, group_id, right):
    if context.is_admin or group_id in context.leaderships:
        return True
    if group_id not in context.memberships:
        return False
    return owner_id == context.user_id or granted(context.memberships[group_id], right)


def may_edit(context, owner_id, group_id):
    """Tell whether the caller may change or delete an object."""
    return _may(context, owner_id, group_id, WRITE)


def may_annotate(context, owner_id, group_id):
    """Tell whether the caller may link an annotation to an object."""
    return _may(context, owner_id, group_id, ANNOTATE)


def may_link(context, owner_id, group_id):
    """Tell whether the caller may link something else than an annotation to an object."""
    return _may(context, owner_id, group_id, WRITE)


def restrictions(context, owner_id, group_id):
    """Return what the caller may not do with an object.

    Returns:
        list of bool in OMERO's order: link, edit, delete, annotate, change group, change owner.
    """
    edit = may_edit(context, owner_id, group_id)
    return [
        not may_link(context, owner_id, group_id),
        not edit,
        not edit,
        not may_annotate(context, owner_id, group_id),
        not (context.is_admin or owner_id == context.user_id),
        not (context.is_admin or group_id in context.leaderships),
    ]
