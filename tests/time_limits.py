"""A time limit for each part of a test: setup, call and teardown.

pytest-timeout decides on the limits (`timeout` in pyproject.toml, the marker `timeout`,
`--timeout`). Delivering them is done here, because neither of its methods fits: its signal,
SIGALRM, belongs to slurm-nb, which runs in the tests' process and resets the timer; its thread ends
the whole run. This thread sends the main thread a signal that nothing else uses, and the run
continues with the next test. It ends the run only if the main thread does not react.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep  # the functions themselves: tests replace time.sleep and others

import pytest
from pytest_timeout import Settings, is_debugging, timeout_timer

_SIGNAL = signal.SIGRTMIN + 7
_TRIES = 3
_AGAIN_S = 20.0
"""Time between two tries: the interrupted test may hang in its clean-up."""
_LOOK_S = 0.5
_SETTINGS = pytest.StashKey[Settings]()


@dataclass
class Limit:
    """The limit of one part of a test, counted from now on."""

    item: pytest.Item
    settings: Settings
    part: str
    tries: int = 0

    def __post_init__(self) -> None:
        self.allow(self.settings.timeout)

    def allow(self, seconds: float) -> None:
        """Set the limit to `seconds` from now."""
        self.seconds = seconds
        self._deadline = monotonic() + seconds

    def over(self) -> bool:
        """Return whether the time is up."""
        return monotonic() > self._deadline and not is_debugging()

    def enforce(self) -> None:
        """Break the part off; if it has not reacted several times, end the run."""
        if self.tries == _TRIES:
            timeout_timer(self.item, self.settings)
        self.tries += 1
        self._again = monotonic() + _AGAIN_S
        signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)

    def due(self) -> bool:
        """Return whether it is time to break it off, for the first time or again."""
        return self.over() and (not self.tries or monotonic() > self._again)


_current: Limit | None = None
_watcher = 0
"""The thread's identifier."""


def _watch() -> None:
    """Look now and then, which costs a test nothing."""
    while True:
        sleep(_LOOK_S)
        if (limit := _current) is not None and limit.due():
            limit.enforce()


def allow(seconds: float) -> None:
    """Give the running part of the test `seconds` from now, for a fixture that many tests share."""
    if _current is not None:
        _current.allow(seconds)


def pytest_configure() -> None:
    signal.signal(_SIGNAL, _break_off)
    # Not by threading, where tests look for the threads of what they test.
    global _watcher  # noqa: PLW0603
    _watcher = _thread.start_new_thread(_watch, ())


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
        _current = None


def _break_off(_number: int, _frame: object) -> None:
    __tracebackhide__ = True
    if _current is not None and _current.over():
        _current.item.add_report_section(_current.part, "other threads", _stacks())
        pytest.fail(f"time limit: {_current.part} took longer than {_current.seconds:g} s")


def _stacks() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():  # noqa: SLF001  documented in sys
        if ident not in {threading.get_ident(), _watcher}:
            parts += [f"{names.get(ident, 'a thread')}:\n", *traceback.format_stack(frame)]
    return "".join(parts)
