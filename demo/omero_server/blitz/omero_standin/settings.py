"""Settings of the server: the release's etc/omero.properties, overridden by OMERO's own configuration."""

from pathlib import Path
from urllib.parse import parse_qsl

VERSION = "omero.version"
# Those of the Java driver's settings that mean the same to libpq.
DRIVER_SETTINGS = ("sslcert", "sslkey", "sslmode", "sslrootcert")


def read_properties(path):
    """Return the settings of a file in the format of etc/omero.properties.

    Args:
        path: str or Path.

    Returns:
        dict of str to str; comments and blank lines are left out.
    """
    settings = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        key, separator, value = line.partition("=")
        if separator and not line.lstrip().startswith("#"):
            settings[key.strip()] = value.strip()
    return settings


def merged(defaults, configured):
    """Return the defaults with what was configured over them; an empty value counts as set."""
    return {**defaults, **configured}


def is_true(settings, name):
    """Tell whether a setting says yes; one that is absent says no."""
    return settings.get(name, "").strip().lower() in ("true", "1", "yes", "on")


def is_read_only(settings, what):
    """Tell whether the server may not write to `what`, `db` or `repo`, as omero.cluster.read_only* say."""
    return is_true(settings, "omero.cluster.read_only") or is_true(settings, f"omero.cluster.read_only.{what}")


def connection_settings(settings):
    """Translate OMERO's settings into libpq's.

    Args:
        settings: dict of str to str; omero.db.name may carry the driver's settings, as `name?sslmode=verify-full&...`,
            which libpq knows by the same names.

    Returns:
        A dict: host, port, dbname, user, password and the driver's settings.

    Raises:
        ValueError: the driver's settings have one that this stand-in does not know.
    """
    name, _, options = settings["omero.db.name"].partition("?")
    driver = dict(parse_qsl(options, keep_blank_values=True, strict_parsing=bool(options)))
    if unknown := sorted(driver.keys() - DRIVER_SETTINGS):
        raise ValueError(f"omero.db.name has {', '.join(unknown)}; the stand-in knows {', '.join(DRIVER_SETTINGS)}")
    host, port, user, password = (settings[f"omero.db.{key}"] for key in ("host", "port", "user", "pass"))
    return {"host": host, "port": int(port), "dbname": name, "user": user, "password": password, **driver}


def visible(settings, pattern):
    """Return the settings that clients may ask for and whose whole name the regular expression `pattern` matches.

    Passwords and the like stay with the server, as in the real one for users who are no administrators.
    """
    hidden = (".pass", ".password", "secret")
    return {
        name: value
        for name, value in settings.items()
        if pattern.fullmatch(name) and not any(part in name.lower() for part in hidden)
    }
