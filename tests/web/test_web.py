"""OMERO.web as the proxy sees it, which is what a visitor will see."""

import json
import pathlib
import re
import shlex

import pytest
import yaml
from conftest import ROLES, can_connect, check_unit, fetch, names_of, run_with_input

testinfra_hosts = ["ansible://web"]
pytestmark = pytest.mark.unit("omero-web")


@pytest.fixture
def ask(variables, reach):
    """Return a function that asks OMERO.web for a path from the proxy."""
    proxy = reach(variables["groups"]["proxy"][0])
    address, port = variables["internal_address"], variables["network_services"]["web"]["port"]
    headers = {"X-Forwarded-Proto": "https"}
    return lambda path, **more: fetch(proxy, address, port, path, **({"headers": headers} | more))


@pytest.mark.parametrize("name", ["omero-web", "redis", "nginx"])
def test_starts_at_boot(host, variables, name):
    """{name} runs with the site's limits and starts at boot."""
    service = host.service(names_of(host, "omero_web")["redis_service"] if name == "redis" else name)
    assert service.is_running, f"{name} does not run"
    assert service.is_enabled
    check_unit(host, service.name, variables["omero_web_service_settings"] if name == "omero-web" else {})


def test_health(ask):
    """The health page says that OMERO.web and its OMERO.server answer; a visitor does not reach it."""
    seen = ask("/health")
    assert seen.status == 200, f"{seen.status}: {seen.body[:200]}"
    assert "data" in json.loads(seen.body)
    visited = ask("/health", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.0.0.1"})
    assert visited.status == 404, visited.status


def test_public_page(ask):
    """A visitor who has not logged in sees the web client."""
    seen = ask("/webclient/")
    assert seen.status == 200, f"{seen.status} {seen.headers.get('location', '')}"
    assert "dataTree" in seen.body, "the page has no tree"


def test_search(ask, variables):
    """A visitor who searches gets results, or reads that search is left out; never an error."""
    seen = ask("/webclient/load_searching/form/?query=plate&datatype=images&field=name&searchGroup=-1&ownedBy=-1")
    assert seen.status == 200, f"{seen.status}: {seen.body[:200]}"
    assert variables["omero_web_search_left_out"] in seen.body, seen.body[:200]


@pytest.mark.parametrize("app", ["iviewer", "figure", "gallery", "mapr"])
def test_app(ask, variables, app):
    """The app {app} shows visitors its page, and finds what belongs on it."""
    settings = {each["name"]: each.get("settings") or {} for each in variables["omero_web_apps"]}
    if app not in settings:
        pytest.skip("it is not among omero_web_apps")
    menus = [each["menu"] for each in settings[app].get("omero.web.mapr.config", [])]
    paths = {
        "iviewer": ["/iviewer/"],
        "figure": ["/figure/", "/figure/list_web_figures/"],
        "gallery": ["/gallery/"],
        "mapr": [f"/mapr/{path}" for menu in menus for path in (f"{menu}/", f"api/autocomplete/{menu}/?value=a")],
    }
    for path in paths[app]:
        seen = ask(path)
        assert seen.status == 200, f"{path}: {seen.status} {seen.body[:200]}"
        assert ("json" if "list" in path or "api" in path else f"{app}/") in seen.headers["content-type"] + seen.body


def test_projects(ask):
    """The public API answers with the projects, as JSON."""
    seen = ask("/api/v0/m/projects/")
    assert seen.status == 200, f"{seen.status}: {seen.body[:200]}"
    answer = json.loads(seen.body)
    assert isinstance(answer["data"], list)
    assert answer["meta"]["totalCount"] >= len(answer["data"])


def test_static_files(ask):
    """Static files come with their type."""
    seen = ask("/static/webclient/javascript/ome.tree.js")
    assert seen.status == 200, seen.status
    assert "javascript" in seen.headers["content-type"], seen.headers["content-type"]
    assert len(seen.body) > 1000


@pytest.mark.parametrize(
    "path",
    [
        "/webadmin/",
        "/webclient/script_ui/1/",
        "/webgateway/archived_files/download/1/",
        "/webclient/get_original_file/1/",
        "/webclient/omero_table/1/csv/",
        "/webgateway/render_movie/1/z/0/",
        "/api/v0/m/experimenters/",
        "/iviewer/persist_rois/",
    ],
)
def test_outside_of_the_filter(ask, variables, path):
    """A page outside of the public filter, {path}, asks for a login, or is forbidden if it is for programs."""
    if path.startswith("/iviewer/") and "iviewer" not in {each["name"] for each in variables["omero_web_apps"]}:
        pytest.skip("iviewer is not among omero_web_apps")
    if re.match(variables["omero_web_public_filter"], path):
        pytest.skip(f"the site's own omero_web_public_filter lets visitors see {path}")
    seen = ask(path)
    if path.startswith("/api/"):
        assert seen.status == 403, f"{seen.status}: {seen.body[:100]}"
        return
    assert seen.status == 302, f"{seen.status}: {seen.body[:100]}"
    assert "/login/" in seen.headers["location"], seen.headers["location"]


def test_addresses(host, variables):
    """Each address that OMERO.web and its apps answer is in the proxy's list of what visitors may ask for."""
    home, user = f"{variables['omero_web_dir']}/OMERO.web", variables["omero_web_user"]
    python = f"env OMERODIR={shlex.quote(home)} {shlex.quote(variables['omero_web_dir'])}/venv/bin/python -"
    script = (pathlib.Path(__file__).parent / "list_urls.py").read_text()
    run = run_with_input(host, f"cd / && runuser -u {shlex.quote(user)} -- {python}", script)
    assert run.returncode == 0, run.stderr[-500:]
    known = yaml.safe_load((ROLES / "nginx_cache" / "files" / "pages.yml").read_text())["pages"]
    of = {
        app: [each for kind in kinds.values() for part in kind.values() for each in part]
        for app, kinds in known.items()
    }
    answered = [each for each in run.stdout.splitlines() if each]
    assert len(answered) > 150, answered
    new = []
    for address in answered:
        app, slash, rest = address.partition("/")
        # Addresses of a site's own apps are refused unless the site lists them (nginx_cache_pages_extra).
        if (app in of and rest not in of[app]) if slash and app != "index" else address not in of["root"]:
            new.append(address)
    assert not new, f"in no class of roles/nginx_cache/files/pages.yml: {new}"


def test_feedback(ask):
    """Nobody posts a text to OMERO's developers from here, also by another way to the form."""
    for method in ("GET", "POST"):
        assert ask("/feedback/comment/", method=method).status == 404
        assert ask("/feedback/feedback/", method=method).status == 404
    seen = ask("/feedback/comment/../../webclient/")
    assert (seen.status, seen.headers.get("location")) == (302, "/feedback/disabled/"), seen.status


@pytest.mark.parametrize("path", ["/api/v0/m/projects/999999999/", "/webclient/load_calendar/2026/13/"])
def test_errors(ask, variables, path):
    """What goes wrong at {path} tells nothing about the code or its folders."""
    if not re.match(variables["omero_web_public_filter"], path):
        pytest.skip("the site's own omero_web_public_filter closes the page to visitors")
    seen = ask(path)
    assert seen.status in (404, 500), f"{seen.status}, so that nothing was seen"
    for word in ("Traceback", "stacktrace", "site-packages", variables["omero_web_dir"]):
        assert word not in seen.body, f"{word}: {seen.body[:300]}"


def test_read_only(ask):
    """A visitor can change nothing: writing asks for a login or is forbidden."""
    seen = ask("/api/v0/m/save/", method="POST")
    assert seen.status in (302, 403), f"{seen.status}: {seen.body[:200]}"


def test_session_cookie(ask):
    """The session cookie goes over HTTPS alone, and scripts cannot read it."""
    cookie = ask("/webclient/").headers.get("set-cookie", "")
    if "sessionid" in cookie:
        assert "Secure" in cookie, cookie
        assert "HttpOnly" in cookie, cookie
    else:
        pytest.fail("no session cookie was set, so that nothing was seen")


def test_session_store(host, variables):
    """The host's own session store is for it alone, and wants a password."""
    port = variables["web_sessions_ports"]["own"]
    listening = host.check_output(f"ss --no-header --listening --tcp --numeric 'sport = {port}'")
    addresses = {line.split()[3] for line in listening.splitlines()}
    assert addresses == {f"127.0.0.1:{port}"}, f"it listens on {addresses}"
    assert "NOAUTH" in host.check_output(f"redis-cli -h 127.0.0.1 -p {port} ping 2>&1"), "it takes anyone"


def test_gunicorn(variables, reach):
    """Not even the proxy reaches gunicorn, which listens only on the loopback."""
    proxy, port = reach(variables["groups"]["proxy"][0]), variables["omero_web_gunicorn_port"]
    assert not can_connect(proxy, variables["internal_address"], port, 1), "the proxy reached gunicorn"


def test_other_hosts(variables, outside):
    """Nobody but the proxy reaches OMERO.web."""
    port = variables["network_services"]["web"]["port"]
    for other in outside(port):
        assert not other.reaches(port), f"{other.name} reached it"


def test_hidden(host, variables):
    """OMERO.web's processes see nothing of an OMERO.server, a database or exports on the same host."""
    hidden = [path for path in variables["omero_web_hidden_paths"] if host.file(path).exists]
    if not hidden:
        pytest.skip("the host has no files of those services")
    process = host.check_output("systemctl show --property=MainPID --value omero-web")
    for path in hidden:
        command = f"nsenter --target={process} --mount -- runuser --user={variables['omero_web_user']} -- ls %s"
        assert host.run(command, path).rc != 0, f"it lists {path}"


def test_secrets(host, variables):
    """Others on the host cannot read OMERO.web's passwords."""
    folder = variables["omero_web_dir"]
    for path in (f"{folder}/OMERO.web/etc/grid/config.xml", f"{folder}/config/10-vitrine.omero"):
        assert host.file(path).mode & 0o007 == 0, f"{path} has mode {host.file(path).mode:o}"
    assert host.file("/etc/redis/vitrine.conf").mode & 0o007 == 0
