"""Where jobs run: Slurm, or this machine. The only package that starts processes.

parse and environment are pure: no I/O, no clock.
"""

from __future__ import annotations

from slurm_nb.scheduler.job import LOCAL, Scheduler
from slurm_nb.session.session import Session


def scheduler(cluster: str) -> Scheduler:
    """The scheduler that a session's `cluster` names."""
    if cluster == LOCAL:
        from slurm_nb.scheduler.local import Local  # noqa: PLC0415  it needs this module

        return Local()
    from slurm_nb.scheduler.slurm import Slurm  # noqa: PLC0415  submitit takes its time

    return Slurm()


def place_in_queue(session: Session) -> tuple[int, int] | None:
    """Which of how many waiting jobs a session is, by priority; None where nobody can say.

    Slurm looks through all of its jobs for this, so it is not for a loop.
    """
    if session.cluster == LOCAL:
        return None
    from slurm_nb.scheduler.slurm import Slurm  # noqa: PLC0415  as above

    return Slurm().place(session)
