"""A job's state as a scientist is told of it, and times as people write them.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from datetime import datetime

from slurm_nb.reasons import in_words
from slurm_nb.scheduler import JobState, Phase

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def describe(state: JobState, job_id: str) -> str:
    """`PENDING (Priority): other jobs come first; Slurm expects it to start 2026-11-23 14:00`."""
    if state.phase is not Phase.PENDING:
        return str(state)
    words = in_words(state.reason).replace("JOBID", job_id)
    start = f"; Slurm expects it to start {when(state.start_time)}" if state.start_time else ""
    return f"{state}" + (f": {words}" if words else "") + start


def when(time: str) -> str:
    """`2026-11-23 14:00` of Slurm's `2026-11-23T14:00:00`, in local time as Slurm gives it."""
    return time.replace("T", " ")[:16]


def seconds_until(time: str | None, now_s: float) -> int | None:
    """Until Slurm's `2026-11-23T14:00:00`, in this machine's time; 0 for one that is past.

    None for no time, or something else.
    """
    try:
        at = datetime.fromisoformat(time or "").timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0, round(at - now_s))


def duration(seconds: float) -> str:
    """`45 s`, `90 min`, `3 h 05 min`, `2 d 4 h`."""
    whole = int(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < 2 * _HOUR_S:
        return f"{whole // _MINUTE_S} min"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"
