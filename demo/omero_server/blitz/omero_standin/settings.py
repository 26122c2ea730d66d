"""Settings of the server: those in the release's jars, overridden by OMERO's own configuration."""

import zipfile
from pathlib import Path
from urllib.parse import parse_qsl

VERSION = "omero.version"
# Those of the Java driver's settings that mean the same to libpq.
DRIVER_SETTINGS = ("sslcert", "sslkey", "sslmode", "sslrootcert")


def parse_properties(text):
    """Return the settings of a text (str) in the format of Java's properties: dict of str to str."""
    settings = {}
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator and not line.lstrip().startswith("#"):
            settings[key.strip()] = value.strip()
    return settings


def read_defaults(home):
    """Return the settings of a release, from where a real one has them.

    Args:
        home: str or Path of the release.

    Returns:
        dict of str to str: of the jars, and of the database's profile that these name.
    """
    settings = {}
    for path in sorted(Path(home, "lib", "server").glob("omero-*.jar")):
        with zipfile.ZipFile(path) as jar:
            name = f"{path.stem}.properties"
            if name in jar.namelist():
                settings |= parse_properties(jar.read(name).decode())
    profile = Path(home, "etc", "profiles", settings["omero.db.profile"])
    return settings | parse_properties(profile.read_text(encoding="utf-8"))


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
        settings: dict of str to str; omero.db.properties has the driver's, as `sslmode=verify-full&sslkey=...`, which
            libpq knows by the same names.

    Returns:
        A dict: host, port, dbname, user, password and the driver's settings.

    Raises:
        ValueError: the database's name has settings of its own, which end where OMERO's own begin in the driver's
            address; or the driver's settings have one that this stand-in does not know.
    """
    name, properties = settings["omero.db.name"], settings["omero.db.properties"]
    if "?" in name:
        raise ValueError(f"omero.db.name is {name}: the driver's settings belong into omero.db.properties")
    driver = dict(parse_qsl(properties, keep_blank_values=True, strict_parsing=bool(properties)))
    if unknown := sorted(driver.keys() - DRIVER_SETTINGS):
        raise ValueError(
            f"omero.db.properties has {', '.join(unknown)}; the stand-in knows {', '.join(DRIVER_SETTINGS)}"
        )
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
