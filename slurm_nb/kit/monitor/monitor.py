"""Monitors the session from inside the Jupyter server, and warns its user and its pages.

It logs each of its own errors once, and the session keeps running.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from typing import Any, Callable, Dict, NamedTuple, Optional, Set

from .activity import ActivityFile
from .extend import NotExtended, extend
from .idle import Changes, Idle, activity
from .memory import Levels, Memory, gibibytes, twice
from .notices import Notices
from .page import Page, serve
from .time_limit import TimeLimit, in_words

# Jupyter checks every 3 seconds whether a kernel is alive.
_KERNEL_DIES_WITHIN_S = 20.0
_SERVER_STOPS_WITHIN_S = 60.0
# The sentence about a killed kernel fits into a notification with a name of this length.
_NAME_CHARS = 24
_EXTEND_BY_MINUTES = 60


class Job(NamedTuple):
    """The session to monitor."""

    cluster: str
    job_id: str
    node: str
    run_dir: str
    session_dir: str
    idle_timeout_s: Optional[int]


Tell = Callable[[str, Dict[str, Any]], None]


class Watch:
    """The monitor of one session."""

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
        self.page = Page(self._describe, self._extend)
        self._file = ActivityFile(os.path.join(job.session_dir, "activity.json"), self._log, clock)
        self._failed: Set[str] = set()

    def start(self) -> None:
        """Start the checks, and have the pages show the session."""
        serve(self._app, self.page)
        self._follow_kernels()
        self._follow_shutdown()
        self._look()

    def _follow_kernels(self) -> None:
        """Have Jupyter report the death of each kernel, even an early one."""
        manager = self._app.kernel_manager
        start_kernel = manager.start_kernel

        async def start(*args: Any, **kwargs: Any) -> Any:
            kernel_id = await start_kernel(*args, **kwargs)
            try:
                for event in ("restart", "dead"):
                    died = functools.partial(self._died, kernel_id)
                    manager.add_restart_callback(kernel_id, died, event)
            except Exception as error:  # the kernel runs anyway
                self._log_once("_follow_kernels", error)
            return kernel_id

        manager.start_kernel = start

    def _follow_shutdown(self) -> None:
        """Tell the pages when one of them shuts the server down, before the kernels end."""
        manager = self._app.kernel_manager
        shutdown_all = manager.shutdown_all

        def shut_down(*args: Any, **kwargs: Any) -> Any:
            self.end("it was shut down from its page")
            return shutdown_all(*args, **kwargs)

        manager.shutdown_all = shut_down

    def end(self, why: str) -> None:
        """Tell the pages that the session ends and why."""
        try:
            self.page.end(why)
        except Exception as error:  # the server stops anyway
            self._log_once("end", error)

    def signalled(self) -> None:
        """Tell the pages why Slurm or the user stops the job. SIGTERM calls this."""
        if self._time_limit.is_over:
            self.end("it reached its time limit")
        elif self._job.cluster == "local":
            self.end("it was cancelled")
        else:
            self.end("it was cancelled or preempted")

    def _describe(self) -> Dict[str, Any]:
        usage = self._memory.usage()
        return {
            "cluster": self._job.cluster,
            "job_id": self._job.job_id,
            "node": self._job.node,
            "seconds_left": self._time_limit.left_s,
            "memory": {"used": usage.used, "limit": usage.limit} if usage else None,
            "kernels": len(self._app.kernel_manager.list_kernel_ids()),
            "idle_timeout_s": self._idle.timeout_s,
            "notices": self.notices.current(),
        }

    def _extend(self) -> Dict[str, Any]:
        if self._job.cluster == "local":
            return {"extended": False, "text": "a session without Slurm cannot be extended"}
        end_file = os.path.join(self._job.run_dir, "end-time")
        try:
            end = extend(self._job.job_id, _EXTEND_BY_MINUTES, end_file)
        except (NotExtended, OSError) as error:
            return {"extended": False, "text": str(error)}
        at = time.strftime("%H:%M", time.localtime(end))
        return {"extended": True, "text": "the session now ends at %s" % at}

    def _look(self) -> None:
        for part in (self._look_at_time, self._look_at_memory, self._look_at_use):
            try:
                part()
            except Exception as error:  # the session keeps running
                self._log_once(part.__name__, error)
        self._app.io_loop.call_later(self._idle.period_s, self._look)

    def _warn(self, kind: str, text: str, notice: str = "") -> None:
        """Warn in the job's output, in the log, and with a notice on the pages."""
        self.notices.add(notice or kind, text)
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
        if text or not self._time_limit.is_short:
            self.notices.withdraw("time")
        if text:
            self._warn("time", text)

    def _look_at_memory(self) -> None:
        self._look_at_kills()
        usage = self._memory.usage()
        due = usage is not None and self._levels.due(usage.fraction)
        if due or not self._levels.any_reached:
            self.notices.withdraw("memory-in-use")
        if usage and due:
            text = "%d %% of this session's memory is in use (%s of %s)" % (
                100 * usage.fraction,
                gibibytes(usage.used),
                gibibytes(usage.limit),
            )
            text += "; at the limit, Linux kills kernels: shut some down"
            self._warn("memory", text, notice="memory-in-use")

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
        """Record that Jupyter found a kernel dead."""
        self._look_at_kills()
        if self._killed_at is not None:
            self._kernel_was_killed = True
            self._app.io_loop.add_callback(self._tell_of_kernel, kernel_id)

    async def _tell_of_kernel(self, kernel_id: str) -> None:
        try:
            name = await self._name(kernel_id)
        except Exception:  # the kernel is gone, or this Jupyter has other names
            name = kernel_id
        self._warn("memory", "the kernel of %s was killed: %s" % (name, self._cure()))

    async def _name(self, kernel_id: str) -> str:
        """Return `analysis.ipynb`, or `python3 (5f0c1d2e)` for a kernel without a notebook."""
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
        """Stop the server as its page would, so that kernels shut down cleanly."""
        hurry = threading.Timer(_SERVER_STOPS_WITHIN_S, os._exit, (0,))
        hurry.daemon = True
        hurry.start()
        idle = in_words(self._idle.timeout_s or 0)
        text = "nothing ran and nobody was connected for %s (--idle-timeout)" % idle
        try:
            self._log("stopping: " + text)
            self._tell("stopping", {"kind": "idle", "text": text})
        finally:
            self.end("it was idle for %s (--idle-timeout)" % idle)
            self._app.stop()


def _stop_once(app: Any, first: Callable[[], None]) -> None:
    """Make Jupyter handle SIGTERM once, and call `first` before.

    Slurm sends it to every process of the job, and the job script sends it to the server. Jupyter
    would stop twice, and close sockets that it still uses (jupyter_server 2.21).
    """
    stop = signal.getsignal(signal.SIGTERM)
    if not callable(stop):
        return

    def once(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        app.io_loop.add_callback_from_signal(first)
        stop(number, frame)

    signal.signal(signal.SIGTERM, once)


def start(app: Any, job: Job, tell: Tell, clock: Callable[[], float] = time.monotonic) -> Notices:
    """Monitor `app`, an announced ServerApp, and return the notices that its pages show.

    tell: writes a line to the job's output.
    """
    watch = Watch(app, job, tell, clock)
    _stop_once(app, watch.signalled)
    watch.start()
    return watch.notices
