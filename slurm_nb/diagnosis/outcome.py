"""What became of a session."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

# A job that ended can be put back into the queue by hand for as long as Slurm knows it.
_REQUEUED_WITHIN_S = 3600


# The end of the output may reach the login node this much later (NFS, Lustre).
_LATE_S = 120
FORGOTTEN = "ENDED"
"""In place of Slurm's word, of a job that Slurm does not know."""


@dataclass(frozen=True)
class Ended:
    """What became of a session."""

    word: str
    """Slurm's own: `TIMEOUT`."""
    reason: str
    cause: str
    """A word for programs: `time-limit`; `unknown`."""
    text: str
    """A sentence: what the cause was."""
    evidence: str
    """What shows it: a line of the output, or Slurm's words."""
    cure: str
    """What to do next."""
    at: int
    """Seconds since the epoch at which it was known to be over."""
    end_time: str | None = None
    """Of the job, as Slurm had it, in local time."""
    node: str | None = None


def is_certain(ended: Ended, *, now: Callable[[], float] = time.time) -> bool:
    """Whether nothing more will be learnt of it."""
    return ended.cause != "unknown" or now() - ended.at > _LATE_S


@dataclass(frozen=True)
class Ending:
    """Why a job is over."""

    cause: str
    """For programs: `out-of-memory`; `unknown`."""
    text: str
    """`the job ran out of memory`; may hold text of the job's, not to be trusted."""
    evidence: str
    """The line of the output, or Slurm's words, that shows it; where the cause is not known the
    last lines. Not to be trusted; empty where `text` says all."""
    cure: str
    """What to do next: "ask for more memory: `slurm-nb submit --again 7 --mem 16G`"."""
    known: bool = True


def _is_certain(ended: Ended | None) -> bool:
    return ended is not None and is_certain(ended)


def is_over(ended: Ended | None, *, now: Callable[[], float] = time.time) -> bool:
    """Whether a session need not be asked after: it can't be put back into the queue any more."""
    return _is_certain(ended) and ended is not None and now() - ended.at > _REQUEUED_WITHIN_S
