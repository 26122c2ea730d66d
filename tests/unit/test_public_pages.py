"""What visitors may ask OMERO.web for: the list of role nginx_cache, and what nginx and OMERO.web make of it."""

import re
import shutil
import subprocess

# The parser of Python's own module for regular expressions, public as sre_parse before Python 3.11.
from re import _constants as kinds
from re import _parser as parser

import pytest
import yaml
from unit.test_extensions import rendered, site, value  # noqa: F401

from vitrine_cli.site import PROJECT

KNOWN = yaml.safe_load((PROJECT / "roles/nginx_cache/files/pages.yml").read_text())["pages"]
LISTING = (PROJECT / "tests/unit/data/omero_web_urls.txt").read_text().splitlines()
APPS = [{"name": name} for name in ("iviewer", "figure", "gallery")]
APPS.append({"name": "mapr", "settings": {"omero.web.mapr.config": []}})
SHARE = "(?:(?P<share_id>[0-9]+)/)?"


def addresses(*classes):
    """Return the addresses of classes (str) as OMERO.web's resolver has them."""
    found = []
    for app, of in KNOWN.items():
        for each in classes:
            parts = [part for parts in of.get(each, {}).values() for part in parts]
            found += [part if app == "root" else f"{app}/{part}" for part in parts if app != "static"]
    return found


def example(address, optional):
    """Return a path that an address matches, with or without its optional parts."""
    text = address.replace(SHARE, "").replace("(?P<menu>MENU)", "gene").replace(r"(\d{4})/(\d{1,2})", r"(2\d\d\d)/(1)")
    text = re.sub(r"<(int|slug):\w+>", "7", text)

    def write(parsed):
        for kind, what in parsed:
            if kind is kinds.LITERAL:
                yield chr(what)
            elif kind is kinds.NOT_LITERAL:
                yield "x"
            elif kind is kinds.IN:
                yield (
                    "7"
                    if what[0][0] is kinds.CATEGORY
                    else chr(what[0][1] if what[0][0] is kinds.LITERAL else what[0][1][0])
                )
            elif kind is kinds.MAX_REPEAT:
                yield "".join(write(what[2])) * max(what[0], int(optional))
            elif kind is kinds.SUBPATTERN:
                yield from write(what[3])
            elif kind is kinds.BRANCH:
                yield from write(what[1][0])

    return "/" + "".join(write(parser.parse(text)))


def hidden(templar):
    """Return a function from a request's path and parameters to whether nginx hides it, as its map says."""
    templar.available_variables = templar.available_variables | {"__nginx_cache_known": KNOWN}
    body = rendered(templar, "nginx_cache/templates/pages.conf.j2").partition("map $request_uri $hidden_page {")[2]
    lines = re.findall(r'^    "~(\*?)(.*)" (1|"");$', body.partition("\n}")[0], re.MULTILINE)
    # nginx refuses longer ones.
    assert all(len(pattern) < 4000 for _, pattern, _ in lines)
    ways = [(re.compile(pattern, re.IGNORECASE if case else 0), result == "1") for case, pattern, result in lines]
    return lambda path: next((result for pattern, result in ways if pattern.search(path)), True)


@pytest.fixture
def front(site):  # noqa: F811
    """Return a function from an inventory's variables to what `hidden` returns for its proxy."""
    return lambda **given: hidden(site(**given)("front", "nginx_cache"))


def test_each_address_is_in_one_class():
    """Each address that OMERO.web answers is allowed, a download or refused, and the list has no other."""
    assert sorted(addresses("allowed", "downloads", "refused")) == sorted(LISTING), "renew the list: docs/proxy.md"


@pytest.mark.parametrize("optional", [False, True])
def test_addresses(front, optional):
    """Nginx lets visitors ask for what is allowed, and for downloads if the site wants so."""
    plain, open_for_downloads = front(), front(nginx_cache_downloads=True)
    for of, wanted in (("allowed", (False, False)), ("downloads", (True, False)), ("refused", (True, True))):
        for address in addresses(of):
            path = example(address, optional)
            seen = plain(path), open_for_downloads(path)
            assert seen == wanted, f"{path} ({address}, {of}) is hidden: {seen}"
            assert plain(f"{path}?c=1|0:255$FF0000&x=%20") == wanted[0]
    assert not plain("/static/webclient/javascript/ome.tree.js?_5.33")
    assert not plain("/webclient"), "OMERO.web sends to /webclient/"


@pytest.mark.parametrize(
    "path",
    [
        "/feedback/comment/../../webclient/",
        "/static/../feedback/comment/",
        "/static/%2e%2e/feedback/comment/",
        "/static/..%2ffeedback/comment/",
        "/webclient//userdata/",
        "/webclient/./userdata/",
        "/webclient/userdata%2f",
        "/webclient/user%64ata/",
        "/webclient/userdata/%0aINFO:%20forged",
        "/webclient/?experimenter=-1%0d%0aforged",
        "/webclient/?experimenter=-1%00",
        "/webclient/?show=%E2%80%A8x",
        "/webclient/%3fx",
        "/webclient/#/../../feedback/comment/",
        "/webclient\\userdata/",
        "/searchengine/../feedback/comment/",
        "/1/webclient/userdata/",
        "/webclient/1/render_image/1/",
        "/mapr/favicon/",
        "/wp-login.php",
    ],
)
def test_tricks(front, path):
    """{path} is hidden: what OMERO.web would read is not what was looked up, or goes into its log as a line."""
    assert front(nginx_cache_pages_extra=["^/searchengine/"])(path)


def test_own_lists(front):
    """A site adds paths, and removes some; those removed win."""
    search = {
        "nginx_cache_pages_extra": ["^/searchengine/"],
        "nginx_cache_pages_refused": ["^/gallery/search/", "^/searchengine/admin"],
    }
    plain, own = front(), front(**search)
    assert (plain("/searchengine/api/"), own("/searchengine/api/")) == (True, False)
    assert (plain("/gallery/search/"), own("/gallery/search/")) == (False, True)
    assert own("/searchengine/admin")


def test_public_filter(site):  # noqa: F811
    """OMERO.web itself lets visitors see what is allowed, and neither downloads nor what is refused."""
    of = {
        choice: value(
            site(omero_web_apps=APPS, omero_web_public_downloads=choice)("three", "omero_web"),
            "omero_web_public_filter",
        )
        for choice in (False, True)
    }
    for address in addresses("allowed"):
        if not address.startswith(("favicon", "index/")):
            assert re.match(of[False], example(address, False)), address
    for address in addresses("downloads"):
        seen = [bool(re.match(of[choice], example(address, False))) for choice in (False, True)]
        assert seen == [False, True], address
    # Older lists need a login in no case, and are refused by nginx.
    left_open = ("webgateway/proj", "webgateway/dataset", "webgateway/search", "webgateway/compatImgRDef", "webclient/")
    for address in addresses("refused"):
        if not address.startswith(left_open):
            assert not re.match(of[False], example(address, False)), address


def test_every_way_to_omero_web_is_listed(site):  # noqa: F811
    """Each location of the visitors' server that passes something on to OMERO.web looks at the list."""
    templar = site(nginx_cache_downloads=True)("front", "nginx_cache")
    templar.available_variables = templar.available_variables | {"__nginx_cache_known": KNOWN}
    conf = rendered(templar, "nginx_cache/templates/site.conf.j2").partition("# For operators")[0]
    locations = re.findall(r"^    location ([^\n]*) \{\n(.*?)^    \}", conf, re.MULTILINE | re.DOTALL)
    ways = {head: body for head, body in locations if re.search("proxy_pass http://([$]target|misses);", body)}
    assert len(ways) > 5
    for head, body in ways.items():
        assert "if ($hidden_page) {\n            return 404;" in body, head


def test_downloads(site):  # noqa: F811
    """Browsers store downloads and run nothing of them; without the choice there is no location for them."""
    templar = site(nginx_cache_downloads=True)("front", "nginx_cache")
    templar.available_variables = templar.available_variables | {"__nginx_cache_known": KNOWN}
    conf = rendered(templar, "nginx_cache/templates/site.conf.j2")
    pattern, body = re.search(
        r'location ~ "(\^/\(\?:webgateway/\(?render[^"]*)" \{\n(.*?)^    \}', conf, re.MULTILINE | re.DOTALL
    ).groups()
    for address in addresses("downloads"):
        assert re.match(pattern, example(address, False)), address
    for address in addresses("allowed"):
        assert not re.match(pattern, example(address, False)), address
    for line in (
        "add_header Content-Type application/octet-stream always;",
        "add_header Content-Disposition $as_attachment always;",
        "add_header Content-Security-Policy \"default-src 'none'; sandbox\" always;",
        "proxy_hide_header Content-Type;",
    ):
        assert line in body
    assert "octet-stream" not in rendered(site()("front", "nginx_cache"), "nginx_cache/templates/site.conf.j2")


def test_hsts(site):  # noqa: F811
    """Browsers are told to insist on HTTPS for a day, unless the certificate is the role's own."""
    path = "nginx_cache/templates/everywhere.conf.j2"
    assert "Strict-Transport" not in rendered(site()("front", "nginx_cache"), path)
    own = {"nginx_cache_certificate": "/site.pem", "nginx_cache_certificate_key": "/site.key"}
    assert 'Strict-Transport-Security "max-age=86400"' in rendered(site(**own)("front", "nginx_cache"), path)
    assert "Strict-Transport" not in rendered(site(**own, nginx_cache_hsts_seconds=0)("front", "nginx_cache"), path)


def test_feedback(site):  # noqa: F811
    """OMERO.web's forms for comments and errors are off, and its nginx refuses them."""
    templar = site()("three", "omero_web")
    settings = value(templar, "__omero_web_all_settings")
    assert [settings[f"omero.web.feedback.{each}.enabled"] for each in ("comment", "error")] == ["false", "false"]
    conf = rendered(templar, "omero_web/templates/nginx.conf.j2")
    assert "location ^~ /feedback/ {\n        return 404;" in conf


def test_errors(site):  # noqa: F811
    """OMERO.web's own error pages, with its code's paths, are replaced."""
    conf = rendered(site()("three", "omero_web"), "omero_web/templates/nginx.conf.j2")
    assert "    proxy_intercept_errors on;\n    error_page 500 @failed;" in conf
    api = conf.partition("location ~ ^/(?:api/v[0-9]+/m/")[2].partition("\n    }")[0]
    assert [int(each) for each in re.findall(r"error_page (\d+) @failed_\1;", api)] == [400, 403, 404, 405, 500]


EXPORTER = "[Service]\nUser=prometheus\nExecStart=/usr/bin/prometheus-nginx-exporter\n"


@pytest.mark.parametrize("unit", ["omero-web", "exporter"])
def test_unit_is_confined(site, tmp_path, unit):  # noqa: F811
    """Systemd rates what {unit} may do on its host with 3.0 or less."""
    program = shutil.which("systemd-analyze")
    if not program:
        pytest.skip("systemd-analyze is not installed")
    path = tmp_path / f"{unit}.service"
    if unit == "exporter":
        path.write_text(EXPORTER + (PROJECT / "roles/nginx_cache/files/exporter.conf").read_text())
    else:
        path.write_text(rendered(site()("three", "omero_web"), "omero_web/templates/omero-web.service.j2"))
    asked = [program, "security", "--offline=true", "--no-pager", "--threshold=30", str(path)]
    run = subprocess.run(asked, capture_output=True, text=True, check=False)
    if "unrecognized option" in run.stderr:
        pytest.skip("systemd is older than 250")
    assert run.returncode == 0, run.stdout[-300:] + run.stderr[-300:]
