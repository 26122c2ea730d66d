"""Plates in OMERO.web, as a visitor sees them. A curator imports one first: for scenarios."""

import json

import plates
import pytest
from conftest import fetch
from faults import wait_until

testinfra_hosts = ["ansible://web"]
pytestmark = pytest.mark.unit("omero-web")

SECONDS = 120


@pytest.fixture
def ask(variables, reach):
    """Return a function that asks OMERO.web for a path from the proxy and wants an answer; JSON comes as object."""
    proxy = reach(variables["groups"]["proxy"][0])
    address, port = variables["internal_address"], variables["network_services"]["web"]["port"]

    def get(path):
        return fetch(proxy, address, port, path, headers={"X-Forwarded-Proto": "https"})

    def answer(path):
        seen = get(path)
        assert seen.status == 200, f"{path}: {seen.status} {seen.body[:200]}"
        return json.loads(seen.body) if "json" in seen.headers["content-type"] else seen.body

    wait_until(lambda: get("/health").status == 200, "OMERO.web did not start with its hosts", SECONDS)
    return answer


def test_plate(ask, omero_import, plate):
    """A visitor finds the plate in its screen, and sees its grid of thumbnails field by field."""
    imported = omero_import("Screen:name:Plates", plate())
    assert imported.returncode == 0, imported.stderr
    screen = ask("/api/v0/m/screens/?limit=200")["data"][-1]
    assert screen["Name"] == "Plates"
    shown = ask(f"/api/v0/m/screens/{screen['@id']}/plates/?limit=200")["data"][-1]
    assert (shown["Name"], shown["Rows"], shown["Columns"]) == ("Plate 1", 2, 3)
    wells = ask(f"/api/v0/m/plates/{shown['@id']}/wells/?limit=200")["data"]
    wells.sort(key=lambda each: (each["Row"], each["Column"]))  # the server has no order of its own
    assert [len(each.get("WellSamples", [])) for each in wells] == [2, 2, 2, 2, 2, 0]
    assert shown["@id"] in [each["id"] for each in ask(f"/webclient/api/plates/?id={screen['@id']}")["plates"]]
    for field in (0, 1):
        grid = ask(f"/webgateway/plate/{shown['@id']}/{field}/")["grid"]
        places = {(row, column) for row, line in enumerate(grid) for column, each in enumerate(line) if each}
        assert places == set(plates.WELLS)
        for well, (row, column) in enumerate(plates.WELLS):
            assert grid[row][column]["name"] == f"plate.ome.tif [well {well} field {field}]"
    assert "JFIF" in ask(grid[0][0]["thumb_url"])
    # OMERO.iviewer's list of a well, field by field.
    shown_in_viewer = [each["@id"] for each in ask(f"/iviewer/well_images/?id={wells[0]['@id']}")["data"]]
    assert shown_in_viewer == [sample["Image"]["@id"] for sample in wells[0]["WellSamples"]]
    path = ask(f"/webclient/api/paths_to_object/?image={grid[0][0]['id']}")["paths"][0]
    assert [each["type"] for each in path] == [
        *("experimenter", "screen", "plate", "acquisition", "well", "wellsample", "image")
    ]
