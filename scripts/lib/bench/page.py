"""Measures how long a browser takes to show a page of thumbnails: cold, and again from the proxy's cache.

Runs on the controller, with Chromium. Argument: the site's address. Prints a report in JSON, seconds of each round.
"""

import json
import secrets
import shutil
import sys
import tempfile

from selenium import webdriver

THUMBNAILS, ROUNDS = 300, 5
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-proxy-server"]
# Loads the pictures of all addresses at once, and returns the milliseconds and the number of pictures that arrived.
SHOW = """
const [addresses, done] = arguments;
const page = document.createElement('div');
const begun = performance.now();
Promise.all(addresses.map(address => new Promise(resolve => {
    const picture = page.appendChild(new Image(96, 96));
    picture.onload = () => resolve(picture.naturalWidth > 0);
    picture.onerror = () => resolve(false);
    picture.src = address;
}))).then(came => done([performance.now() - begun, came.filter(each => each).length]));
document.body.replaceChildren(page);
"""


def main(site):
    """Measure; returns the report (dict)."""
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
        for option in [*OPTIONS, "--ignore-certificate-errors", f"--user-data-dir={profile}"]:
            options.add_argument(option)
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            return measure(browser, site)
        finally:
            browser.quit()


def measure(browser, site):
    """Measure with a browser; returns the report (dict)."""
    browser.set_script_timeout(300)
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
    browser.get(f"{site}robots.txt")
    answer = "return fetch('/api/v0/m/images/?limit=200').then(seen => seen.json())"
    images = [each["@id"] for each in browser.execute_script(answer)["data"]]
    if not images:
        sys.exit("the site has no image to show; import a study with study_import_images")
    report = {"thumbnails": THUMBNAILS, "images": len(images), "cold": [], "warm": []}
    for _ in range(ROUNDS):
        word = secrets.token_hex(8)
        addresses = [
            f"/webgateway/render_thumbnail/{images[number % len(images)]}/96/?page={word}-{number}"
            for number in range(THUMBNAILS)
        ]
        for how in ("cold", "warm"):
            # Leave the page, so that the browser has neither cached pictures nor a page.
            browser.get(f"{site}robots.txt")
            milliseconds, came = browser.execute_async_script(SHOW, addresses)
            if came != THUMBNAILS:
                sys.exit(f"{came} thumbnails were loaded, expected {THUMBNAILS}")
            report[how].append(round(milliseconds / 1000, 2))
    return report


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
