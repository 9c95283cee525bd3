"""Wait until Jupyter is ready, the job has ended, or the time is up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from slurm_nb.connection.readiness import unreadable
from slurm_nb.errors import NotReady
from slurm_nb.joblog.events import Ready
from slurm_nb.joblog.reader import JobLog
from slurm_nb.scheduler.job import JobState, Phase

# Seconds until the next look at the job's output, by how long it has been waited for.
_LOG_EVERY_S = ((15.0, 0.05), (120.0, 0.25), (900.0, 1.0), (float("inf"), 5.0))
# Seconds between queries; the last one repeats. One squeue is three requests to slurmctld (seen on
# 22.05), and sites want at most one in 10 to 60 s.
_ASK_AFTER_S = (1.0, 7.0, 25.0, 30.0)
# The first query may use the result of another terminal: ten of them query Slurm once.
_YOUNG_S = 5.0
# A shared file system may be a minute late.
_PROOF_S = 120.0
_NO_PROOF = (
    "the job writes its output, but its other files do not appear in the session's directory; the"
    " node and this host do not seem to share that file system (set SLURM_NB_HOME to a directory"
    " that both share)"
)
# Query sooner if the output says that the job ended, because Slurm will report it soon.
_ASK_ENDED_S = (0.0, 0.3, 0.7, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Clock:
    """The clock of the wait."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def follow_until_ready(  # noqa: PLR0913  all but the first are by name
    log: JobLog,
    *,
    ask: Callable[[float], JobState],
    show: Callable[[JobState | None, float], None],
    timeout_s: float | None = None,
    stale: Ready | None = None,
    began_at: float | None = None,
    clock: Clock | None = None,
    silent: Callable[[JobState], None] = lambda _: None,
) -> Ready | JobState:
    """Follow `log` and, now and then, `ask` Slurm, until the log says where Jupyter listens.

    Returns that, or the state of a job that ended. `ask` takes the maximum age of the answer in
    seconds; `show` takes the last known state and the seconds waited, and is called repeatedly.
    stale: the entry of an earlier run, to be ignored (a requeued job appends to its log).
    began_at: the start of a resumed wait, by the clock. silent: called once if a job runs for two
    minutes without output. Raises `NotReady` after `timeout_s` (the job keeps running), or if the
    output of a running job cannot be read.
    """
    clock = clock or Clock()
    start = clock.now() if began_at is None else began_at
    state: JobState | None = None
    schedule = iter(_ASK_AFTER_S)
    pause_s = next(schedule)
    next_ask = clock.now() + pause_s
    over = asked = False
    unproved_at: float | None = None
    silent_at: float | None = None  # since when it has been running without output
    while True:
        progress = log.read()
        unproved_at = (unproved_at or clock.now()) if log.unproved else None
        if progress.ready and progress.ready != stale:
            return progress.ready
        running = progress.started and progress.exit_code is None and not progress.ready
        if running and (state is None or state.phase is Phase.PENDING):
            state = JobState(Phase.RUNNING, "RUNNING")  # its output is ahead of Slurm's answer
        if state and state.phase is Phase.ENDED:
            return state
        if over != (progress.exit_code is not None):  # it ended, or was requeued
            over = not over
            schedule = iter(_ASK_ENDED_S if over else _ASK_AFTER_S)
            pause_s = next(schedule)
            next_ask = clock.now() + pause_s
        now = clock.now()
        alone = state is not None and state.slurm_state == "RUNNING" and not progress.started
        silent_at = (silent_at or now) if alone else None
        if state is not None and silent_at is not None and now - silent_at > _PROOF_S:
            silent(state)
            silent_at = float("inf")
        _check_output(log, state, 0.0 if unproved_at is None else now - unproved_at)
        if timeout_s is not None and now - start >= timeout_s:
            raise NotReady(f"not ready after {timeout_s:g} s: {state or 'state unknown'}")
        if now >= next_ask:
            state = ask(max(pause_s - 1, 0.0) if asked or over else _YOUNG_S)
            asked = True
            pause_s = next(schedule, _ASK_AFTER_S[-1])
            next_ask = clock.now() + pause_s
            show(state, clock.now() - start)
            continue  # Jupyter may be ready by now
        show(state, now - start)
        pause = next(every for until, every in _LOG_EVERY_S if now - start < until)
        next_event = min(next_ask, start + timeout_s) if timeout_s is not None else next_ask
        clock.sleep(min(pause, max(next_event - now, 0.01)))


def _check_output(log: JobLog, state: JobState | None, unproved_s: float) -> None:
    """Raise `NotReady` if waiting for the output of a running job is in vain."""
    if log.problem and state and state.phase is Phase.RUNNING:
        raise unreadable(log)
    if unproved_s > _PROOF_S:
        raise NotReady(_NO_PROOF)
