"""What became of a session. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass

# A job that ended can be put back into the queue by hand for as long as Slurm knows it.
_REQUEUED_WITHIN_S = 3600
# The end of the output may reach the login node this much later (NFS, Lustre).
_LATE_S = 120
FORGOTTEN = "ENDED"
"""In place of Slurm's word, of a job that Slurm does not know."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended, and why."""

    slurm_state: str
    """Slurm's own word: `TIMEOUT`."""
    reason: str
    """Slurm's own."""
    cause: str
    """For programs: `out-of-memory`; `unknown`."""
    text: str
    """`the job ran out of memory`; may hold text of the job's, not to be trusted."""
    evidence: str
    """The line of the output, or Slurm's words, that shows it; where the cause is not known the
    last lines. Not to be trusted; empty where `text` says all."""
    cure: str
    """What to do next: "ask for more memory: `slurm-nb submit --again 7 --mem 16G`"."""
    at: int
    """Seconds since the epoch at which it was known to be over."""
    end_time: str | None = None
    """When the job ended, as Slurm had it, in local time."""
    node: str | None = None
    """Where it ran."""


def is_certain(outcome: Outcome | None, now_s: float) -> bool:
    """Return whether a session is known to be over, and nothing more will be learnt of it."""
    return outcome is not None and (outcome.cause != "unknown" or now_s - outcome.at > _LATE_S)


def is_over(outcome: Outcome | None, now_s: float) -> bool:
    """Return whether a session need not be asked after: it cannot be requeued any more."""
    return (
        outcome is not None
        and is_certain(outcome, now_s)
        and now_s - outcome.at > _REQUEUED_WITHIN_S
    )
