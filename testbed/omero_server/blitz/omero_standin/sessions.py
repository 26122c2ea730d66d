"""Who is logged in: the table of sessions, in memory and, unless the database is read-only, in `session`."""

import itertools
import logging
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime

from .errors import ApiUsage, Forbidden, SessionGone
from .passwords import password_matches
from .permissions import ALL_GROUPS, ROOT_USER, SYSTEM_GROUP, USER_GROUP, Context, check_group

log = logging.getLogger(__name__)
# How many of a session's clients may reach the processes of its scripts: those that came last.
_CONTROLS = 50


@dataclass
class Session:
    """A session; times in milliseconds, as in OMERO's model, a limit of zero is none.

    `references` counts its clients; with the last it ends unless it is `detached`. `handles` are its requests and
    services, `controls` what the router lets its clients reach. A script's has `inputs` and `outputs`, by name.
    `endings` are functions without arguments, by name, that are run when it ends.
    """

    id: int
    uuid: str
    user_id: int
    user_name: str
    group_id: int
    time_to_idle: int
    time_to_live: int
    agent: str | None = None
    address: str | None = None
    sudoer_id: int | None = None
    started: int = field(default_factory=lambda: int(time.time() * 1000))
    used: float = field(default_factory=time.monotonic)
    opened: float = field(default_factory=time.monotonic)
    references: int = 0
    detached: bool = False
    handles: dict = field(default_factory=dict)
    controls: deque = field(default_factory=lambda: deque(maxlen=_CONTROLS))
    inputs: dict = field(default_factory=dict)
    outputs: dict = field(default_factory=dict)
    endings: dict = field(default_factory=dict)

    def over(self, now):
        """Tell whether it was idle, or lived, for too long at the monotonic time `now`."""
        idle = self.time_to_idle and (now - self.used) * 1000 > self.time_to_idle
        return bool(idle or (self.time_to_live and (now - self.opened) * 1000 > self.time_to_live))


class SessionTable:
    """The sessions of this server.

    Args:
        database: Database.
        settings: dict of str to str; omero.sessions.timeout is the default time to idle in milliseconds.
    """

    def __init__(self, database, settings):
        """Start without sessions."""
        self.database = database
        self.time_to_idle = int(settings["omero.sessions.timeout"])
        self.sessions = {}
        self.lock = threading.Lock()
        self.unstored = itertools.count(-1, -1)

    def close_leftovers(self):
        """Mark sessions closed that a former run of this server left open."""
        if not self.database.read_only:
            with self.database.transaction() as connection:
                connection.execute("update session set closed = now() at time zone 'utc' where closed is null")

    def admits(self, name, password):
        """Tell whether a user may log in.

        Args:
            name: str, a user's name, or the uuid of a session to join.
            password: str, the user's password, or the same uuid.

        Returns:
            bool.
        """
        if name == password and self.find(name) is not None:
            return True
        with self.database.transaction() as connection:
            row = connection.execute(
                "select e.id, p.hash from experimenter e join password p on p.experimenter_id = e.id"
                " where e.omename = %s",
                (name,),
            ).fetchone()
        # A blank hash lets any password in; that is for guests only.
        if row is None or (row[1] is not None and not row[1].strip() and name != "guest"):
            return False
        return password_matches(password, row[1], row[0])

    def open(self, name, group=None, agent=None, address=None, time_to_idle=None, time_to_live=0, sudoer_id=None):
        """Start a session, or join the one whose uuid `name` is.

        Args:
            name: str, a user's name or a session's uuid.
            group: str or None, name or id of the group to work in, else the user's default group.
            agent: str or None, what the client calls itself.
            address: str or None, the client's address.
            time_to_idle: int or None, milliseconds, else the server's default.
            time_to_live: int, milliseconds.
            sudoer_id: int or None, the administrator who opened it for the user.

        Returns:
            Session.

        Raises:
            ApiUsage: there is no such user or group.
            Forbidden: the user is not in the group, or in no group.
        """
        joined = self.find(name)
        if joined is not None:
            with self.lock:
                joined.references += 1
                joined.used = time.monotonic()
            return joined
        idle = self.time_to_idle if time_to_idle is None else time_to_idle
        with self.database.transaction() as connection:
            row = connection.execute("select id from experimenter where omename = %s", (name,)).fetchone()
            if row is None:
                raise ApiUsage(f"No such user: {name}")
            session = Session(0, str(uuid.uuid4()), row[0], name, USER_GROUP, idle, time_to_live, agent, address)
            session.sudoer_id = sudoer_id
            session.group_id = self._group(connection, session, group)
            session.references = 1
            session.id = self._store(connection, session)
        with self.lock:
            self.sessions[session.uuid] = session
        log.info("session %s opened for %s", session.id, name)
        return session

    def _group(self, connection, session, wanted):
        groups = connection.execute(
            "select g.id, g.name from groupexperimentermap m join experimentergroup g on g.id = m.parent"
            " where m.child = %s order by m.child_index",
            (session.user_id,),
        ).fetchall()
        if not wanted:
            mine = [identifier for identifier, _ in groups if identifier != USER_GROUP] or [each[0] for each in groups]
            if not mine:
                raise Forbidden(f"{session.user_name} is in no group")
            return mine[0]
        for identifier, name in groups:
            if wanted in (name, str(identifier)):
                return identifier
        row = connection.execute(
            "select id from experimentergroup where name = %s or id::text = %s", (wanted, wanted)
        ).fetchone()
        if row is not None and any(identifier == SYSTEM_GROUP for identifier, _ in groups):
            return row[0]
        raise Forbidden(f"User {session.user_id} is not a member of group {wanted} and cannot login")

    def _store(self, connection, session):
        if self.database.read_only:
            return next(self.unstored)
        return connection.execute(
            "insert into session (version, uuid, owner, timetoidle, timetolive, started, defaulteventtype, useragent,"
            " userip) values (0, %s, %s, %s, %s, %s, 'User', %s, %s) returning id",
            (
                session.uuid,
                session.user_id,
                session.time_to_idle,
                session.time_to_live,
                datetime.fromtimestamp(session.started / 1000, UTC).replace(tzinfo=None),
                session.agent,
                session.address,
            ),
        ).fetchone()[0]

    def find(self, identifier):
        """Return the open session with this uuid, or None."""
        with self.lock:
            return self.sessions.get(identifier)

    def get(self, identifier):
        """Return the open session with this uuid and count it as used.

        Raises:
            SessionGone: there is none.
        """
        session = self.find(identifier)
        if session is None:
            raise SessionGone(f"No session with uuid {identifier}")
        session.used = time.monotonic()
        return session

    def release(self, identifier, close):
        """Take one client from a session.

        Args:
            identifier: str, the session's uuid.
            close: bool, whether the session ends with its last client; else others may join it until it is idle
                for too long.

        Returns:
            int, how many clients are left.
        """
        with self.lock:
            session = self.sessions.get(identifier)
            if session is None:
                return 0
            session.references = max(0, session.references - 1)
            left = session.references
        if close and not left:
            self.close(identifier)
        return left

    def close(self, identifier):
        """End a session, whoever still uses it: first what belongs to it, which may still need it."""
        with self.lock:
            session = self.sessions.get(identifier)
            endings = {} if session is None else session.endings
            if session is not None:
                session.endings = {}
        for name, ending in endings.items():
            try:
                ending()
            except Exception:
                log.exception("cannot end %s", name)
        with self.lock:
            session = self.sessions.pop(identifier, None)
        if session is None:
            return
        if not self.database.read_only:
            with self.database.transaction() as connection:
                connection.execute("update session set closed = now() at time zone 'utc' where id = %s", (session.id,))
        log.info("session %s of %s closed", session.id, session.user_name)

    def close_idle(self):
        """End every session that was idle, or lived, for too long."""
        now = time.monotonic()
        with self.lock:
            over = [session.uuid for session in self.sessions.values() if session.over(now)]
        for identifier in over:
            self.close(identifier)

    def open_sessions(self):
        """Return every open session, the oldest first."""
        with self.lock:
            return sorted(self.sessions.values(), key=lambda session: session.opened)

    def of_user(self, user_id):
        """Return the open sessions of a user."""
        return [session for session in self.open_sessions() if session.user_id == user_id]


def root_session():
    """Return a Session in which the server itself works; nobody can join it, and its events are those of the schema."""
    return Session(0, str(uuid.uuid4()), ROOT_USER, "root", USER_GROUP, 0, 0)


def context_of(connection, session, group=None):
    """Return the context of a call.

    Args:
        connection: psycopg.Connection.
        session: Session.
        group: int or None, the group that the call names, ALL_GROUPS for all, else the session's.

    Returns:
        permissions.Context.

    Raises:
        Forbidden: the user may not work in that group.
    """
    rows = connection.execute(
        "select g.id, g.permissions, m.id, m.owner from experimentergroup g"
        " left join groupexperimentermap m on m.parent = g.id and m.child = %s",
        (session.user_id,),
    ).fetchall()
    memberships = {row[0]: row[1] for row in rows if row[2] is not None}
    context = Context(
        user_id=session.user_id,
        group_id=session.group_id if group is None else group,
        is_admin=SYSTEM_GROUP in memberships,
        memberships=memberships,
        leaderships=frozenset(row[0] for row in rows if row[3]),
        group_permissions={row[0]: row[1] for row in rows},
        session_group_id=session.group_id,
    )
    check_group(context)
    if context.group_id != ALL_GROUPS and context.group_id not in context.group_permissions:
        raise Forbidden(f"There is no group {context.group_id}")
    return context
