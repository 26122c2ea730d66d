"""Prints the addresses that an OMERO.web answers, one a line, from its own URL resolver.

The gate runs it with the Python of OMERO.web; scripts/web-urls renews tests/unit/data/omero_web_urls.txt with it. The
names of mapr's menus, which each site chooses, are printed as MENU.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "omeroweb.settings")

import django
from django.urls import URLResolver, get_resolver


def addresses(patterns, before=""):
    """Yield each address (str, a regular expression or Django's path) below a list of URL patterns."""
    for each in patterns:
        address = before + str(each.pattern).removeprefix("^")
        if isinstance(each, URLResolver):
            yield from addresses(each.url_patterns, address)
        elif address.startswith("mapr/") and (each.name or "").startswith("maprindex_"):
            yield "mapr/(?P<menu>MENU)/$"
        else:
            yield address


def without_menus(address):
    """Return an address of mapr with MENU in place of the site's menus."""
    for name in ("menu", "c_type"):
        before, found, rest = address.partition(f"(?P<{name}>(")
        if found and before.startswith("mapr/"):
            return f"{before}(?P<menu>MENU){rest.partition('))')[2]}"
    return address


django.setup()
for each in sorted({without_menus(address) for address in addresses(get_resolver().url_patterns)}):
    print(each)
