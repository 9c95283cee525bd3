"""The one wait: until Jupyter is ready, the job has ended, or the time is up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from slurm_nb.errors import JobEnded, NotReady
from slurm_nb.joblog import JobLog
from slurm_nb.ready import Ready
from slurm_nb.scheduler import JobState, Phase

# Seconds until the next look at the job's output, by how long it has been waited for.
_LOG_EVERY_S = ((15.0, 0.05), (120.0, 0.25), (900.0, 1.0), (float("inf"), 5.0))
# Seconds between questions to Slurm; the last one goes on for ever. One squeue is three
# requests to slurmctld (seen on 22.05), and sites ask for no more than one in 10 to 60 s.
_ASK_AFTER_S = (1.0, 7.0, 25.0, 30.0)
# A job whose output says that it ended is asked after sooner: Slurm learns of it in a moment.
_ASK_ENDED_S = (0.0, 0.3, 0.7, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Clock:
    """Time, as the wait sees it."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def wait_until_ready(
    log: JobLog,
    *,
    ask: Callable[[], JobState],
    show: Callable[[JobState | None, float], None],
    timeout_s: float | None = None,
    clock: Clock | None = None,
) -> Ready:
    """Follow `log` and, now and then, `ask` Slurm, until the log says where Jupyter listens.

    `show` is told the last known state and the seconds waited, again and again.
    Raises `JobEnded` with Slurm's state and the last lines of the output, or `NotReady`
    after `timeout_s` (the job goes on).
    """
    clock = clock or Clock()
    start = clock.now()
    state: JobState | None = None
    schedule = iter(_ASK_AFTER_S)
    next_ask = start + next(schedule)
    over = False
    while True:
        progress = log.read()
        if progress.ready:
            return progress.ready
        running = progress.started and progress.exit_code is None
        if running and (state is None or state.phase is Phase.PENDING):
            state = JobState(Phase.RUNNING, "RUNNING")  # its output is ahead of the next question
        if state and state.phase is Phase.ENDED:
            raise _ended(log, state)
        if over != (progress.exit_code is not None):  # it ended, or came back into the queue
            over = not over
            schedule = iter(_ASK_ENDED_S if over else _ASK_AFTER_S)
            next_ask = clock.now() + next(schedule)
        now = clock.now()
        if timeout_s is not None and now - start >= timeout_s:
            raise NotReady(f"not ready after {timeout_s:g} s: {state or 'nothing known yet'}")
        if now >= next_ask:
            state = ask()
            next_ask = clock.now() + next(schedule, _ASK_AFTER_S[-1])
            show(state, clock.now() - start)
            continue  # it may have become ready meanwhile
        show(state, now - start)
        pause = next(every for until, every in _LOG_EVERY_S if now - start < until)
        next_event = min(next_ask, start + timeout_s) if timeout_s is not None else next_ask
        clock.sleep(min(pause, max(next_event - now, 0.01)))


def _ended(log: JobLog, state: JobState) -> JobEnded:
    tail = "".join(f"\n    {line}" for line in log.tail())
    said = f"; the last lines of its output:{tail}" if tail else ""
    failure = log.progress.failure
    if failure:
        return JobEnded(
            f"Jupyter can't be started: {failure.text}{'' if failure.known else said}",
            hint=f"{failure.cure}\n  the job's output: {log.path}",
        )
    exit_code = log.progress.exit_code
    code = f", exit code {exit_code}" if exit_code is not None else ""
    said = said or "; it wrote no output"
    hint = f"all of it: {log.path}"
    if not tail and not log.progress.started:
        hint = (
            f"the node may be unable to write {log.path.parent}: set SLURM_NB_HOME to a directory"
        )
        hint += " that login and compute nodes share"
    return JobEnded(f"the job ended before Jupyter was ready: {state}{code}{said}", hint=hint)
