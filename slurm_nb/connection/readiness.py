"""Find out where Jupyter listens in a session, or why it does not."""

from __future__ import annotations

from slurm_nb.diagnosis.describe import describe
from slurm_nb.errors import NotReady, UserError
from slurm_nb.joblog.events import Ready
from slurm_nb.joblog.reader import JobLog
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.session.session import Session
from slurm_nb.session.settle import job_ended, settle
from slurm_nb.session.store import Store


def require_ready(session: Session, state: JobState, log: JobLog, store: Store) -> Ready:
    """Return where Jupyter listens, from the job's output; remove the token of a job that ended.

    Raises `JobEnded`, or `NotReady` while the job waits or Jupyter starts.
    """
    job_id = session.job_id
    if state.phase is Phase.ENDED:
        raise job_ended(store, session, settle(store, session, state).outcome)
    if state.phase is Phase.PENDING:
        raise NotReady(
            f"job {job_id} is in the queue: {describe(state, job_id)}",
            hint=f"wait for it: slurm-nb wait {job_id}\ncancel it: slurm-nb cancel {job_id}",
        )
    progress = log.read()
    ready = progress.ready or (None if progress.started else session.ready)
    if progress.exit_code is not None and state.phase is Phase.RUNNING:
        raise NotReady(
            f"Jupyter in job {job_id} has ended, and the job is {state}",
            hint=f"Slurm may requeue it; wait for it: slurm-nb wait {job_id}\noutput: {log.path}",
        )
    if progress.failure or progress.exit_code is not None:  # and Slurm does not answer
        raise job_ended(store, session, settle(store, session, state).outcome)
    if ready is None or state.slurm_state == "COMPLETING":
        hint = f"wait for it: slurm-nb wait {job_id}\noutput: {log.path}"
        if not progress.started and state.phase is Phase.RUNNING:
            node = state.node or "its node"
            hint += f"\nif it stays empty, {node} may have another file system there: set"
            hint += " SLURM_NB_HOME to a directory that both share"
        raise NotReady(f"job {job_id} is {state}, but Jupyter is not ready", hint=hint)
    check_node(ready, state, log)
    return ready


def check_node(ready: Ready, state: JobState, log: JobLog) -> None:
    """Raise `UserError` if the job's output and Slurm name different nodes."""
    if state.node and state.node != ready.node:
        raise UserError(
            f"the job's output says that Jupyter is on {ready.node}, but according to Slurm the job"
            f" is on {state.node}; slurm-nb does not connect to it",
            hint=f"another program may have written to the job's output: {log.path}",
        )
