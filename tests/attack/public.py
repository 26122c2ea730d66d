"""Attempts by somebody who has nothing but the site's address."""

import gzip
import itertools
import urllib.parse

from attack.attempts import (
    Attempt,
    Control,
    answers,
    connects,
    either,
    goes_over_http,
    has_header,
    kind,
    larger,
    lasts,
    leads_to,
    says,
    spoils,
)

PAGE = "/webclient/?experimenter=-1"
PROJECTS = "/api/v0/m/projects/"
STATIC = "/static/webclient/javascript/ome.tree.js"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
# Addresses at which clouds tell a server its secrets: those that stay on the link.
METADATA = ["169.254.169.254", "169.254.170.2"]
# A program's own words, which are none of a visitor's business.
INNARDS = r"Traceback \(most recent|File \"/|/opt/omero|site-packages|DEBUG = True|omero\.[A-Za-z]+Exception"
# What a form to log in to OMERO.web consists of.
LOGIN_FORM = r"(?i)name=[\"']?password|type=[\"']?password"
ROOTS_LINE = r"root:[^:]*:0:0:"


def ordinary(site):
    """Return the control of most kinds: a visitor sees the page."""
    return Control("a visitor sees the page", site.ask("GET", PAGE, idle=20), says("dataTree"))


def disguises(path):
    """Return a path that begins with a slash, written in ways that programs read differently (list of str)."""
    first, rest = path[1], path[2:]
    code = f"%{ord(first):02x}"
    return [
        path,
        f"/{path}",
        f"//{path}",
        f"/.{path}",
        f"/%2e{path}",
        f"/x/..{path}",
        f"/x/%2e%2e{path}",
        f"/x/..%2f{path[1:]}",
        f"/static/..{path}",
        f"/static/..%2f{path[1:]}",
        f"/static/%2e%2e%2f{path[1:]}",
        f"/api/v0/../..{path}",
        f"/{code}{rest}",
        f"/%25{code[1:]}{rest}",
        f"/{first.upper()}{rest}",
        f"{path}%20",
        f"{path}%00",
        f"{path};x=y",
        f"{path}?.css",
        f"{path}%3f.css",
        f"{path}#x",
        path.replace("/", "/./"),
        "/" + path[1:].replace("/", "%2f"),
        "/" + path[1:].replace("/", "\\"),
        path.rstrip("/") + "//",
    ]


@kind("paths to a login")
def login_paths(site):
    """No path, however it is written, leads to a form or a function that takes a password."""
    yield ordinary(site)
    # A form, or the words of OMERO.web's API at the address that takes a login.
    got = either(says(LOGIN_FORM, 200), says("POST only with username"))
    for path in ("/webclient/login/", "/webadmin/login/", "/api/v0/login/", "/webgateway/su/root/"):
        for disguised in disguises(path):
            yield Attempt(f"GET {disguised}", site.ask("GET", disguised), got)


@kind("logins at a page")
def logins(site):
    """No page takes a name and a password, in an address or in a form."""
    yield ordinary(site)
    user, password = site.variables["omero_curator_user"], site.variables["omero_curator_password"]
    form = urllib.parse.urlencode({"username": user, "password": password, "server": "1"})
    token = "a" * 32
    headers = {
        **FORM,
        "Cookie": f"csrftoken={token}",
        "X-CSRFToken": token,
        "Referer": site.variables["site_url"],
        "Origin": site.variables["site_url"].rstrip("/"),
    }
    # OMERO.web's pages name the user who is logged in; its API makes a session.
    got = says(rf"(?i)\b{user}\b|eventContext", 200)
    for path in (PAGE, "/webclient/", "/webgateway/", PROJECTS, "/api/v0/login/", "/webclient/login/", "/iviewer/"):
        yield Attempt(f"POST {path} with the curator's password", site.ask("POST", path, headers, form), got)
    pages = ("/webclient/", "/webclient/userdata/", "/webgateway/", "/webclient/api/groups/")
    for path, written in itertools.product(
        pages, (form, form.replace("username", "user%6eame"), form.replace("&", ";"), f"x=1&{form}")
    ):
        shown = written.replace(password, "...").partition("&server")[0]
        yield Attempt(f"GET {path}?{shown}", site.ask("GET", f"{path}?{written}"), got)


@kind("files of the host")
def files(site):
    """No path leads out of the folders that are served."""
    got = says(rf"{ROOTS_LINE}|ssl_certificate_key|SECRET_KEY|BEGIN [A-Z ]*PRIVATE KEY|omero\.db\.pass")
    yield Control("a static file is served", site.ask("GET", STATIC), answers(200))
    up = ["../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%252f", "..\\", "..%5c", "..;/", "%c0%ae%c0%ae/", ".%00./"]
    for root, step in itertools.product(("/static/", "/static../", "/webgateway/", "/robots.txt/", "/"), up):
        yield Attempt(f"GET {root}{step} ...", site.ask("GET", f"{root}{step * 8}etc/passwd"), got)
    for path in (
        "/static//etc/passwd",
        "/static/file:///etc/passwd",
        "/static../etc/grid/config.xml",
        "file:///etc/passwd",
    ):
        yield Attempt(f"GET {path}", site.ask("GET", path), got)


@kind("listings and left-over files")
def left_over(site):
    """No folder is listed, and nothing that operators left is served."""
    yield ordinary(site)
    got = says(
        r"(?i)<title>Index of|\[core\]|DB_PASSWORD|BEGIN [A-Z ]*PRIVATE|nginx_up|Active connections|# HELP ", 200
    )
    folders = [
        "/static/",
        "/static/webclient/",
        "/static/webclient/javascript/",
        "/static/webgateway/",
        "/static/admin/",
    ]
    left = [
        *("/.git/config", "/.git/HEAD", "/.env", "/.htaccess", "/.htpasswd", "/.ssh/id_rsa", "/.well-known/"),
        *("/static/.git/config", "/config.xml", "/etc/grid/config.xml", "/settings.py", "/nginx.conf", "/site.key"),
        *(
            "/server-status",
            "/nginx_status",
            "/status",
            "/stub_status",
            "/metrics",
            "/health",
            "/debug/",
            "/__debug__/",
        ),
        *("/backup.zip", "/dump.sql", "/index.html~", "/robots.txt.bak", "/phpinfo.php", "/admin/", "/console"),
        *("/jupyter/metrics", "/jupyter/hub/metrics", "/jupyter/api/routes", "/jupyter/hub/static/"),
    ]
    for path in [*folders, *left]:
        yield Attempt(f"GET {path}", site.ask("GET", path), got)


@kind("request smuggling")
def smuggling(site):
    """No request that two programs delimit differently ends up in front of another visitor's."""
    # Not kept by the cache, so that the visitors' requests take the way of the smuggled ones.
    visitors = [site.ask("GET", f"{PAGE}&after={number}", idle=20) for number in range(2)]
    yield ordinary(site)
    hidden = "GET /webclient/nowhere-smuggled HTTP/1.1\r\nX-Ignore: x"
    chunked = "Transfer-Encoding: chunked"
    odd = [
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        " Transfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "Transfer-Encoding:\x0bchunked",
        'Transfer-Encoding: "chunked"',
        "Transfer-encoding: CHUNKED",
        "Foo: bar\r\n\tTransfer-Encoding: chunked",
    ]
    body = f"0\r\n\r\n{hidden}"
    tricks = {
        "a length and chunks": f"Content-Length: {len(body)}\r\n{chunked}\r\n\r\n{body}",
        "chunks and a short length": f"{chunked}\r\nContent-Length: 4\r\n\r\n{len(hidden):x}\r\n{hidden}\r\n0\r\n\r\n",
        "two lengths": f"Content-Length: 0\r\nContent-Length: {len(hidden)}\r\n\r\n{hidden}",
        "two lengths in one": f"Content-Length: 0, {len(hidden)}\r\n\r\n{hidden}",
        "a length with a sign": f"Content-Length: +{len(hidden)}\r\n\r\n{hidden}",
        "a length in hex": f"Content-Length: 0x{len(hidden):x}\r\n\r\n{hidden}",
        "a length in front of a space": f"Content-Length : {len(hidden)}\r\n\r\n{hidden}",
        "a negative length": f"Content-Length: -1\r\n\r\n{hidden}",
        "a huge chunk": f"{chunked}\r\n\r\nffffffffffffffff1\r\n{hidden}",
        "lines that end in LF": f"Content-Length: {len(body)}\n{chunked}\n\n{body}",
        "a bare CR": f"X: y\rContent-Length: {len(hidden)}\r\n\r\n{hidden}",
        **{f"{line.strip()!r}": f"Content-Length: {len(body)}\r\n{line}\r\n\r\n{body}" for line in odd},
    }
    for path, (what, rest) in itertools.product((PAGE, "/api/v0/token/"), tricks.items()):
        text = f"POST {path} HTTP/1.1\r\nHost: {site.name}\r\n{rest}"
        yield Attempt(f"{what}, to {path}", site.raw(text, idle=1, after=visitors), spoils("dataTree"))


@kind("one visitor's answer for another")
def deception(site):
    """What is made for one visitor is not kept for all, whatever its path looks like (beside tests/proxy_faults)."""
    yield ordinary(site)
    word = f"{site.mine}secret"

    def kept(seen):
        """Judge: what the next visitor is given from the cache and was made for the first got through."""
        return next((f"{word} from the cache" for each in seen.after if word in each.text and each.status < 400), "")

    for trick in (
        *("/static/..%2fwebclient/", "/static/%2e%2e/webclient/", "/webclient/x.css", "/webclient/%2fstatic/x.js"),
        *(
            "/webclient/;/static/a.css",
            "/webclient/%3b.js",
            "/webclient/userdata/x.png",
            "/api/v0/..%2f..%2fwebclient/",
        ),
        *("/api/v0/token/x.css", "/gallery/..%2fwebclient/", "/webgateway/render_image/..%2f..%2fwebclient/", PAGE),
    ):
        path = f"{trick}{'&' if '?' in trick else '?'}attack={site.mine}"
        own = {
            "Cookie": f"sessionid={word}; csrftoken={word}",
            "X-Forwarded-Host": f"{word}.invalid",
            "X-Forwarded-Prefix": f"/{word}",
        }
        after = [site.ask("GET", path)]
        yield Attempt(f"GET {trick}, then another visitor", site.ask("GET", path, own) | {"after": after}, kept)
    # Errors that one visitor provokes with headers, and the next visitor then gets.
    for what, headers in {
        "a large header": {"X-Large": "x" * 9000},
        "a bad Range": {"Range": "bytes=999999999-"},
        "a bad Content-Length": {"Content-Length": "x"},
        "an unknown Expect": {"Expect": "nothing"},
        "an Upgrade": {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAMAAABkAAQAAP__"},
        "a hop-by-hop Host": {"Connection": "close, Host, X-Forwarded-Proto"},
        "a bad If-Range": {"If-Range": "x", "Range": "bytes=0-1"},
        "a Max-Forwards": {"Max-Forwards": "0"},
    }.items():
        path = f"{PROJECTS}?attack={site.mine}{len(what)}{what[-3:]}"
        after = [site.ask("GET", path)]
        yield Attempt(f"{what}, then a visitor", site.ask("GET", path, headers) | {"after": after}, spoils('"meta"'))


@kind("TLS")
def tls(site):
    """Neither old versions nor weak ciphers are agreed on."""
    yield Control("TLS as browsers speak it", site.hello(), connects)
    for version in ("SSLv3", "TLSv1", "TLSv1_1"):
        for ciphers in ("ALL", "ALL:COMPLEMENTOFALL"):
            yield Attempt(f"{version}, {ciphers}", site.hello(version=version, ciphers=ciphers), connects)
    weak = "NULL aNULL eNULL EXPORT LOW DES 3DES RC4 MD5 IDEA SEED PSK SRP AECDH ADH kRSA ECDHE+AES128+SHA1 AES256-SHA"
    for ciphers in [
        *weak.split(),
        "AES128-SHA",
        "AES256-GCM-SHA384",
        "DHE-RSA-AES128-SHA",
        "CAMELLIA",
        "ARIA",
        "AESCCM8",
    ]:
        # A site that names its ciphers knows which ones it wants (site_tls_ciphers).
        if not site.variables["nginx_cache_tls_ciphers"]:
            yield Attempt(f"TLS 1.2, {ciphers}", site.hello(ciphers=ciphers), connects)


@kind("methods")
def methods(site):
    """No method but those that read does anything."""
    echoed = either(answers(), says("attack-echo"))
    yield Control("GET", site.ask("GET", PROJECTS), answers(200))
    names = "PUT DELETE PATCH TRACE TRACK DEBUG CONNECT PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK SEARCH PURGE BAN"
    for method, path in itertools.product([*names.split(), "get", "GET\x00", "FOO"], ("/", STATIC, PROJECTS, PAGE)):
        yield Attempt(f"{method!r} {path}", site.ask(method, path, {"X-Echo": "attack-echo"}), echoed)
    for path in (
        "/api/v0/m/save/",
        "/webclient/annotate_tags/",
        "/webclient/action/delete/",
        "/webgateway/saveImgRDef/1/",
    ):
        yield Attempt(f"POST {path}", site.ask("POST", path, FORM, "x=1"), answers())


@kind("headers in an address")
def injection(site):
    """No part of an address becomes a header of the answer."""
    yield ordinary(site)
    got = has_header("X-Attack")
    ends = ["%0d%0a", "%0a", "%0d", "%E5%98%8A%E5%98%8D", "%250d%250a", "\\r\\n", "%c4%8d%c4%8a", "%00%0d%0a"]
    for end, path in itertools.product(
        ends, ("/", "/webclient/?x=", "/jupyter?x=", "/jupyter/hub/login?next=/", "/static/")
    ):
        target = f"{path}{end}X-Attack:%20yes"
        yield Attempt(f"GET {target}", site.ask("GET", target), got)
        if path in ("/", "/webclient/?x="):
            yield Attempt(f"HTTP: GET {target}", site.plain("GET", target), got)


@kind("host names")
def host_names(site):
    """No name that a request claims appears in an answer."""
    yield ordinary(site)
    evil = "attack.invalid"
    got = either(has_header("Location", evil), says(evil, 200, 301, 302))
    for name in (
        evil,
        f"{evil}:443",
        f"{site.name}:{evil}",
        f"{site.name}@{evil}",
        f"{evil}#{site.name}",
        f"{site.name}.{evil}",
        f" {evil}",
        f"{site.name}, {evil}",
        f"{site.name}\r\nHost: {evil}",
    ):
        for path in ("/", PROJECTS, "/jupyter", "/jupyter/hub/login"):
            yield Attempt(f"Host: {name!r}, {path}", site.ask("GET", path, {"Host": name}), got)
        yield Attempt(f"HTTP, Host: {name!r}", site.plain("GET", "/webclient/", {"Host": name}), got)
    for path in ("/", "/jupyter", "/jupyter/hub/login", "/webclient/"):
        forwarded = {"X-Forwarded-Host": evil, "X-Host": evil, "Forwarded": f"host={evil}", "X-Forwarded-Server": evil}
        yield Attempt(f"X-Forwarded-Host, {path}", site.ask("GET", path, forwarded), got)
        yield Attempt(f"GET https://{evil}{path}", site.ask("GET", f"https://{evil}{path}"), got)


@kind("redirects elsewhere")
def redirects(site):
    """No link to the site sends a visitor elsewhere."""
    yield ordinary(site)
    got = leads_to(r"^(?:https?:)?[/\\]{2,}attack\.invalid")
    for path in (
        *("//attack.invalid", "///attack.invalid", "/\\attack.invalid", "/%2f/attack.invalid", "/%5cattack.invalid"),
        *("//attack.invalid/%2f..", "/jupyter//attack.invalid", "/jupyter/hub//attack.invalid/"),
        *("/jupyter/hub/login?next=//attack.invalid", "/jupyter/hub/login?next=https://attack.invalid"),
        *("/jupyter/hub/logout?next=//attack.invalid", "/jupyter/hub/?next=/%5cattack.invalid"),
        *("/jupyter/user-redirect/https://attack.invalid", "/webclient/?url=https://attack.invalid"),
        *("/webclient/logout/?url=//attack.invalid", "/webclient/login/?url=//attack.invalid"),
    ):
        yield Attempt(f"GET {path}", site.ask("GET", path), got)
        yield Attempt(f"HTTP: GET {path}", site.plain("GET", path), got)


@kind("requests on behalf of others")
def forgery(site):
    """The site fetches nothing for a visitor: no cloud's metadata, no service of its own hosts."""
    yield ordinary(site)
    # What such services answer; a page of the site's own is none.
    got = says(r"ami-id|instance-id|computeMetadata|meta-data|latest/|nginx_up|Active connections|redis_version")
    for address in METADATA:
        yield Attempt(f"GET http://{address}/", site.ask("GET", f"http://{address}/latest/meta-data/"), got)
        yield Attempt(f"Host: {address}", site.ask("GET", "/latest/meta-data/", {"Host": address}), got)
        yield Attempt(f"CONNECT {address}", site.ask("CONNECT", f"{address}:80"), answers())
    for address in ("127.0.0.1:9000", "127.0.0.1:9113", "localhost:6379", "127.0.0.1:4061"):
        yield Attempt(f"GET http://{address}/", site.ask("GET", f"http://{address}/status"), got)
        yield Attempt(f"CONNECT {address}", site.ask("CONNECT", address), answers())
        for path in (
            "/webclient/?url=",
            "/webgateway/proxy?url=",
            "/webgateway/open_with_options/?url=",
            "/iviewer/?url=",
        ):
            yield Attempt(f"GET {path}{address}", site.ask("GET", f"{path}http://{address}/status"), got)


@kind("ranges and compression")
def bombs(site):
    """A small request does not cause a large answer or much work."""
    yield ordinary(site)
    many = ",".join(["0-"] * 1500)
    overlapping = ",".join(f"{number}-" for number in range(800))
    for path in (STATIC, PROJECTS, PAGE):
        for what, value in (
            ("the same", many),
            ("overlapping", overlapping),
            ("backwards", "9-0"),
            ("huge", "0-" + "9" * 40),
        ):
            yield Attempt(
                f"{what} ranges of {path}", site.ask("GET", path, {"Range": f"bytes={value}"}), larger(4_000_000)
            )
    # Fifty thousand times itself when unpacked.
    bomb = gzip.compress(bytes(8_000_000)).decode("latin-1")
    for path, encoding in itertools.product((PAGE, "/api/v0/token/", "/jupyter/hub/login"), ("gzip", "deflate", "br")):
        headers = {**FORM, "Content-Encoding": encoding}
        yield Attempt(f"a packed body ({encoding}) to {path}", site.ask("POST", path, headers, bomb), either(lasts(10)))


@kind("large requests")
def large(site):
    """Headers and bodies larger than any browser's are refused, and the site stays up."""
    yield ordinary(site)
    got = either(answers(), lasts(20))
    for what, headers in {
        "a header of 64 KiB": {"X-Large": "x" * 65536},
        "cookies of 64 KiB": {"Cookie": "; ".join(f"c{number}={'x' * 100}" for number in range(640))},
        "5000 headers": {f"X-{number}": "x" * 8 for number in range(5000)},
        "a name of 64 KiB": {"x" * 65536: "x"},
    }.items():
        for path in (PAGE, PROJECTS, "/jupyter/hub/login"):
            yield Attempt(f"{what}, {path}", site.ask("GET", path, headers), got)
    for path in (PROJECTS, PAGE, "/jupyter/hub/login"):
        yield Attempt(f"an address of 64 KiB, {path}", site.ask("GET", f"{path}?{'x' * 65536}"), got)
    for size in (10**9, 10**12, 2**63, 2**64 + 1):
        for path in (PAGE, PROJECTS):
            yield Attempt(
                f"{path} with {size} bytes announced", site.ask("POST", path, {"Content-Length": str(size)}, ""), got
            )
    chunk = "4000\r\n" + "x" * 0x4000 + "\r\n"
    text = f"POST {PAGE} HTTP/1.1\r\nHost: {site.name}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    yield Attempt("chunks of 16 MiB in all", site.raw(text + chunk * 1024 + "0\r\n\r\n", idle=10), got)


@kind("slow requests")
def slow(site):
    """Who sends a request slowly is disconnected, and others are served meanwhile."""
    text = f"GET {PAGE} HTTP/1.1\r\nHost: {site.name}\r\nX-Slow: {'x' * 60}\r\n\r\n"
    body = f"POST {PAGE} HTTP/1.1\r\nHost: {site.name}\r\nContent-Length: 1000\r\n\r\n"
    for number in range(12):
        # The first line is sent as quickly as usual in half of them.
        yield Attempt(f"a header sent slowly, {number}", site.raw(text, pause=0.7, idle=1), lasts(24))
    for number in range(4):
        # A body of which nothing comes.
        yield Attempt(f"a body that does not come, {number}", site.raw(body, idle=24), either(lasts(23), answers()))
    for number in range(8):
        ask = site.ask("GET", f"{PAGE}&slow={number}")
        yield Control(
            f"a visitor meanwhile, {number}", ask, lambda seen: "ok" if seen.status == 200 and seen.seconds < 10 else ""
        )


@kind("errors that tell")
def errors(site):
    """No error names files, versions or lines of code."""
    yield ordinary(site)
    got = either(says(INNARDS), has_header("Server", r"\d"), has_header("X-Powered-By"))
    for path in (
        *(
            "/webgateway/render_image/abc/",
            "/webgateway/render_image/1/-1/-1/",
            "/webgateway/render_image/99999999999999999999/",
        ),
        *(
            "/webgateway/render_image/1/?c=1|0:$",
            "/webgateway/render_thumbnail/0/",
            "/webgateway/render_thumbnail/1/0/0/",
        ),
        *("/webgateway/imgData/0/", "/webgateway/imgData/1/x/y/", "/webgateway/plate/0/0/", "/webclient/?show=image-x"),
        *("/webclient/?show=%00", "/webclient/api/containers/?id=x", "/webclient/api/images/?id=1&page=-1&limit=x"),
        *(
            "/webclient/metadata_details/image/x/",
            "/webclient/metadata_details/image/0/",
            "/webclient/metadata_details/x/1/",
        ),
        *("/api/v0/m/projects/x/", "/api/v0/m/projects/?limit=-1", "/api/v0/m/projects/?offset=x", "/api/v99/m/"),
        *(
            "/api/v0/m/images/?dataset=x",
            "/api/v0/m/images/?orphaned=x",
            "/iviewer/?images=x",
            "/iviewer/image_data/x/",
        ),
        *("/webclient/%ff%fe", "/%", "/%zz", "/webclient/api/paths_to_object/?image=x", "/mapr/api/x/", "/figure/x/"),
        *("/webclient/load_chgrp_target/x/y/", "/webclient/api/shapes/x/", "/webclient/render_birds_eye_view/x/"),
        *("/gallery/x", "/webgateway/dataset/0/children/", "/webgateway/get_image_rdefs_json/0/", "/jupyter/hub/x%00"),
        *("/jupyter/hub/api/x", "/jupyter/hub/error/500", "/jupyter/user/x%2fy/", "/jupyter/hub/login?next=%ff"),
    ):
        yield Attempt(f"GET {path}", site.ask("GET", path), got)


@kind("cookies that were made up")
def cookies(site):
    """No session is the one that a visitor brings, and none is a script's to read."""
    yield ordinary(site)
    made_up = "attack" + "0" * 26
    got = has_header("Set-Cookie", made_up)
    for path, name in itertools.product(
        (PAGE, "/webclient/", PROJECTS, "/jupyter/hub/login", "/jupyter/hub/home", "/jupyter/hub/"),
        ("sessionid", "jupyterhub-session-id", "jupyterhub-hub-login", "jupyterhub-user-x"),
    ):
        yield Attempt(f"{name} made up, {path}", site.ask("GET", path, {"Cookie": f"{name}={made_up}"}), got)
    for what, ask in {
        "the page": site.ask("GET", PAGE),
        "OMERO.web's API": site.ask("GET", "/api/v0/token/"),
        "the hub": site.hub("GET", "hub/login"),
        "the hub's start": site.hub("GET", "hub/"),
    }.items():
        yield Attempt(f"a cookie of {what} that goes over HTTP too", ask, goes_over_http)


@kind("the hub without a login")
def hub_without_login(site):
    """The hub's API, its pages and its users' servers tell nobody anything without a login."""
    user = site.user
    yield Control("the page to log in", site.hub("GET", "hub/login"), answers(200))
    paths = [
        "hub/api/users",
        f"hub/api/users/{user}",
        "hub/api/groups",
        "hub/api/services",
        "hub/api/proxy",
        "hub/api/info",
    ]
    paths += [f"hub/api/users/{user}/tokens", "hub/api/user", "hub/home", "hub/admin", "hub/token", f"hub/spawn/{user}"]
    paths += [f"user/{user}/lab", f"user/{user}/api/contents", f"user/{user}/api/kernels", f"user/{user}/api/terminals"]
    paths += [
        f"user/{user}/files/x",
        f"user/{user}/api/config/x",
        f"user/{user}/nbextensions/x",
        f"user/{user}/metrics",
    ]
    headers = {
        "without a token": {},
        "with an empty token": {"Authorization": "token "},
        "with a token made up": {"Authorization": "token " + "0" * 64},
        "as another scheme": {"Authorization": "Bearer null"},
        "from the inside, as it claims": {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
        "as a user, as it claims": {"Remote-User": user, "X-Forwarded-User": user, "REMOTE_USER": user},
    }
    for path, (what, more) in itertools.product(paths, headers.items()):
        yield Attempt(f"GET {path} {what}", site.hub("GET", path, more), answers(200, 201, 204))
    for path in (
        f"hub/api/users/{user}/server",
        f"hub/api/users/{user}/tokens",
        "hub/api/users",
        f"user/{user}/api/kernels",
        f"user/{user}/api/shutdown",
        f"user/{user}/api/terminals",
    ):
        yield Attempt(f"POST {path}", site.hub("POST", path, {"Content-Type": "application/json"}, "{}"), answers())
        yield Attempt(f"DELETE {path}", site.hub("DELETE", path), answers())


@kind("passwords that are guessed")
def guessing(site):
    """Names and passwords that everybody tries first are refused by the hub."""
    got = either(has_header("Set-Cookie", r"hub-login"), leads_to(r"/hub/(?:spawn|home)|/user/"))
    yield Control("the page to log in", site.hub("GET", "hub/login"), answers(200))
    # No account of a user, whom wrong passwords would slow down.
    for name, password in itertools.product(("root", "admin", "omero-server"), ("", "root", "password", "omero")):
        yield Attempt(f"{name} with '{password}'", {"place": "login", "user": name, "password": password}, got)


@kind("pages that are not the public's")
def not_public(site):
    """What OMERO.web has for its users and not for visitors is refused: files, tables, exports, scripts, accounts."""
    yield ordinary(site)

    def shown(seen):
        """Judge: what is shown got through; what a site lets visitors download comes as an attachment."""
        return "" if "attachment" in seen.header("Content-Disposition") else answers(200)(seen)

    for number in range(12):
        yield Attempt(f"original file {number}", site.ask("GET", f"/webclient/get_original_file/{number}/"), shown)
    for path in (
        *("/webclient/load_original_metadata/1/", "/webclient/omero_table/1/", "/webclient/omero_table/1/json/"),
        *("/webclient/list_scripts/", "/webclient/script_ui/1/", "/webclient/download_orig_metadata/1/"),
        *(
            "/webgateway/table/1/query/?query=*",
            "/webgateway/table/Image.x/1/query/?query=*",
            "/webgateway/archived_files/download/1/",
        ),
        *("/webgateway/render_movie/1/x/0/", "/webgateway/render_ome_tiff/i/1/", "/webgateway/original_file_paths/1/"),
        *("/webadmin/", "/webadmin/experimenters/", "/webadmin/myaccount/", "/webadmin/stats/", "/webadmin/email/"),
    ):
        yield Attempt(f"GET {path}", site.ask("GET", path), shown)


@kind("names of accounts")
def accounts(site):
    """No page lists who has an account."""
    yield ordinary(site)
    users = "|".join({site.variables["omero_curator_user"], "root"})
    got = says(rf"\"(?:UserName|omeName|username|loginname)\"\s*:\s*\"(?:{users})\"", 200)
    for path in (
        *("/api/v0/m/experimenters/", "/api/v0/m/experimenters/0/", "/api/v0/m/experimentergroups/0/experimenters/"),
        *("/api/v0/m/experimentergroups/", "/webclient/api/experimenters/", "/webclient/api/experimenters/0/"),
        *(
            "/webclient/api/groups/",
            "/webclient/group_user_content/",
            "/api//v0/m/experimenters/",
            "/api/v0/m/%65xperimenters/",
        ),
    ):
        yield Attempt(f"GET {path}", site.ask("GET", path), got)


@kind("the feedback form")
def feedback(site):
    """No form takes a visitor's text to send it elsewhere."""
    yield ordinary(site)
    got = either(answers(), lasts(10))
    # Without a text OMERO.web sends nothing.
    form = "error=&comment=&email=attack%40attack.invalid"
    token = "a" * 32
    headers = {**FORM, "Cookie": f"csrftoken={token}", "X-CSRFToken": token, "Referer": site.variables["site_url"]}
    for path in (
        "/feedback/feedback/",
        "/feedback/comment/",
        "//feedback/comment/",
        "/%66eedback/comment/",
        "/feedback/",
    ):
        yield Attempt(f"GET {path}", site.ask("GET", path), got)
        yield Attempt(f"POST {path}", site.ask("POST", path, headers, form), got)
