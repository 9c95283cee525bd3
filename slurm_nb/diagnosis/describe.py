"""A job's state in plain words."""

from __future__ import annotations

from slurm_nb.diagnosis.reasons import in_words
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.times import when


def describe(state: JobState, job_id: str) -> str:
    """Return the state, for a pending job with the explanation and the estimated start.

    `PENDING (Priority): other jobs have higher priority; estimated start: 2026-11-23 14:00`.
    """
    if state.phase is not Phase.PENDING:
        return str(state)
    words = in_words(state.reason).replace("JOBID", job_id)
    start = f"; estimated start: {when(state.start_time)}" if state.start_time else ""
    return f"{state}" + (f": {words}" if words else "") + start


def stands_still(state: JobState, job_id: str) -> list[str]:
    """Return a sentence about a job whose processes Slurm or an admin has suspended."""
    if state.slurm_state not in {"SUSPENDED", "STOPPED"}:
        return []
    return [f"Jupyter does not respond while job {job_id} is {state}, and continues afterwards"]
