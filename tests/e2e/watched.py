"""Waiting for text on a terminal, or for other events."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

from tests.cluster import Terminal


def await_that(condition: Callable[[], object], what: str, timeout_s: float = 30) -> None:
    """Return when `condition` holds; fail with `what` did not come about."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain: {what}"
        time.sleep(0.02)


def read_until(terminal: Terminal, text: str, timeout_s: float = 30) -> str:
    """Return the terminal's screen up to `text`."""
    screen = ""
    deadline = time.monotonic() + timeout_s
    while text not in screen:
        ready, _, _ = select.select([terminal.master], [], [], deadline - time.monotonic())
        assert ready, f"waited in vain for {text!r}:\n{screen}"
        try:
            screen += os.read(terminal.master, 65536).decode(errors="replace")
        except OSError as error:  # the other end is closed
            raise AssertionError(f"ended without {text!r}:\n{screen}") from error
    return screen
