"""Runs on the laptop: Chromium opens NB_URL and then does what the lines of standard input say.

Each line is JSON, ["run", SCRIPT], ["press"], ["open", URL] or ["picture", PATH]; each answer is a
line of JSON. The scripts are the body of a function in the page.
"""

import json
import os
import sys
import tempfile

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

CHROMIUM = [
    "--headless=new",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--window-size=1100,620",
]


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
            for line in sys.stdin:
                print(json.dumps(answer(driver, *json.loads(line))), flush=True)  # noqa: T201
        finally:
            driver.quit()


def answer(driver: webdriver.Chrome, what: str, *words: str) -> object:
    if what == "run":
        return driver.execute_script(*words)
    if what == "open":
        driver.get(*words)
    elif what == "press":  # Shift+Enter
        keys = ActionChains(driver)
        keys.key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
    elif what == "picture":
        driver.save_screenshot(*words)
    return None


main()
