"""Run a Python program inside a session's job, and read what Slurm shows about the job.

Facts about Slurm's commands were seen on 22.05.8 unless a man page is named.
"""

from __future__ import annotations

from pathlib import Path

from slurm_nb.errors import SchedulerError
from slurm_nb.scheduler.job import LOCAL, Job
from slurm_nb.scheduler.run import QUERY_TIMEOUT_S, cluster_option, run

_TIMEOUT_S = 120.0
# Slurm ends the step after this, even if srun was killed at the timeout above (minutes).
_STEP_MINUTES = 3


def run_on_node(  # noqa: PLR0913  all but the job are by name
    job: Job, *, node: str, python: str, module: str, folder: Path, stdin: str
) -> str:
    """Return what `python -m module` prints in `job`, with `stdin` on its standard input.

    It runs in `folder`, which contains the module, with the interpreter that runs Jupyter, without
    the user's PYTHONPATH and packages, which may shadow standard modules. Raises `SchedulerError`
    if it cannot run, exits with a code other than 0, or takes longer than two minutes.
    """
    argv = [python, "-E", "-s", "-m", module]
    if job.cluster != LOCAL:
        # --overlap: shares the resources of the job with Jupyter (srun(1)).
        argv = [
            "srun", *cluster_option(job), f"--jobid={job.job_id}", "--overlap", "--nodes=1",
            "--ntasks=1", f"--nodelist={node}", f"--chdir={folder}", "--quiet", "--mpi=none",
            f"--time={_STEP_MINUTES}", *argv,
        ]  # fmt: skip
    answer = run(argv, timeout_s=_TIMEOUT_S, stdin=stdin, cwd=str(folder))
    if answer.exit_code:
        raise SchedulerError(
            f"cannot run a program in job {job.job_id} on {node}: {answer.words}",
            hint="check that srun works on this host: srun --overlap --jobid="
            f"{job.job_id} hostname",
        )
    return answer.stdout


def shown_by_slurm(job: Job) -> dict[str, str]:
    """Return the output of Slurm's commands about the job, by command.

    Raises `SchedulerError` if one of them fails.
    """
    where, job_id = cluster_option(job), job.job_id
    shown = {}
    for argv in (
        ["scontrol", *where, "-d", "show", "job", job_id],
        ["squeue", *where, "-t", "all", "-j", job_id, "-o", "%all"],
    ):
        answer = run(argv, timeout_s=QUERY_TIMEOUT_S)
        if answer.exit_code:
            raise SchedulerError(f"{argv[0]} does not show job {job_id}: {answer.words}")
        shown[" ".join(argv)] = answer.stdout
    return shown
