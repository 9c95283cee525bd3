"""Measures whether the session is in use, and how long it has been idle."""

from __future__ import annotations

import os
import time
from typing import Any, Callable, List, NamedTuple, Optional, Set

_PERIOD_S = (0.5, 5.0)
# A late check adds at most this many periods: the session was not idle while Slurm had suspended
# the job or the node was frozen.
_LATE_LOOKS = 3
_READING = ("GET", "HEAD", "OPTIONS")


class Activity(NamedTuple):
    """The use of a session at one moment."""

    in_use: bool
    """A cell is running, a page is connected, or a program runs in a terminal."""
    kernels: int
    marks: List[Any]
    """Values that change whenever somebody does something."""


class Idle:
    """The idle time of a session. `timeout_s` None: there is no limit."""

    def __init__(
        self, timeout_s: Optional[int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.timeout_s = timeout_s
        shortest, longest = _PERIOD_S
        self.period_s = min(longest, max(shortest, timeout_s / 10)) if timeout_s else longest
        """Time between two checks."""
        self.idle_s = 0.0
        """Time since the session was last in use, on a monotonic clock."""
        self.in_use = True
        self._clock = clock
        self._looked_at = clock()
        self._marks: Optional[List[Any]] = None

    def look(self, found: Activity) -> bool:
        """Record the use of the session; return whether it has been idle for too long."""
        now = self._clock()
        waited_s, self._looked_at = now - self._looked_at, now
        used = found.in_use or found.marks != self._marks
        self._marks = found.marks
        self.in_use = found.in_use
        self.idle_s = 0.0 if used else self.idle_s + min(waited_s, _LATE_LOOKS * self.period_s)
        return self.timeout_s is not None and self.idle_s >= self.timeout_s


class Changes:
    """Counts requests that change something, even without a kernel, such as saving a file."""

    def __init__(self, app: Any) -> None:
        self.count = 0
        settings = app.web_app.settings
        log = settings["log_function"]  # tornado calls it at the end of each request

        def note(handler: Any) -> None:
            if handler.request.method not in _READING and handler.get_status() < 400:
                self.count += 1
            log(handler)

        settings["log_function"] = note


def activity(app: Any) -> Activity:
    """Return the current use of the server `app`, a ServerApp."""
    manager = app.kernel_manager
    kernels = [manager.kernel_model(kernel_id) for kernel_id in manager.list_kernel_ids()]
    busy = any(each["execution_state"] == "busy" or each["connections"] > 0 for each in kernels)
    # The extension jupyter_server_terminals may be missing.
    found = getattr(app.web_app.settings.get("terminal_manager"), "terminals", {})
    terminals = list(found.items())
    in_use = (
        busy
        or any(terminal.clients for _, terminal in terminals)
        or _runs_program({terminal.ptyproc.pid for _, terminal in terminals})
    )
    marks: List[Any] = [(each["id"], each["last_activity"]) for each in kernels]
    marks += [(name, getattr(each, "last_activity", None)) for name, each in terminals]
    return Activity(in_use, len(kernels), marks)


def _runs_program(shells: Set[int]) -> bool:
    """Return whether a session leader has another process in its session (proc(5), stat)."""
    for name in os.listdir("/proc") if shells else ():
        if not name.isdigit() or int(name) in shells:
            continue
        try:
            with open("/proc/%s/stat" % name, "rb") as file:
                state, _, _, session = file.read().rpartition(b")")[2].split()[:4]
        except (OSError, ValueError):
            continue  # the process has just ended
        if state not in (b"Z", b"X") and int(session) in shells:
            return True
    return False
