"""A page of a session, in Chromium on the laptop."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import ensure_tools
from tests.e2e.scientist import Scientist

_CLIENT = Path(__file__).with_name("page_client.py").read_text(encoding="utf-8")
_TEXTS = """return [...document.querySelectorAll(%s)].filter(each => each.offsetParent !== null
  || each.getClientRects().length).map(each => each.innerText.trim().replace(/\\s+/g, ' '))"""
_CLICK = """const found = [...document.querySelectorAll(%s)]
  .find(each => each.innerText.trim().startsWith(%s)); if (found) found.click(); return !!found"""
ITEM = ".slurm-nb-item"
DIALOG = ".slurm-nb-dialog"
BANNER = ".slurm-nb-banner"
TOAST = ".Toastify__toast"
JUPYTERS_DIALOG = ".jp-Dialog"


@dataclass(frozen=True)
class Page:
    """The browser at the page: its texts and the user's clicks."""

    client: subprocess.Popen[str]
    laptop: Path
    name: str

    def do(self, *words: str) -> Any:
        """Have the client do something, and return its answer."""
        assert self.client.stdin
        assert self.client.stdout
        try:
            self.client.stdin.write(json.dumps(words) + "\n")
            self.client.stdin.flush()
            line = self.client.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise AssertionError(self.client.communicate(timeout=20)[1])
        return json.loads(line)

    def texts(self, selector: str) -> list[str]:
        """Return the visible texts of the elements."""
        found: list[str] = self.do("run", _TEXTS % json.dumps(selector))
        return found

    def until(self, selector: str, text: str, timeout_s: float = 60) -> str:
        """Return the text of the first element that holds `text`, once there is one."""
        deadline = time.monotonic() + timeout_s
        while True:
            texts = self.texts(selector)
            for each in texts:
                if text in each:
                    return each
            if time.monotonic() > deadline:
                self.picture("failed")
                raise AssertionError(f"waited in vain for {text!r} in {selector}: {texts}")
            time.sleep(0.3)

    def until_gone(self, selector: str, timeout_s: float = 60) -> None:
        """Return once there is no such element."""
        deadline = time.monotonic() + timeout_s
        while self.texts(selector):
            if time.monotonic() > deadline:
                self.picture("failed")
                raise AssertionError(f"{selector} stays: {self.texts(selector)}")
            time.sleep(0.3)

    def click(self, selector: str, text: str = "") -> None:
        """Click on the first element whose text begins so."""
        assert self.do("run", _CLICK % (json.dumps(selector), json.dumps(text))), (selector, text)

    def picture(self, what: str) -> None:
        """Keep a picture, where the tests were given a folder for them."""
        if folder := os.environ.get("SLURM_NB_PICTURES"):
            self.do("picture", "/tmp/page.png")
            shutil.copy(self.laptop / "tmp/page.png", Path(folder) / f"{self.name}-{what}.png")


@contextlib.contextmanager
def browser(alice: Scientist, record: dict[str, Any], name: str) -> Iterator[Page]:
    """Open the session's URL; the tunnel must be up."""
    tools = ensure_tools(alice.cluster)
    client = alice.cluster.laptop.popen(
        [tools.python, "-c", _CLIENT], user="lea", env={"NB_URL": record["url"]}
    )
    page = Page(client, alice.cluster.laptop.root, name)
    try:
        yield page
    finally:
        with contextlib.suppress(OSError):
            assert client.stdin
            client.stdin.close()
        try:
            client.wait(30)
        except subprocess.TimeoutExpired:
            client.kill()
        for pipe in (client.stdout, client.stderr):
            assert pipe
            pipe.close()
