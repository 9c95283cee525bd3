"""Slurm, or this machine in its place. The only package that starts processes.

parse and environment are pure: no I/O, no clock.
"""

from __future__ import annotations

from slurm_nb.scheduler.job import LOCAL, Job, JobFiles, Resources, Scheduler


def scheduler(cluster: str, files: JobFiles) -> Scheduler:
    """Return the scheduler for jobs of `cluster` with their files in `files`."""
    if cluster == LOCAL:
        from slurm_nb.scheduler.local import Local  # noqa: PLC0415  loaded when needed

        return Local(files)
    from slurm_nb.scheduler.slurm import Slurm  # noqa: PLC0415  as above

    return Slurm(files)


def place_in_queue(job: Job, partition: str) -> tuple[int, int] | None:
    """Return the place of `job` among the pending jobs of its partition; None: unknown.

    Do not call it in a loop: the controller scans all of its jobs.
    """
    from slurm_nb.scheduler.slurm import find_place  # noqa: PLC0415  as above

    return find_place(job, partition)


def resources_of(job: Job) -> Resources | None:
    """Return what `job` has or requests; None: unknown."""
    if job.cluster == LOCAL:
        return None
    from slurm_nb.scheduler.slurm import find_resources  # noqa: PLC0415  as above

    return find_resources(job)
