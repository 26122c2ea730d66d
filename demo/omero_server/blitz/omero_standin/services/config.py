"""IConfig: versions and settings."""

import re
import time

import omero.rtypes as rtypes

from ..errors import Forbidden
from ..settings import VERSION, visible


class Config:
    """Answers from the server's settings."""

    def getVersion(self, call):
        """Return the version, which names the stand-in."""
        return call.blitz.settings[VERSION]

    def getConfigValue(self, call, key):
        """Return a setting that clients may see, or an empty string."""
        return visible(call.blitz.settings, re.compile(re.escape(key))).get(key, "")

    def getConfigValues(self, call, pattern):
        """Return the settings whose names match a regular expression."""
        return visible(call.blitz.settings, re.compile(pattern))

    def getConfigDefaults(self, call):
        """Return the release's settings, for administrators."""
        if not call.context.is_admin:
            raise Forbidden("the server's defaults are for administrators")
        return visible(call.blitz.defaults, re.compile(".*"))

    def getClientConfigValues(self, call):
        """Return the settings meant for clients."""
        return visible(call.blitz.settings, re.compile(r"omero\.client\..*"))

    def getClientConfigDefaults(self, call):
        """Return the release's settings meant for clients."""
        return visible(call.blitz.defaults, re.compile(r"omero\.client\..*"))

    def getDatabaseUuid(self, call):
        """Return the id of this database."""
        return call.connection.execute("select value from configuration where name = 'omero.db.uuid'").fetchone()[0]

    def getServerTime(self, call):
        """Return the server's clock."""
        return rtypes.rtime(int(time.time() * 1000))

    def getDatabaseTime(self, call):
        """Return the database's clock."""
        seconds = call.connection.execute("select extract(epoch from now())").fetchone()[0]
        return rtypes.rtime(int(seconds * 1000))
