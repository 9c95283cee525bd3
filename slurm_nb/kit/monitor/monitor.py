"""Runs inside the Jupyter server: looks every few seconds how the session does, and says so.

Whatever goes wrong here is told once in the log, and the session goes on.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from typing import Any, Callable, Dict, NamedTuple, Optional, Set

from .activity import ActivityFile
from .idle import Changes, Idle, activity
from .memory import Levels, Memory, gibibytes, twice
from .notices import Notices, serve
from .time_limit import TimeLimit, in_words

# Jupyter looks every 3 seconds whether a kernel lives.
_KERNEL_DIES_WITHIN_S = 20.0
_SERVER_STOPS_WITHIN_S = 60.0
# With all else that is said of a killed kernel, no more than a notification shows.
_NAME_CHARS = 24


class Job(NamedTuple):
    """What is watched."""

    cluster: str
    job_id: str
    run_dir: str
    session_dir: str
    idle_timeout_s: Optional[int]


Tell = Callable[[str, Dict[str, Any]], None]


class Watch:
    """The looks at one session."""

    def __init__(self, app: Any, job: Job, tell: Tell, clock: Callable[[], float]) -> None:
        self.notices = Notices(clock)
        self._clock = clock
        self._app = app
        self._job = job
        self._tell = tell
        self._memory = Memory()
        self._levels = Levels()
        self._kills = self._memory.kills()
        self._killed_at: Optional[float] = None
        self._kernel_was_killed = False
        self._time_limit = TimeLimit(os.path.join(job.run_dir, "end-time"))
        self._idle = Idle(job.idle_timeout_s, clock)
        self._changes = Changes(app)
        self._stopping = False
        self._file = ActivityFile(os.path.join(job.session_dir, "activity.json"), self._log, clock)
        self._failed: Set[str] = set()

    def start(self) -> None:
        """Look from now on, and have the pages show what is seen."""
        serve(self._app, self.notices)
        self._follow_kernels()
        self._look()

    def _follow_kernels(self) -> None:
        """Hear of each kernel's death, however soon."""
        manager = self._app.kernel_manager
        start_kernel = manager.start_kernel

        async def start(*args: Any, **kwargs: Any) -> Any:
            kernel_id = await start_kernel(*args, **kwargs)
            try:
                for event in ("restart", "dead"):
                    died = functools.partial(self._died, kernel_id)
                    manager.add_restart_callback(kernel_id, died, event)
            except Exception as error:  # it has started all the same
                self._log_once("_follow_kernels", error)
            return kernel_id

        manager.start_kernel = start

    def _look(self) -> None:
        for part in (self._look_at_time, self._look_at_memory, self._look_at_use):
            try:
                part()
            except Exception as error:  # the session goes on, whatever it is
                self._log_once(part.__name__, error)
        self._app.io_loop.call_later(self._idle.period_s, self._look)

    def _warn(self, kind: str, text: str) -> None:
        self.notices.add(kind, text)
        self._log(text)
        self._tell("warning", {"kind": kind, "text": text})

    def _log(self, text: str) -> None:
        self._app.log.warning("slurm-nb: %s", text)

    def _log_once(self, part: str, error: Exception) -> None:
        if part not in self._failed:
            self._failed.add(part)
            self._log("%s: %s: %s" % (part, type(error).__name__, error))

    def _look_at_time(self) -> None:
        text = self._time_limit.look()
        if text:
            self._warn("time", text)

    def _look_at_memory(self) -> None:
        self._look_at_kills()
        usage = self._memory.usage()
        if usage and self._levels.due(usage.fraction):
            text = "%d %% of this session's memory is in use (%s of %s)" % (
                100 * usage.fraction,
                gibibytes(usage.used),
                gibibytes(usage.limit),
            )
            self._warn("memory", text + ": at the limit kernels are killed; shut some down")

    def _look_at_kills(self) -> None:
        kills = self._memory.kills()
        now = self._clock()
        if kills > self._kills:
            self._kills, self._killed_at, self._kernel_was_killed = kills, now, False
        elif self._killed_at is not None and now - self._killed_at > _KERNEL_DIES_WITHIN_S:
            self._killed_at = None
            if not self._kernel_was_killed:
                self._warn("memory", "a program of this session was killed: " + self._cure())

    def _died(self, kernel_id: str) -> None:
        """Jupyter has found a kernel dead."""
        self._look_at_kills()
        if self._killed_at is not None:
            self._kernel_was_killed = True
            self._app.io_loop.add_callback(self._tell_of_kernel, kernel_id)

    async def _tell_of_kernel(self, kernel_id: str) -> None:
        try:
            name = await self._name(kernel_id)
        except Exception:  # it is gone, or Jupyter does it in another way
            name = kernel_id
        self._warn("memory", "the kernel of %s was killed: %s" % (name, self._cure()))

    async def _name(self, kernel_id: str) -> str:
        """`analysis.ipynb`; of a kernel without a notebook `python3 (5f0c1d2e)`."""
        for session in await self._app.session_manager.list_sessions():
            if session["kernel"] and session["kernel"]["id"] == kernel_id:
                path = session["path"]
                path = path if len(path) <= _NAME_CHARS else "..." + path[3 - _NAME_CHARS :]
                return "".join(char if char.isprintable() else " " for char in path)
        kernel = self._app.kernel_manager.get_kernel(kernel_id)
        return "%s (%s)" % (kernel.kernel_name, kernel_id[:8])

    def _cure(self) -> str:
        usage = self._memory.usage()
        if usage is None:
            return "out of memory"
        cause = "out of memory (%s)" % gibibytes(usage.limit)
        if self._job.cluster == "local":
            return cause
        again = "slurm-nb submit --again %s --mem %s" % (self._job.job_id, twice(usage.limit))
        return "%s; more: %s" % (cause, again)

    def _look_at_use(self) -> None:
        found = activity(self._app)
        found.marks.append(self._changes.count)
        too_long = self._idle.look(found)
        self._keep_file(found.kernels)
        if too_long and not self._stopping:
            self._stopping = True
            self._stop()

    def _keep_file(self, kernels: int) -> None:
        idle_s, timeout_s = self._idle.idle_s, self._idle.timeout_s
        active_at = None if self._idle.in_use else round(time.time() - idle_s)
        stop_at = None
        if active_at is not None and timeout_s is not None:
            stop_at = active_at + timeout_s
        usage = self._memory.usage()
        self._file.keep(
            {
                "active_at": active_at,
                "idle_stop_at": stop_at,
                "memory_fraction": round(usage.fraction, 2) if usage else None,
                "kernels": kernels,
            }
        )

    def _stop(self) -> None:
        """Kernels get their clean shutdown, as when the server is stopped from its page."""
        hurry = threading.Timer(_SERVER_STOPS_WITHIN_S, os._exit, (0,))
        hurry.daemon = True
        hurry.start()
        text = "nothing ran and nobody was connected for %s (--idle-timeout)" % (
            in_words(self._idle.timeout_s or 0)
        )
        try:
            self._log("stopping: " + text)
            self._tell("stopping", {"kind": "idle", "text": text})
        finally:
            self._app.stop()


def _stop_once() -> None:
    """Let one SIGTERM be enough.

    Slurm sends it to every process of the job, and the job script to the server: Jupyter would
    stop twice at once, and one close the sockets that the other one needs (jupyter_server 2.21).
    """
    stop = signal.getsignal(signal.SIGTERM)
    if not callable(stop):
        return

    def once(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop(number, frame)

    signal.signal(signal.SIGTERM, once)


def start(app: Any, job: Job, tell: Tell, clock: Callable[[], float] = time.monotonic) -> Notices:
    """Watch `app`, a ServerApp that is announced.

    tell: writes a line of the job's own. What is added to the notices is shown on the pages.
    """
    _stop_once()
    watch = Watch(app, job, tell, clock)
    watch.start()
    return watch.notices
