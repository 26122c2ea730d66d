"""IScript: there are no scripts, and no processor to run one."""


class Script:
    """Answers that there is nothing; to upload or run a script is refused by name."""

    def getScripts(self, call):
        """Return the official scripts: none."""
        return []

    def getUserScripts(self, call, party):
        """Return the users' scripts: none."""
        return []

    def getScriptsByMimetype(self, call, mimetype):
        """Return the scripts of a kind, such as lookup tables: none."""
        return []

    def getScriptID(self, call, path):
        """Return the id of a script: -1, as from the real server where there is no such script."""
        return -1
