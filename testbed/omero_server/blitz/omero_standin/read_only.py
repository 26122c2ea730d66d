"""What the real server refuses where its database is read-only, before it looks at anything else."""

from .errors import ApiUsage

# Operations that announce a transaction that writes. IUpdate has no others.
_WRITES = {
    "IAdmin": """
        addGroupOwners addGroups changeExpiredCredentials changeGroup changeOwner changePassword
        changePasswordWithOldPassword changePermissions changeUserPassword createExperimenter
        createExperimenterWithPassword createGroup createRestrictedSystemUser createRestrictedSystemUserWithPassword
        createSystemUser createUser deleteExperimenter deleteGroup moveToCommonSpace removeGroupOwners removeGroups
        reportForgottenPassword setAdminPrivileges setDefaultGroup setGroupOwner synchronizeLoginCache
        unsetGroupOwner updateExperimenter updateExperimenterWithPassword updateGroup updateSelf uploadMyUserPhoto
        """,
    "IConfig": "setConfigValue setConfigValueIfEquals",
    "IPixels": "copyAndResizeImage copyAndResizePixels createImage saveRndSettings setChannelGlobalMinMax",
    "ITypes": "createEnumeration deleteEnumeration resetEnumerations updateEnumeration updateEnumerations",
    # A processor, which reads a script's parameters, begins with a job that is saved.
    "IScript": "deleteScript editScript getParams runScript uploadOfficialScript uploadScript validateScript",
    "RawFileStore": "save",
    "RawPixelsStore": "save",
    "RenderingEngine": "saveAsNewSettings saveCurrentSettings",
    "ThumbnailStore": "createThumbnail createThumbnails createThumbnailsByLongestSideSet resetDefaults",
}
WRITES = {service: frozenset(names.split()) for service, names in _WRITES.items()}


class ReadOnly(ApiUsage):
    """The server's database is read-only, and the call would write."""

    def __init__(self):
        """Say so in the real server's words."""
        super().__init__("This instance is read-only")


def check(service, operation):
    """Raise ReadOnly where an operation of a service, both str, writes."""
    if service == "IUpdate" or operation in WRITES.get(service, ()):
        raise ReadOnly
