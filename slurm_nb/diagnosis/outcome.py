"""How a session ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

# A user or admin can requeue a job that ended for as long as Slurm knows it.
_REQUEUED_WITHIN_S = 3600


# The end of the output may reach the login node this much later (NFS, Lustre).
_LATE_S = 120
FORGOTTEN = "ENDED"
"""The state of a job that Slurm no longer knows."""


@dataclass(frozen=True)
class Ended:
    """How a session ended."""

    word: str
    """The state in Slurm: `TIMEOUT`."""
    reason: str
    cause: str
    """For programs: `time-limit`; `unknown`."""
    text: str
    """The cause in a sentence."""
    evidence: str
    """A line of the output, or the state in Slurm, that shows the cause."""
    cure: str
    """The next step for the user."""
    at: int
    """When slurm-nb noticed the end, in seconds since the epoch."""
    end_time: str | None = None
    """Of the job, as Slurm reports it, in local time."""
    node: str | None = None


def is_certain(ended: Ended, *, now: Callable[[], float] = time.time) -> bool:
    """Return whether the outcome is final."""
    return ended.cause != "unknown" or now() - ended.at > _LATE_S


@dataclass(frozen=True)
class Ending:
    """Why a job is over."""

    cause: str
    """For programs: `out-of-memory`; `unknown`."""
    text: str
    """`the job ran out of memory`; may contain untrusted text from the job."""
    evidence: str
    """The line of the output, or the state in Slurm, that shows the cause; the last lines if the
    cause is unknown. Untrusted text; empty if `text` says it all."""
    cure: str
    """The next step: "request more memory: `slurm-nb submit --again 7 --mem 16G`"."""
    known: bool = True


def _is_certain(ended: Ended | None) -> bool:
    return ended is not None and is_certain(ended)


def is_over(ended: Ended | None, *, now: Callable[[], float] = time.time) -> bool:
    """Return whether the session is over for good: nobody can requeue its job any more."""
    return _is_certain(ended) and ended is not None and now() - ended.at > _REQUEUED_WITHIN_S
