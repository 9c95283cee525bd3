"""Where jobs run: Slurm, or this machine. The only package that starts processes.

parse and environment are pure: no I/O, no clock.
"""

from __future__ import annotations

from slurm_nb.scheduler.job import LOCAL, Job, JobFiles, Scheduler


def scheduler(cluster: str, files: JobFiles) -> Scheduler:
    """Return the scheduler of the jobs of `cluster`, whose files are in `files`."""
    if cluster == LOCAL:
        from slurm_nb.scheduler.local import Local  # noqa: PLC0415  only where it is needed

        return Local(files)
    from slurm_nb.scheduler.slurm import Slurm  # noqa: PLC0415  as above

    return Slurm(files)


def place_in_queue(job: Job) -> tuple[int, int] | None:
    """Return which of how many waiting jobs `job` is, by priority; None where nobody can say.

    Slurm looks through all of its jobs for this, so it is not for a loop.
    """
    if job.cluster == LOCAL:
        return None
    from slurm_nb.scheduler.slurm import find_place  # noqa: PLC0415  as above

    return find_place(job)
