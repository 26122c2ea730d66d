"""The study in a real browser: Chromium on the controller, for which Debian has the packages chromium, chromium-driver.

A picture of what the browser showed at the end is kept beside the reports, or where VITRINE_SCREENSHOT says.
"""

import contextlib
import os
import re
import shutil
import time
from pathlib import Path

import pytest

from plugins.module_utils.study.folder import read_study

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed on the controller")

from selenium.common.exceptions import (  # noqa: E402
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
    TimeoutException,
    WebDriverException,
)
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

testinfra_hosts = ["ansible://proxy"]
pytestmark = pytest.mark.unit("nginx")

SECONDS = 45
ATTEMPTS = 5
# A blank picture has one; JPEG makes some more of it.
SOME_COLOURS = 16
# The pictures that a selector finds once all are loaded, and a function to the numbers of their pixels.
PICTURES = """
const found = [...document.querySelectorAll(arguments[0])].filter(each => each.src && !each.src.includes('/static/'));
const shown = found.every(each => each.complete && each.naturalWidth) ? found : [];
const read = picture => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
    const context = canvas.getContext('2d');
    context.drawImage(picture, 0, 0);
    return new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
};
"""
DRAWN = """
const canvas = document.querySelector('.ol-viewport canvas');
if (!canvas || !canvas.width || !canvas.height) return null;
const seen = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
return {colours: new Set(new Uint32Array(seen.buffer)).size, sum: seen.reduce((sum, each) => sum + each, 0)};
"""
DISTURBED = "ERR_NETWORK_CHANGED"
OPTIONS = [
    "--headless=new",
    "--window-size=1400,900",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def browser(host, tmp_path):
    """Return a browser without a past, which trusts the site's own key beside what the system trusts."""
    programs = [shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")]
    if None in programs:
        pytest.skip("chromium or chromedriver is not installed on the controller")
    key = host.check_output(
        "openssl x509 -in /etc/nginx/tls/site.pem -pubkey -noout | openssl pkey -pubin -outform DER"
        " | openssl dgst -sha256 -binary | base64"
    )
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for option in [*OPTIONS, f"--user-data-dir={tmp_path}", f"--ignore-certificate-errors-spki-list={key}"]:
        options.add_argument(option)
    if os.geteuid() == 0:
        # Chromium's sandbox does not work for root.
        options.add_argument("--no-sandbox")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()


@pytest.fixture
def until(browser):
    """Return a function that waits for what a condition returns, and fails with a sentence of what did not come."""

    def wait(condition, otherwise):
        def on_the_same_page(_):
            assert browser.execute_script("return window.vitrine"), f"the page reloads itself: {trouble(browser)}"
            return condition()

        try:
            return WebDriverWait(browser, SECONDS).until(on_the_same_page)
        except TimeoutException:
            raise AssertionError(f"{otherwise} within {SECONDS} s; {trouble(browser)}") from None

    return wait


@pytest.fixture
def node(browser):
    """Return a function from a name to its node in the tree, None while it is not there."""

    def named(name):
        # In one step: between two the page may have changed.
        return browser.execute_script(
            "return [...document.querySelectorAll('#dataTree .jstree-anchor')]"
            ".find(each => [...each.childNodes].some(text => text.nodeType == 3 && text.data == arguments[0]))",
            name,
        )

    return named


def test_find_a_dataset(browser, until, node, variables):
    """A visitor opens the page, unfolds the project, selects a dataset, and reads its key-value pairs."""
    for left in reversed(range(ATTEMPTS)):
        try:
            find_a_dataset(browser, until, node, variables)
            return
        except (AssertionError, WebDriverException) as failure:
            # Chromium gives requests up when an interface of its own machine comes or goes, such as a container's.
            if not left or DISTURBED not in str(failure):
                raise
            time.sleep(2)


def find_a_dataset(browser, until, node, variables):
    """Walk once from the page to the pairs of a dataset, and take a picture of how far it went."""
    project = read_study(Path(variables["study_folder"]))["projects"][0]
    dataset = next(each for each in project["datasets"] if each["annotations"])
    picture = Path(os.environ.get("VITRINE_SCREENSHOT") or f"{variables['reports_dir']}/webclient.png")

    # Everyone's data: OMERO.web shows a user's own first, and the public has none.
    browser.get(f"{variables['site_url']}webclient/?experimenter=-1")
    went_wrong = trouble(browser)
    assert DISTURBED not in went_wrong, went_wrong
    browser.execute_script("window.vitrine = 'the page that was opened'")
    try:
        until(lambda: node(project["name"]), f"no project {project['name']} in the tree")
        until(lambda: node(dataset["name"]) or unfold(node(project["name"])), f"no dataset {dataset['name']} below it")
        until(lambda: select(node(dataset["name"])), f"the dataset {dataset['name']} cannot be selected")
        until(lambda: unfold_pairs(browser, dataset["name"]), f"no key-value pairs of {dataset['name']} on the right")
        for each in dataset["annotations"]:
            for key, value in each["pairs"]:
                until(lambda text=f"{key}\t{value}": text in pairs_shown(browser), f"no pair {key}: {value}")
    finally:
        picture.parent.mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(picture))


def test_look_at_images(browser, variables):
    """A visitor sees thumbnails, opens an image in both viewers, and switches a channel off."""
    if not variables["study_import_images"]:
        pytest.skip("the study's images are not imported (study_import_images)")
    for left in reversed(range(ATTEMPTS)):
        try:
            look_at_images(browser, variables)
            return
        except (AssertionError, WebDriverException) as failure:
            if not left or DISTURBED not in str(failure):
                raise
            time.sleep(2)


def look_at_images(browser, variables):
    """Walk once from an image's address to the viewer."""
    answer = "return fetch(arguments[0]).then(seen => seen.json())"
    browser.get(f"{variables['site_url']}webclient/?experimenter=-1")
    images = browser.execute_script(answer, "/api/v0/m/images/?limit=200")["data"]
    image = next(each["@id"] for each in images if each["Pixels"]["SizeC"] > 1)

    browser.get(f"{variables['site_url']}webclient/?show=image-{image}")
    thumbnails = "#dataIcons img, #icon_table img"
    shown = wait_for(browser, lambda: colours(browser, thumbnails), "no thumbnail is shown")
    assert min(shown) > SOME_COLOURS, f"thumbnails with so many colours: {shown}"

    browser.get(f"{variables['site_url']}webgateway/img_detail/{image}/")
    viewer = "#weblitz-viewport-img"
    before = wait_for(browser, lambda: colours(browser, viewer), "the viewer shows nothing")
    assert min(before) > SOME_COLOURS, f"a picture with so many colours: {before}"
    picture = pixels(browser, viewer)
    browser.find_element(By.ID, "wblitz-ch0").click()
    wait_for(browser, lambda: pixels(browser, viewer) not in (None, picture), "switching a channel off changes nothing")

    if "iviewer" not in {app["name"] for app in variables["omero_web_apps"]}:
        return
    browser.get(f"{variables['site_url']}webclient/img_detail/{image}/")
    wait_for(browser, lambda: (drawn(browser) or {}).get("colours", 0) > SOME_COLOURS, "OMERO.iviewer draws nothing")
    picture = drawn(browser)["sum"]
    browser.find_element(By.CSS_SELECTOR, "channel-range button.channel").click()
    wait_for(
        browser,
        lambda: (drawn(browser) or {"sum": picture})["sum"] < picture,
        "switching a channel off in OMERO.iviewer makes nothing darker",
    )
    browser.save_screenshot(f"{variables['reports_dir']}/iviewer.png")


def test_look_at_a_plate(browser, variables):
    """A visitor sees the wells of a plate, reads what is in one of them, and opens its image in the viewer."""
    plates = [
        each for screen in read_study(variables["study_folder"], images=True)["screens"] for each in screen["plates"]
    ]
    if not (variables["study_import_images"] and plates):
        pytest.skip("no plate of the study is imported")
    for left in reversed(range(ATTEMPTS)):
        try:
            look_at_a_plate(browser, variables, plates[0])
            return
        except (AssertionError, WebDriverException) as failure:
            if not left or DISTURBED not in str(failure):
                raise
            time.sleep(2)


def look_at_a_plate(browser, variables, plate):
    """Walk once from a plate's address to a well, and to its image in the viewer."""
    answer = "return fetch(arguments[0]).then(seen => seen.json())"
    browser.get(f"{variables['site_url']}webclient/?experimenter=-1")
    seen = browser.execute_script(answer, "/api/v0/m/plates/?limit=200")["data"]
    identity = next((each["@id"] for each in seen if each["Name"] == plate["name"]), None)
    assert identity, f"no plate {plate['name']}"
    wells = browser.execute_script(answer, f"/api/v0/m/plates/{identity}/wells/?limit=200")["data"]
    shown = [each for each in wells if each.get("WellSamples")]

    browser.get(f"{variables['site_url']}webclient/?show=plate-{identity}")
    grid = "#spw td.well img"
    seen = wait_for(
        browser,
        lambda: (found := colours(browser, grid)) and len(found) >= len(shown) and found,
        f"not every well of the {len(shown)} with an image has a thumbnail",
    )
    assert min(seen) > SOME_COLOURS, f"wells with so many colours: {seen}"

    well = next(each for each in plate["wells"] if each["annotations"])
    place = (well["row"], well["column"])
    stored = next(each for each in shown if (each["Row"], each["Column"]) == place)
    wait_for(
        browser,
        lambda: (
            click(browser.find_element(By.CSS_SELECTOR, f"#well-{stored['@id']} img")) or is_selected(browser, stored)
        ),
        f"well {well['name']} cannot be selected",
    )
    wait_for(browser, lambda: unfold_pairs(browser, well["name"]), f"no key-value pairs of {well['name']} on the right")
    for each in well["annotations"]:
        for key, value in each["pairs"]:
            text = f"{key}\t{value}"
            wait_for(browser, lambda text=text: text in pairs_shown(browser), f"no pair {key}: {value}")
    browser.save_screenshot(f"{variables['reports_dir']}/plate.png")

    if "iviewer" not in {app["name"] for app in variables["omero_web_apps"]}:
        return
    # As from a link to the well; the viewer finds the image itself.
    browser.get(f"{variables['site_url']}iviewer/?well={stored['@id']}")
    wait_for(browser, lambda: (drawn(browser) or {}).get("colours", 0) > SOME_COLOURS, "OMERO.iviewer draws no well")


def is_selected(browser, well):
    """Tell whether a well (dict of the API) is selected in the grid."""
    return "ui-selected" in browser.find_element(By.ID, f"well-{well['@id']}").get_attribute("class").split()


def wait_for(browser, condition, otherwise):
    """Wait for what a condition returns; an AssertionError says what did not come."""
    try:
        return WebDriverWait(browser, SECONDS).until(lambda _: condition())
    except TimeoutException:
        raise AssertionError(f"{otherwise} within {SECONDS} s; {trouble(browser)}") from None


def colours(browser, selector):
    """Return how many colours each picture has that a selector finds, an empty list while one is not loaded."""
    return browser.execute_script(PICTURES + "return shown.map(each => new Set(read(each)).size)", selector)


def drawn(browser):
    """Return how many colours OMERO.iviewer has drawn and the sum of their numbers, None while it has no canvas."""
    return browser.execute_script(DRAWN)


def pixels(browser, selector):
    """Return the numbers of a picture as text, None while it is not loaded."""
    return browser.execute_script(PICTURES + "return shown.length ? read(shown[0]).join() : null", selector)


def trouble(browser):
    """Say which requests of the page went wrong, as the browser's log and its own error page have it."""
    lines = {
        re.sub(r"\?\S*", "", entry["message"]) for entry in browser.get_log("browser") if entry["level"] == "SEVERE"
    }
    code = browser.execute_script("return document.querySelector('.error-code')?.textContent")
    some = sorted(lines | ({code} if code else set()), key=lambda line: (DISTURBED not in line, line))
    return f"{len(some)} requests went wrong: {', '.join(some[:3])}" if some else "none of its requests went wrong"


def click(element):
    """Click on an element that may still be moving or on its way out: the next attempt will tell."""
    with contextlib.suppress(
        ElementClickInterceptedException, ElementNotInteractableException, StaleElementReferenceException
    ):
        element.click()


def unfold(anchor):
    """Unfold a node of the tree (anchor: its WebElement) by a click on its arrow, unless it is on its way."""
    with contextlib.suppress(StaleElementReferenceException):
        item = anchor.find_element(By.XPATH, "..")
        if {"jstree-closed", "jstree-loading"} & set(item.get_attribute("class").split()) == {"jstree-closed"}:
            click(item.find_element(By.CSS_SELECTOR, "i.jstree-ocl"))


def select(anchor):
    """Select a node of the tree; returns whether it is selected."""
    with contextlib.suppress(StaleElementReferenceException):
        if "jstree-clicked" in anchor.get_attribute("class").split():
            return True
        click(anchor)
    return False


def unfold_pairs(browser, name):
    """Unfold the key-value pairs of the object with that name in the right-hand panel; returns whether they are."""
    heading = browser.execute_script(
        "const shown = document.querySelector('#general_tab');"
        "return shown && shown.textContent.includes(arguments[0]) ? shown.querySelector('#mapAnnsPane h1') : null",
        name,
    )
    with contextlib.suppress(StaleElementReferenceException):
        if heading and "closed" not in heading.get_attribute("class").split():
            return True
        if heading:
            click(heading)
    return False


def pairs_shown(browser):
    """Return the pairs in the right-hand panel that can be seen, key and value joined by a tab."""
    return browser.execute_script(
        "return [...document.querySelectorAll('#mapAnnsPane .keyValueTable tr')].filter(row => row.offsetParent)"
        ".map(row => [...row.cells].map(cell => cell.textContent.trim()).join('\\t'))"
    )
