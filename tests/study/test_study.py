"""The study that was imported, as the public sees it through the proxy."""

import json
from pathlib import Path

import pytest
from conftest import fetch

from plugins.module_utils.study.folder import read_study

testinfra_hosts = ["ansible://proxy"]
pytestmark = pytest.mark.unit("nginx")

PAGE = 200
AT_ONCE = 50


@pytest.fixture
def study(variables):
    """Return the study as its folder has it."""
    return read_study(Path(variables["study_folder"]))


@pytest.fixture
def ask(host, variables, outsiders, reach):
    """Return a function that asks the public address for JSON over HTTPS, from a host that is nobody special to it."""
    certificate = host.file("/etc/nginx/tls/site.pem").content_string
    visitor = reach(outsiders("proxy", "web")[0])

    def answer(path):
        seen = fetch(visitor, variables["site_public_name"], 443, path, tls=True, trust=certificate)
        assert seen.status == 200, f"{path}: {seen.status} {seen.body[:200]}"
        return json.loads(seen.body)

    return answer


@pytest.fixture
def listed(ask):
    """Return a function that lists everything at an address of the API, page by page."""

    def everything(path):
        found = []
        while True:
            answer = ask(f"{path}?limit={PAGE}&offset={len(found)}")
            found += answer["data"]
            if not answer["data"] or len(found) >= answer["meta"]["totalCount"]:
                return found

    return everything


@pytest.fixture
def projects(study, listed):
    """Return (project as the study has it, project as the public sees it) for each; the latter may be missing."""
    seen = {each["Name"]: each for each in listed("/api/v0/m/projects/")}
    return [(each, seen.get(each["name"])) for each in study["projects"]]


@pytest.fixture
def annotations(ask):
    """Return a function from ids of projects or datasets to their pairs by id and namespace."""

    def pairs(kind, ids):
        found = {identity: {} for identity in ids}
        for start in range(0, len(ids), AT_ONCE):
            wanted = "".join(f"&{kind}={identity}" for identity in ids[start : start + AT_ONCE])
            for each in ask(f"/webclient/api/annotations/?type=map{wanted}")["annotations"]:
                found[each["link"]["parent"]["id"]].setdefault(each["ns"], []).append(each["values"])
        return found

    return pairs


def test_projects(projects):
    """The public sees the study's projects, with their descriptions."""
    for wanted, seen in projects:
        assert seen is not None, f"no project {wanted['name']}"
        assert seen.get("Description", "") == wanted["description"], f"{wanted['name']}: {seen.get('Description')}"


def test_datasets(projects, listed):
    """Each project has the study's datasets, and each of them once."""
    for wanted, seen in projects:
        assert seen is not None, f"no project {wanted['name']}"
        names = [each["Name"] for each in listed(f"/api/v0/m/projects/{seen['@id']}/datasets/")]
        missing = [each["name"] for each in wanted["datasets"] if names.count(each["name"]) != 1]
        assert not missing, f"{wanted['name']}: not there, or not once: {', '.join(missing)}"


def test_project_pairs(projects, annotations):
    """Each project shows what the study says about itself."""
    for wanted, seen in projects:
        assert seen is not None, f"no project {wanted['name']}"
        compare(wanted, annotations("project", [seen["@id"]])[seen["@id"]])


def test_dataset_pairs(projects, listed, annotations):
    """Each dataset shows its key-value pairs."""
    for project, seen in projects:
        assert seen is not None, f"no project {project['name']}"
        datasets = listed(f"/api/v0/m/projects/{seen['@id']}/datasets/")
        ids = {each["Name"]: each["@id"] for each in datasets}
        pairs = annotations("dataset", list(ids.values()))
        for wanted in project["datasets"]:
            compare(wanted, pairs[ids[wanted["name"]]])


def compare(wanted, seen):
    """Fail unless an object shows the annotations that the study has for it.

    Args:
        wanted: dict with name and annotations.
        seen: dict of namespace to a list of annotations, each a list of pairs.
    """
    for each in wanted["annotations"]:
        shown = seen.get(each["namespace"], [])
        assert shown == [each["pairs"]], f"{wanted['name']}, {each['namespace']}: {shown}"
