"""IConfig: versions and settings."""

import time

import omero.rtypes as rtypes

from ..errors import Forbidden
from ..settings import VERSION, matching, may_read


class Config:
    """Answers from the server's settings."""

    def getVersion(self, call):
        """Return the version, which names the stand-in."""
        return call.blitz.settings[VERSION]

    def getConfigValue(self, call, key):
        """Return a setting, an empty string where there is none."""
        if not may_read(key, call.context.is_admin):
            raise Forbidden(f"Cannot read configuration: {key}")
        return self._known(call).get(key, "")

    def getConfigValues(self, call, pattern):
        """Return the settings that the server announces whose names match a regular expression."""
        return matching(self._known(call), pattern, call.context.is_admin)

    def getConfigDefaults(self, call):
        """Return the release's settings, for administrators."""
        if not call.context.is_admin:
            raise Forbidden("the server's defaults are for administrators")
        return call.blitz.defaults

    def getClientConfigValues(self, call):
        """Return the settings meant for clients."""
        return self.getConfigValues(call, r"^omero\.client\.")

    def getClientConfigDefaults(self, call):
        """Return the release's settings meant for clients."""
        return {name: value for name, value in call.blitz.defaults.items() if name.startswith("omero.client")}

    def _known(self, call):
        return {**call.blitz.settings, "omero.db.uuid": self.getDatabaseUuid(call)}

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
