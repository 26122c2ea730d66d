"""The server's connections to PostgreSQL."""

import logging
from contextlib import contextmanager

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from .settings import connection_settings, is_read_only

log = logging.getLogger(__name__)


class Unusable(Exception):
    """The database cannot be reached, or is not one of this server's."""


class Database:
    """A pool of connections; each call gets one for one transaction.

    Args:
        settings: dict of str to str, OMERO's settings: omero.db.host, .port, .name, .user, .pass, .poolsize,
            .version and .patch, omero.cluster.read_only and omero.cluster.read_only.db.
    """

    def __init__(self, settings):
        """Prepare the pool; open() connects."""
        self.read_only = is_read_only(settings, "db")
        self.wanted = (settings["omero.db.version"], int(settings["omero.db.patch"]))
        connection = connection_settings(settings)
        self.where = "{user}@{host}:{port}/{dbname}".format(**connection)
        size = int(settings["omero.db.poolsize"])
        self.pool = ConnectionPool(
            kwargs={
                **connection,
                "application_name": "OMERO.server stand-in",
                "connect_timeout": 10,
                "options": f"-c default_transaction_read_only={'on' if self.read_only else 'off'} -c timezone=utc",
            },
            min_size=min(2, size),
            max_size=size,
            timeout=30,
            # A database that was started anew has closed those that wait here.
            check=ConnectionPool.check_connection,
            open=False,
        )

    def open(self):
        """Connect and see whether the schema is this server's.

        Raises:
            Unusable: the database is out of reach, refuses the user, has no OMERO schema or one of another version.
        """
        try:
            # One connection outside the pool: a pool hides why it cannot connect.
            with psycopg.connect(**self.pool.kwargs) as connection:
                row = connection.execute(
                    "select currentversion, currentpatch from dbpatch order by id desc limit 1"
                ).fetchone()
        except psycopg.errors.UndefinedTable:
            raise Unusable(f"{self.where} has no OMERO schema: load what `omero db script` writes") from None
        except psycopg.Error as error:
            raise Unusable(f"cannot use the database {self.where}: {str(error).strip()}") from None
        if row != self.wanted:
            found = "{}__{}".format(*row) if row else "none"
            raise Unusable(
                f"{self.where} has the OMERO schema {found}, this server needs {'{}__{}'.format(*self.wanted)}"
            )
        self.pool.open()

    def close(self):
        """Give back every connection."""
        self.pool.close()

    @contextmanager
    def transaction(self):
        """Lend a connection for one transaction: committed at the end, rolled back on any exception.

        Raises:
            PoolTimeout: no connection was free for half a minute.
        """
        with self.pool.connection() as connection:
            yield connection


__all__ = ["Database", "PoolTimeout", "Unusable"]
