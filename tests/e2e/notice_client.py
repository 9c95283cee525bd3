"""Runs on the laptop: Chromium opens NB_URL and waits until the page shows a word of slurm-nb's.

Prints the texts, as a JSON list, and leaves a picture in NB_PICTURE.
"""

import json
import os
import tempfile

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM = [
    "--headless=new",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--window-size=1100,620",
]
SHOWN = """return [...document.querySelectorAll('.Toastify__toast')]
  .map(each => each.innerText.trim()).filter(text => text.startsWith('slurm-nb: '))"""


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for argument in [*CHROMIUM, f"--user-data-dir={profile}"]:
            options.add_argument(argument)
        driver = webdriver.Chrome(
            options=options, service=webdriver.ChromeService("/usr/bin/chromedriver")
        )
        try:
            driver.get(os.environ["NB_URL"])
            wait = WebDriverWait(driver, 60, 0.2, [WebDriverException])
            shown = wait.until(lambda d: d.execute_script(SHOWN))
        finally:
            driver.save_screenshot(os.environ["NB_PICTURE"])
            driver.quit()
    print(json.dumps(shown))  # noqa: T201  its answer


main()
