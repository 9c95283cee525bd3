"""A time limit for each part of a test: setup, call and teardown.

pytest-timeout decides on the limits (`timeout` in pyproject.toml, the marker `timeout`,
`--timeout`). Delivering them is done here, because neither of its methods fits: its signal,
SIGALRM, belongs to slurm-nb, which runs in the tests' process and resets the timer; its thread ends
the whole run. This thread sends the main thread a signal that nothing else uses, and the run
continues with the next test. It ends the run only if the main thread does not react.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest
from pytest_timeout import Settings, is_debugging, timeout_timer

_SIGNAL = signal.SIGRTMIN + 7
_TRIES = 3
_AGAIN_S = 20.0
"""Between two tries: what the first one breaks off may hang in its cleaning up."""
_SETTINGS = pytest.StashKey[Settings]()
_current: Limit | None = None


class Limit:
    """The limit of one part of a test, counted from now on."""

    def __init__(self, item: pytest.Item, settings: Settings, part: str) -> None:
        self.item = item
        self.part = part
        self._settings = settings
        self._over = threading.Event()
        self.allow(settings.timeout)
        self._thread = threading.Thread(target=self._watch, name="time limit", daemon=True)
        self._thread.start()

    def allow(self, seconds: float) -> None:
        """Set the limit to `seconds` from now."""
        self.seconds = seconds
        self._deadline = time.monotonic() + seconds

    def cancel(self) -> None:
        """Return when no signal can follow."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        for _ in range(_TRIES):
            while (left_s := self._deadline - time.monotonic()) > 0:
                if self._over.wait(left_s):
                    return
            if not is_debugging():
                signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
            self._deadline = time.monotonic() + _AGAIN_S
        if not self._over.wait(_AGAIN_S):
            timeout_timer(self.item, self._settings)


def allow(seconds: float) -> None:
    """Give the running part of the test `seconds` from now, for a fixture that many tests share."""
    if _current is not None:
        _current.allow(seconds)


def pytest_configure() -> None:
    signal.signal(_SIGNAL, _break_off)


def pytest_timeout_set_timer(item: pytest.Item, settings: Settings) -> bool:
    """Keep the settings; each part of the test starts its own limit."""
    item.stash[_SETTINGS] = settings
    return True


def pytest_timeout_cancel_timer() -> bool:
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    with _limited(item, "setup"):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with _limited(item, "call"):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    with _limited(item, "teardown"):
        return (yield)


@contextmanager
def _limited(item: pytest.Item, part: str) -> Iterator[None]:
    global _current  # noqa: PLW0603  a signal handler takes no other arguments
    settings = item.stash.get(_SETTINGS, None)
    if settings is None:
        yield
        return
    _current = Limit(item, settings, part)
    try:
        yield
    finally:
        limit, _current = _current, None
        limit.cancel()


def _break_off(_number: int, _frame: object) -> None:
    __tracebackhide__ = True
    if _current is not None:
        _current.item.add_report_section(_current.part, "other threads", _stacks())
        pytest.fail(f"time limit: {_current.part} took longer than {_current.seconds:g} s")


def _stacks() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():  # noqa: SLF001  documented in sys
        if ident != threading.get_ident() and names.get(ident) != "time limit":
            parts += [f"{names.get(ident, 'a thread')}:\n", *traceback.format_stack(frame)]
    return "".join(parts)
