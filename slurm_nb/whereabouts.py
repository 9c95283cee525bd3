"""Where the Jupyter of a session listens now, or why it does not."""

from __future__ import annotations

from slurm_nb.errors import BadValue, JobEnded, NotReady
from slurm_nb.joblog import JobLog
from slurm_nb.ready import Ready
from slurm_nb.reasons import in_words
from slurm_nb.scheduler import JobState, Phase
from slurm_nb.session import Session, Store


def follow(session: Session, store: Store) -> JobLog:
    """The output of the session's job."""
    return JobLog(
        store.log_path(session.job_id),
        cluster=session.cluster,
        job_id=session.job_id,
        nonce=lambda: store.nonce(session),
    )


def find_ready(session: Session, state: JobState, log: JobLog, store: Store) -> Ready:
    """By the job's own output, `log`; the token of a job that is over is removed.

    Raises `JobEnded`, or `NotReady` while the job waits or Jupyter starts.
    """
    job_id = session.job_id
    if state.phase is Phase.ENDED:
        if not state.foreign:
            store.forget_secrets(session)
        raise JobEnded(f"job {job_id} has ended: {state}", hint="start another: slurm-nb submit")
    if state.phase is Phase.PENDING:
        words = in_words(state.reason)
        raise NotReady(
            f"job {job_id} waits in the queue: {state}" + (f": {words}" if words else ""),
            hint=f"try again later, or cancel it: slurm-nb cancel {job_id}",
        )
    progress = log.read()
    ready = progress.ready or (None if progress.started else session.ready)
    if progress.exit_code is not None and state.phase is Phase.RUNNING:
        raise NotReady(
            f"Jupyter of job {job_id} has ended, and the job is {state}",
            hint=f"it may come back, being requeued: try again later; its output: {log.path}",
        )
    if progress.failure:
        raise JobEnded(
            f"Jupyter of job {job_id} can't be started: {progress.failure.text}",
            hint=f"{progress.failure.cure}\n  the job's output: {log.path}",
        )
    if progress.exit_code is not None:
        raise JobEnded(
            f"Jupyter of job {job_id} has ended with exit code {progress.exit_code}",
            hint=f"its output: {log.path}",
        )
    if ready is None or state.word == "COMPLETING":
        raise NotReady(
            f"job {job_id} is {state}, but Jupyter is not ready",
            hint=f"try again in a moment; its output: {log.path}",
        )
    check_node(ready, state, log)
    return ready


def check_node(ready: Ready, state: JobState, log: JobLog) -> None:
    """Raise `BadValue` when the job's output names another node than Slurm does."""
    if state.node and state.node != ready.node:
        raise BadValue(
            f"the job's output says that Jupyter is on {ready.node}, but Slurm has the job on"
            f" {state.node}: no way in is printed",
            hint=f"something wrote to the job's output: {log.path}",
        )
