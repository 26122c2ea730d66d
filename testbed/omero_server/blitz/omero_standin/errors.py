"""What the stand-in refuses, and under which name the client hears of it.

Nothing here needs Ice: the servants translate each class into the exception of the same kind in `omero`.
"""


class Refusal(Exception):
    """A call that is answered with an exception: `ice_name` is its class in the `omero` module, `more` its fields."""

    ice_name = "InternalException"
    more = None


class ApiUsage(Refusal):
    """The call asks for something that the stand-in lacks, or that makes no sense."""

    ice_name = "ApiUsageException"


class Unsupported(ApiUsage):
    """The call asks for something that the real server has and the stand-in lacks."""

    def __init__(self, what):
        """Name what is not answered."""
        super().__init__(f"the stand-in OMERO.server does not answer this: {what}")


class Forbidden(Refusal):
    """The user has not the right."""

    ice_name = "SecurityViolation"


class ReadOnlyGroup(Forbidden):
    """The group's permissions do not let its members link to others' data."""

    ice_name = "ReadOnlyGroupSecurityViolation"


class MixedGroups(Forbidden):
    """Two objects of different groups would be linked."""

    ice_name = "GroupSecurityViolation"


class Invalid(Refusal):
    """The object cannot be stored as it is."""

    ice_name = "ValidationException"


class WrongChecksum(Refusal):
    """Files did not arrive as they were sent.

    Args:
        checksums: dict from the number of a file, from 0, to the checksum (str) that it has here, empty where none.
    """

    ice_name = "ChecksumValidationException"

    def __init__(self, checksums):
        """Name them as the real server does."""
        super().__init__("A checksum mismatch has occurred.")
        self.more = {"failingChecksums": checksums}


class MissingPyramid(Refusal):
    """An image of large planes has no pyramid yet; the client shall ask again.

    Args:
        pixels_id: int.
        path: Path, where the pyramid will be.
        back_off: int, milliseconds after which to ask.
    """

    ice_name = "MissingPyramidException"

    def __init__(self, pixels_id, path, back_off):
        """Name the file as the real server does."""
        super().__init__(f"Missing pyramid:{path}")
        self.more = {"backOff": back_off, "pixelsID": pixels_id}


class Unready(Refusal):
    """What was asked for is not there, and the caller cannot have it made."""

    ice_name = "ResourceError"


class Unreadable(Refusal):
    """A file is known, and its bytes cannot be read."""

    ice_name = "ResourceError"


class Outdated(Refusal):
    """The object has changed since the client read it."""

    ice_name = "OptimisticLockException"


class SessionGone(Refusal):
    """The session was closed, or ended because nobody used it."""

    ice_name = "RemovedSessionException"


class NoProcessor(Refusal):
    """No processor runs the script.

    Args:
        responses: int, how many answered.
    """

    ice_name = "NoProcessorAvailable"

    def __init__(self, responses):
        """Say how many answered."""
        super().__init__(f"No processor available! [{responses} response(s)]")
        self.more = {"processorCount": responses}
