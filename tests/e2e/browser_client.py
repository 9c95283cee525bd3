"""Runs on the laptop: Chromium opens NB_URL, then the notebook NB_PATH, and runs its cells.

Prints {"login": ..., "listing": ..., "output": ..., "url": ...} and leaves pictures in NB_PICTURE
and, of the login page, in NB_PICTURE.login.png. With NB_PASSWORD it tries a wrong one first.
"""

import json
import os
import tempfile
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM = [
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1100,620",
    "--ignore-certificate-errors",  # a person compares the fingerprint; the audit does so too
]
ADDRESS = urlsplit(os.environ["NB_URL"])


def start(profile: str) -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in [*CHROMIUM, f"--user-data-dir={profile}"]:
        options.add_argument(argument)
    service = webdriver.ChromeService("/usr/bin/chromedriver")
    return webdriver.Chrome(options=options, service=service)


def texts(driver: webdriver.Chrome, selector: str) -> list[str]:
    """Return the texts, read in one step of the page, so that no element goes stale between."""
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())"
    found: list[str] = driver.execute_script(script, selector)
    return [text for text in found if text]


def run_first_cell(driver: webdriver.Chrome) -> list[str]:
    """Return the output of the first code cell; run the cell if there is no output.

    The keys are lost while the page still connects to its kernel, so this is done again.
    """
    output = texts(driver, ".jp-OutputArea-output")
    if not output:
        editors = driver.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-CodeCell .cm-content")
        next(editor for editor in editors if editor.is_displayed()).click()
        keys = ActionChains(driver).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT)
        keys.perform()
    return output


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        driver = start(profile)
        try:
            wait = WebDriverWait(driver, 60, 0.1, [WebDriverException])
            driver.get(os.environ["NB_URL"])
            login = []
            if os.environ.get("NB_PASSWORD"):
                for password in ("wrong", os.environ["NB_PASSWORD"]):
                    field = wait.until(lambda d: d.find_element(By.ID, "password_input"))
                    login += texts(driver, "body")
                    driver.save_screenshot(f"{os.environ['NB_PICTURE']}.login.png")
                    field.send_keys(password, Keys.ENTER)
                    wait.until(staleness_of(field))
            listing = wait.until(lambda d: texts(d, ".jp-DirListing-itemText"))
            url = driver.current_url

            driver.get(f"{ADDRESS.scheme}://{ADDRESS.netloc}/{os.environ['NB_PATH']}")
            patient = WebDriverWait(driver, 120, 1.0, [WebDriverException, StopIteration])
            output = "\n".join(patient.until(run_first_cell))
            driver.save_screenshot(os.environ["NB_PICTURE"])
        except Exception:
            driver.save_screenshot(os.environ["NB_PICTURE"])
            raise
        finally:
            driver.quit()
    seen = {"login": login, "listing": listing, "output": output, "url": url}
    print(json.dumps(seen))  # noqa: T201  its answer


main()
