"""How the commands show a session and its state."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from slurm_nb.operations.listing import SessionStatus
from slurm_nb.scheduler.job import Phase
from slurm_nb.session.pending import PendingSubmission
from slurm_nb.session.state_cache import is_no_answer
from slurm_nb.times import duration, seconds_until

HEADINGS = ("JOBID", "NAME", "STATE", "NODE", "TIME LEFT", "IDLE")


def row(entry: SessionStatus, now_s: float) -> tuple[str, ...]:
    """Return `("7", "analysis", "RUNNING", "c1", "3 h 05 min", "12 min")` for HEADINGS."""
    session, state = entry.session, entry.state
    word = state.slurm_state if is_no_answer(state) else str(state)
    if entry.outcome:
        word = f"{state.slurm_state} ({entry.outcome.cause})"
    left_s = time_left_s(entry, now_s)
    return (
        session.job_id,
        session.job_name or "-",
        word,
        state.node or "-",
        "-" if left_s is None else duration(left_s),
        idle(entry, now_s),
    )


def record(entry: SessionStatus, now_s: float) -> dict[str, Any]:
    """Return the object that `list --json` and `status --json` print for a session."""
    session, state, activity = entry.session, entry.state, entry.activity
    return {
        "job_id": session.job_id,
        "cluster": session.cluster,
        "name": session.job_name,
        "submitted_at": session.submitted_at,
        "state": state.slurm_state,
        "reason": state.reason,
        "node": state.node,
        "start_time": state.start_time,
        "end_time": state.end_time,
        "time_left_s": time_left_s(entry, now_s),
        "idle_s": idle_s(entry, now_s),
        "idle_stop_at": activity.idle_stop_at if activity else None,
        "memory_fraction": activity.memory_fraction if activity else None,
        "kernels": activity.kernels if activity else None,
        "ended": _ended(entry),
        "as_of": int(entry.as_of) if entry.as_of else None,
    }


def time_left_s(entry: SessionStatus, now_s: float) -> int | None:
    """Return the time left to a running job; None if it is not running or has no limit."""
    if entry.state.phase is not Phase.RUNNING:
        return None
    return seconds_until(entry.state.end_time, now_s)


def idle_s(entry: SessionStatus, now_s: float) -> int | None:
    """Return how long the session has been idle; None if that is unknown."""
    if entry.activity is None:
        return None
    return max(0, int(now_s - (entry.activity.active_at or now_s)))


def idle(entry: SessionStatus, now_s: float) -> str:
    """Return `active`, `12 min`, or `-`."""
    seconds = idle_s(entry, now_s)
    if seconds is None:
        return "-"
    return "active" if entry.activity and entry.activity.active_at is None else duration(seconds)


def clock_time(epoch_s: float) -> str:
    """Return `2026-11-23 14:00`, in local time."""
    return datetime.fromtimestamp(epoch_s).strftime("%Y-%m-%d %H:%M")  # noqa: DTZ006  local


def unresolved_line(pending: PendingSubmission) -> str:
    """Return the message about a submission that may have created a job."""
    where = f"-M {pending.clusters} " if pending.clusters else ""
    return (
        f"A submission at {clock_time(pending.began_at)} was interrupted and may have created a"
        f" job that runs {pending.script}. Check with: squeue {where}--me -o '%i %o'"
    )


def _ended(entry: SessionStatus) -> dict[str, Any] | None:
    if entry.outcome is None:
        return None
    kept = ("cause", "text", "evidence", "cure", "at")
    return {name: value for name, value in asdict(entry.outcome).items() if name in kept}
