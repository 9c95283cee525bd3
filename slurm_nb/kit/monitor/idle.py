"""Runs inside the Jupyter server: whether the session is in use, and since when it is not."""

from __future__ import annotations

import os
import time
from typing import Any, Callable, List, NamedTuple, Optional, Set

_PERIOD_S = (0.5, 5.0)
# A look that comes late counts for no more than this: a job that Slurm had suspended, or a node
# that stood still, was not idle for that long.
_LATE_LOOKS = 3
_READING = ("GET", "HEAD", "OPTIONS")


class Activity(NamedTuple):
    """What a look finds."""

    in_use: bool
    """A cell runs, a page is connected, or a terminal has a program running."""
    kernels: int
    marks: List[Any]
    """Anything that is another thing once something has been done."""


class Idle:
    """For how long a session was not used. `timeout_s` None: it may be so for ever."""

    def __init__(
        self, timeout_s: Optional[int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.timeout_s = timeout_s
        shortest, longest = _PERIOD_S
        self.period_s = min(longest, max(shortest, timeout_s / 10)) if timeout_s else longest
        """How often to look."""
        self.idle_s = 0.0
        """Since it was last seen in use; a step of the clock on the wall changes nothing."""
        self.in_use = True
        self._clock = clock
        self._looked_at = clock()
        self._marks: Optional[List[Any]] = None

    def look(self, found: Activity) -> bool:
        """Take note of what was found; whether the session has been idle for too long."""
        now = self._clock()
        waited_s, self._looked_at = now - self._looked_at, now
        used = found.in_use or found.marks != self._marks
        self._marks = found.marks
        self.in_use = found.in_use
        self.idle_s = 0.0 if used else self.idle_s + min(waited_s, _LATE_LOOKS * self.period_s)
        return self.timeout_s is not None and self.idle_s >= self.timeout_s


class Changes:
    """Counts requests that change something: a file that is saved, without any kernel."""

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
    """How the server `app`, a ServerApp, is used right now."""
    manager = app.kernel_manager
    kernels = [manager.kernel_model(kernel_id) for kernel_id in manager.list_kernel_ids()]
    busy = any(each["execution_state"] == "busy" or each["connections"] > 0 for each in kernels)
    # Without the extension jupyter_server_terminals there are none.
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
    """Whether one of these session leaders has another process in its session (proc(5), stat)."""
    for name in os.listdir("/proc") if shells else ():
        if not name.isdigit() or int(name) in shells:
            continue
        try:
            with open("/proc/%s/stat" % name, "rb") as file:
                state, _, _, session = file.read().rpartition(b")")[2].split()[:4]
        except (OSError, ValueError):
            continue  # it has just ended
        if state not in (b"Z", b"X") and int(session) in shells:
            return True
    return False
