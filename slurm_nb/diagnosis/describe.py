"""A job's state as a scientist is told of it, and times as people write them."""

from __future__ import annotations

from slurm_nb.diagnosis.reasons import in_words
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.times import when


def describe(state: JobState, job_id: str) -> str:
    """`PENDING (Priority): other jobs come first; Slurm expects it to start 2026-11-23 14:00`."""
    if state.phase is not Phase.PENDING:
        return str(state)
    words = in_words(state.reason).replace("JOBID", job_id)
    start = f"; Slurm expects it to start {when(state.start_time)}" if state.start_time else ""
    return f"{state}" + (f": {words}" if words else "") + start


def stands_still(state: JobState, job_id: str) -> list[str]:
    """A sentence about a job whose processes Slurm has stopped, for others, or an admin has."""
    if state.word not in {"SUSPENDED", "STOPPED"}:
        return []
    return [f"Jupyter does not answer while job {job_id} is {state}; it goes on when Slurm lets it"]
