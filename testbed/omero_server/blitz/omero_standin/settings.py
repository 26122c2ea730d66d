"""Settings of the server: those in the release's jars, overridden by OMERO's own configuration."""

import re
import zipfile
from pathlib import Path
from urllib.parse import parse_qsl

VERSION = "omero.version"
# Those of the Java driver's settings that mean the same to libpq.
DRIVER_SETTINGS = ("sslcert", "sslkey", "sslmode", "sslrootcert")
# The settings that the real server announces: those that every client may read, those for administrators, as are all
# that it does not announce, and those for nobody.
_FOR_ALL = """
omero.version omero.upgrades.url omero.qa.feedback omero.router.insecure omero.security.password_required
omero.cluster.read_only.runtime.db omero.cluster.read_only.runtime.repo omero.bioformats.version
omero.bioformats.vcs_revision omero.bioformats.date omero.server.nodedescriptors omero.db.authority omero.db.uuid
omero.mail.config omero.pixeldata.backoff omero.pixeldata.tile_width omero.pixeldata.tile_height
omero.pixeldata.max_plane_width omero.pixeldata.max_plane_height omero.pixeldata.max_plane_float_override
omero.pixeldata.max_tile_length omero.pixeldata.max_projection_bytes omero.client.scripts_to_ignore
omero.client.ui.tree.orphans.enabled omero.client.ui.tree.orphans.name omero.client.ui.tree.orphans.description
omero.client.ui.menu.dropdown.leaders.label omero.client.ui.menu.dropdown.leaders.enabled
omero.client.ui.menu.dropdown.colleagues.label omero.client.ui.menu.dropdown.colleagues.enabled
omero.client.ui.menu.dropdown.everyone.label omero.client.ui.menu.dropdown.everyone.enabled
omero.client.viewer.roi_limit omero.client.viewer.initial_zoom_level omero.client.viewer.interpolate_pixels
omero.client.web.host omero.client.download_as.max_size omero.client.ui.tree.type_order
omero.client.browser.thumb_default_size omero.sessions.timeout omero.sessions.maximum
omero.sessions.max_user_time_to_idle omero.sessions.max_user_time_to_live
"""
FOR_ALL = frozenset(_FOR_ALL.split())
FOR_ADMINISTRATORS = frozenset({"omero.data.dir"})
HIDDEN = frozenset({"omero.security.filter.bitand"})


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
    """Return the defaults with what was configured over them; Ice drops an empty value, and the default stays."""
    return {**defaults, **{name: value for name, value in configured.items() if value}}


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


def may_read(name, is_admin):
    """Tell whether a client may ask for a setting.

    Args:
        name: str.
        is_admin: bool, whether the caller is an administrator.
    """
    if name in FOR_ALL:
        return True
    # No client has a use for the password of Glacier2's certificate.
    return is_admin and name not in HIDDEN and not name.startswith(("omero.db.", "omero.glacier2."))


def matching(settings, pattern, is_admin):
    """Return the settings that the server announces, that a client may read and whose names hold a pattern.

    Args:
        settings: dict of str to str.
        pattern: str, a regular expression, to be found anywhere in the name.
        is_admin: bool, whether the caller is an administrator.

    Returns:
        dict of str to str, an empty text where there is no value.
    """
    found = re.compile(pattern)
    announced = sorted(FOR_ALL | FOR_ADMINISTRATORS)
    return {name: settings.get(name, "") for name in announced if found.search(name) and may_read(name, is_admin)}
