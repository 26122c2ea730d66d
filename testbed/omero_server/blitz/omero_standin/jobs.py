"""Jobs that run scripts, or ask them what they take: rows of ScriptJob and ParseJob, and what becomes of them."""

from psycopg import sql

from .errors import ApiUsage, Forbidden, Invalid, Unsupported
from .model import from_rtype
from .permissions import ALL_GROUPS, may_edit, may_read
from .queries import load
from .schema import entity
from .store import Store

KINDS = ("ScriptJob", "ParseJob")
SUBMITTED, WAITING, RUNNING, ERROR = "Submitted", "Waiting", "Running", "Error"
_ENDED = ("Cancelled", "Finished", ERROR)
# The column's.
_LONGEST_MESSAGE = 255


def submit(call, given, status=SUBMITTED):
    """Note a new job of the caller's.

    Args:
        call: calls.Call.
        given: omero.model.ScriptJob or ParseJob, linked to its script.
        status: str, its first.

    Returns:
        int, its id.

    Raises:
        Unsupported: another kind of job.
        Invalid: it refers to a file that is none.
        Forbidden: or to one that the caller may not see.
    """
    kept = entity(type(given).__name__)
    if kept.name not in KINDS:
        raise Unsupported(f"to submit a {kept.name}")
    files = [from_rtype(link.child.id) for link in given.copyOriginalFileLinks()]
    for file in files:
        check_readable(call, file)
    context = call.context
    group = context.session_group_id if context.group_id == ALL_GROUPS else context.group_id
    event = Store(call).event
    name = call.connection.execute("select name from experimentergroup where id = %s", (group,)).fetchone()[0]
    row = {
        "discriminator": kept.discriminator,
        "version": 0,
        "username": call.session.user_name,
        "groupname": name,
        "type": "User",
        "message": (from_rtype(given.message) or "")[:_LONGEST_MESSAGE],
        "description": from_rtype(given.description) if kept.name == "ScriptJob" else None,
        "permissions": context.group_permissions[group],
        "owner_id": context.user_id,
        "group_id": group,
        "event": event,
        "status": status,
    }
    identifier = call.connection.execute(
        "insert into job (discriminator, version, username, groupname, type, message, description, status, submitted,"
        " scheduledfor, permissions, owner_id, group_id, creation_id, update_id) values (%(discriminator)s,"
        " %(version)s, %(username)s, %(groupname)s, %(type)s, %(message)s, %(description)s,"
        " (select id from jobstatus where value = %(status)s), clock_timestamp() at time zone 'utc',"
        " clock_timestamp() at time zone 'utc', %(permissions)s, %(owner_id)s, %(group_id)s, %(event)s, %(event)s)"
        " returning id",
        row,
    ).fetchone()[0]
    for file in files:
        call.connection.execute(
            "insert into joboriginalfilelink (version, parent, child, permissions, owner_id, group_id, creation_id,"
            " update_id) values (0, %s, %s, %s, %s, %s, %s, %s)",
            (identifier, file, row["permissions"], context.user_id, group, event, event),
        )
    return identifier


def check_readable(call, file_id):
    """Raise Invalid where there is no such OriginalFile, Forbidden where the caller may not see it."""
    row = call.connection.execute("select owner_id, group_id from originalfile where id = %s", (file_id,)).fetchone()
    if row is None:
        raise Invalid(f"there is no OriginalFile:{file_id}")
    if not may_read(call.context_for_all(), *row):
        raise Forbidden(f"Cannot read OriginalFile:{file_id}")


def job(call, identifier):
    """Return a job (omero.model) with its status, as far as the caller may see it.

    Raises:
        ApiUsage: there is none.
    """
    found = load(call, entity("Job"), [identifier], "left outer join fetch o.status")
    if not found:
        raise ApiUsage(f"Unknown job:{identifier}")
    return found[0]


def change(call, identifier, status, message):
    """Change a job's status, message, or both (str or None each); return the former message, or the former status.

    Raises:
        ApiUsage: there is no such job.
        Forbidden: the caller may not change it.
        Unsupported: it is the job of an import.
        Invalid: a status that is none, or that nobody sets.
    """
    found = job(call, identifier)
    if type(found).__name__.removesuffix("I") not in KINDS:
        raise Unsupported("to change the job of an import")
    if not may_edit(call.context_for_all(), found.details.owner.id.val, found.details.group.id.val):
        raise Forbidden(f"Updating Job:{identifier} not allowed")
    former = None
    if message is not None:
        former = from_rtype(found.message)
        call.connection.execute(
            "update job set message = %s, version = version + 1 where id = %s", (message[:_LONGEST_MESSAGE], identifier)
        )
    if status is not None:
        if status not in (RUNNING, *_ENDED):
            raise Invalid(f"Currently unsupported: {status}")
        former = from_rtype(found.status._value)
        column = sql.Identifier("started" if status == RUNNING else "finished")
        statement = sql.SQL(
            "update job set status = (select id from jobstatus where value = %s), version = version + 1,"
            " {} = clock_timestamp() at time zone 'utc' where id = %s"
        )
        call.connection.execute(statement.format(column), (status, identifier))
    return former


def remove(call, identifier):
    """Delete a job and its links, whose files stay."""
    call.connection.execute("delete from joboriginalfilelink where parent = %s", (identifier,))
    call.connection.execute("delete from job where id = %s", (identifier,))


def output(call, identifier, name):
    """Return id and mimetype of a file that a job wrote, `stdout` or `stderr`, None where there is none."""
    return call.connection.execute(
        "select f.id, f.mimetype from originalfile f join joboriginalfilelink l on l.child = f.id"
        " where l.parent = %s and f.name = %s order by f.id limit 1",
        (identifier, name),
    ).fetchone()
