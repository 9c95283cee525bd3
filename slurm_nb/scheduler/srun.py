"""A Python program run inside a session's job, on its node; and what Slurm shows of the job.

Facts about Slurm's commands were seen on 22.05.8 unless a man page is named.
"""

from __future__ import annotations

from pathlib import Path

from slurm_nb.errors import SchedulerError
from slurm_nb.scheduler.job import LOCAL
from slurm_nb.scheduler.run import QUERY_TIMEOUT_S, run
from slurm_nb.session.session import Session

_TIMEOUT_S = 120.0
# Should srun be killed at the timeout above, Slurm ends what it started (minutes).
_STEP_MINUTES = 3


def run_on_node(session: Session, *, node: str, module: str, folder: Path, stdin: str) -> str:
    """What `python -m module` prints in the job of `session`, with `stdin` on its standard input.

    It is run in `folder`, where the module is, by the interpreter that runs Jupyter, without the
    user's PYTHONPATH and packages, which may shadow Python's own modules. Raises `SchedulerError`
    when it can't be run, ends with another exit code than 0, or takes longer than two minutes.
    """
    argv = [session.python or "python3", "-E", "-s", "-m", module]
    if session.cluster != LOCAL:
        # --overlap: beside Jupyter, in the resources that the job has (srun(1)).
        argv = [
            "srun", *_where(session), f"--jobid={session.job_id}", "--overlap", "--nodes=1",
            "--ntasks=1", f"--nodelist={node}", f"--chdir={folder}", "--quiet", "--mpi=none",
            f"--time={_STEP_MINUTES}", *argv,
        ]  # fmt: skip
    answer = run(argv, timeout_s=_TIMEOUT_S, stdin=stdin, cwd=str(folder))
    if answer.exit_code:
        raise SchedulerError(
            f"nothing could be run in job {session.job_id} on {node}: {answer.words}",
            hint="it takes an srun that works on this host: `srun --overlap --jobid="
            f"{session.job_id} hostname`",
        )
    return answer.stdout


def shown_by_slurm(session: Session) -> dict[str, str]:
    """What Slurm's commands tell of the job, by command.

    Raises `SchedulerError` when one of them fails.
    """
    where, job_id = _where(session), session.job_id
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


def _where(session: Session) -> list[str]:
    return ["-M", session.cluster] if session.other_cluster else []
