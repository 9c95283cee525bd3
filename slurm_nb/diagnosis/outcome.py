"""How a session ended."""

from __future__ import annotations

from dataclasses import dataclass, field

# A user or admin can requeue a job that ended for as long as Slurm knows it.
_REQUEUED_WITHIN_S = 3600
# The end of the output may reach the login node this much later (NFS, Lustre).
_LATE_S = 120
FORGOTTEN = "ENDED"
"""The state of a job that Slurm no longer knows."""
CANNOT_START = "Jupyter cannot start"
"""The beginning of each text whose reason the job reported."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended, and why."""

    slurm_state: str
    """The state in Slurm: `TIMEOUT`."""
    reason: str
    """Slurm's own."""
    cause: str
    """For programs: `out-of-memory`; `unknown`."""
    text: str
    """`the job ran out of memory`; may contain untrusted text from the job."""
    evidence: str
    """The line of the output, or the state in Slurm, that shows the cause; the last lines if the
    cause is unknown. Untrusted text; empty if `text` says it all."""
    cure: str
    """The next step: "request more memory: `slurm-nb submit --again 7 --mem 16G`"."""
    at: int
    """When slurm-nb noticed the end, in seconds since the epoch."""
    end_time: str | None = None
    """When the job ended, as Slurm reports it, in local time."""
    node: str | None = None
    """Where it ran."""
    proven: bool = field(default=True, metadata={"later": True})
    """Whether the job's end is certain; otherwise this is only Slurm's report so far."""
    submission: str | None = field(default=None, metadata={"later": True})
    """Of the session."""


def is_certain(outcome: Outcome | None, now_s: float) -> bool:
    """Return whether a session is known to be over, and its cause will not change."""
    return outcome is not None and (outcome.cause != "unknown" or now_s - outcome.at > _LATE_S)


def is_proven(outcome: Outcome | None) -> bool:
    """Return whether a session has ended, unless somebody requeues its job."""
    return outcome is not None and outcome.proven


def is_over(outcome: Outcome | None, now_s: float) -> bool:
    """Return whether the end is final, because nobody can requeue the job any more."""
    return (
        outcome is not None
        and outcome.proven
        and is_certain(outcome, now_s)
        and now_s - outcome.at > _REQUEUED_WITHIN_S
    )
