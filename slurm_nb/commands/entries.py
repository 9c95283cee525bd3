"""A session as `list` and `status` show it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from slurm_nb.operations.listing import Entry
from slurm_nb.scheduler.job import Phase
from slurm_nb.session.pending import Intent
from slurm_nb.session.state_cache import is_no_answer
from slurm_nb.times import duration, seconds_until

HEADINGS = ("JOBID", "NAME", "STATE", "NODE", "TIME LEFT", "IDLE")


def row(entry: Entry, now_s: float) -> tuple[str, ...]:
    """`("7", "analysis", "RUNNING", "c1", "3 h 05 min", "12 min")`, for HEADINGS."""
    session, state = entry.session, entry.state
    word = state.word if is_no_answer(state) else str(state)
    if entry.ended:
        word = f"{state.word} ({entry.ended.cause})"
    left_s = time_left_s(entry, now_s)
    return (
        session.job_id,
        session.job_name or "-",
        word,
        state.node or "-",
        "-" if left_s is None else duration(left_s),
        idle(entry, now_s),
    )


def record(entry: Entry, now_s: float) -> dict[str, Any]:
    """The object that `--json` prints of a session."""
    session, state, activity = entry.session, entry.state, entry.activity
    return {
        "job_id": session.job_id,
        "cluster": session.cluster,
        "name": session.job_name,
        "submitted_at": session.submitted_at,
        "state": state.word,
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


def time_left_s(entry: Entry, now_s: float) -> int | None:
    """Until the time limit ends a job that runs."""
    if entry.state.phase is not Phase.RUNNING:
        return None
    return seconds_until(entry.state.end_time, now_s)


def idle_s(entry: Entry, now_s: float) -> int | None:
    """For how long nothing happened; None where that is not known."""
    if entry.activity is None:
        return None
    return max(0, int(now_s - (entry.activity.active_at or now_s)))


def idle(entry: Entry, now_s: float) -> str:
    """`active`, `12 min`, or `-`."""
    seconds = idle_s(entry, now_s)
    if seconds is None:
        return "-"
    return "active" if entry.activity and entry.activity.active_at is None else duration(seconds)


def clock_time(epoch_s: float) -> str:
    """`2026-11-23 14:00`, in this machine's time."""
    return datetime.fromtimestamp(epoch_s).strftime("%Y-%m-%d %H:%M")  # noqa: DTZ006  local


def in_doubt(intent: Intent) -> str:
    """What to know of a submission that nobody knows the outcome of."""
    where = f"-M {intent.clusters} " if intent.clusters else ""
    return (
        f"a submission of {clock_time(intent.began_at)} was cut off, and may still become a job;"
        f" to look: squeue {where}--me -o '%i %o', for the one that runs {intent.script}"
    )


def _ended(entry: Entry) -> dict[str, Any] | None:
    if entry.ended is None:
        return None
    kept = ("cause", "text", "evidence", "cure", "at")
    return {name: value for name, value in asdict(entry.ended).items() if name in kept}
