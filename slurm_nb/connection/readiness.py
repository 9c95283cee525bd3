"""Find out where Jupyter listens in a session, or why it does not."""

from __future__ import annotations

from slurm_nb.diagnosis.describe import describe
from slurm_nb.errors import NotReady, UserError
from slurm_nb.joblog.events import Ready
from slurm_nb.joblog.reader import JobLog
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.session.ending import Verdict
from slurm_nb.session.session import Session
from slurm_nb.session.settle import job_ended, settle
from slurm_nb.session.store import Store
from slurm_nb.times import seconds_since

# munge lets the clocks of the hosts differ by this much (munged(8), --max-ttl and the default TTL).
_CLOCKS_DIFFER_S = 300


def require_ready(session: Session, verdict: Verdict, log: JobLog, store: Store) -> Ready:
    """Return where Jupyter listens, from the job's output; remove the token of a job that ended.

    Raises `JobEnded`, or `NotReady` while the job waits or Jupyter starts.
    """
    job_id, state = session.job_id, verdict.state
    if state.phase is Phase.ENDED:
        raise job_ended(store, session, settle(store, session, verdict).outcome)
    if state.missing and state.id_reused:  # this does not prove the end of the job either
        raise NotReady(
            f"squeue does not show job {job_id}: {state.reason}",
            hint=f"show its status: slurm-nb status {job_id}",
        )
    if state.phase is Phase.PENDING:
        raise NotReady(
            f"job {job_id} is in the queue: {describe(state, job_id)}",
            hint=f"wait for it: slurm-nb wait {job_id}\ncancel it: slurm-nb cancel {job_id}",
        )
    progress = log.read()
    if log.problem:
        raise unreadable(log)
    ready = last_ready(session, log)
    if progress.exit_code is not None and state.phase is Phase.RUNNING:
        raise NotReady(
            f"Jupyter in job {job_id} has ended, and the job is {state}",
            hint=f"Slurm may requeue it; wait for it: slurm-nb wait {job_id}\noutput: {log.path}",
        )
    if progress.failure or progress.exit_code is not None:  # Slurm does not answer
        raise job_ended(store, session, settle(store, session, verdict).outcome)
    if ready is None or state.slurm_state == "COMPLETING" or is_of_earlier_run(state, log):
        hint = f"wait for it: slurm-nb wait {job_id}\noutput: {log.path}"
        if not progress.started and state.phase is Phase.RUNNING:
            node = state.node or "its node"
            hint += f"\nif it stays empty, {node} may have another file system there: set"
            hint += " SLURM_NB_HOME to a directory that both share"
        raise NotReady(f"job {job_id} is {state}, but Jupyter is not ready", hint=hint)
    check_node(ready, state, log)
    return ready


def unreadable(log: JobLog) -> NotReady:
    """Return the error that slurm-nb cannot read the job's output."""
    return NotReady(
        f"cannot read the output of job {log.job_id}: {log.problem}", hint=f"look at {log.path}"
    )


def last_ready(session: Session, log: JobLog) -> Ready | None:
    """Return the last address of Jupyter in the output read so far.

    If the output is gone, return the address that slurm-nb saved earlier.
    """
    return log.progress.ready or (None if log.progress.started else session.ready)


def is_of_earlier_run(state: JobState, log: JobLog) -> bool:
    """Return whether the output comes from an earlier run than the one that Slurm shows.

    After a requeue the output of the new run may be missing: it is in its prolog, or the file
    system is late.
    """
    if state.phase is not Phase.RUNNING or log.progress.began_at is None:
        return False
    late_s = seconds_since(state.start_time, log.progress.began_at)
    return late_s is not None and late_s < -_CLOCKS_DIFFER_S


def check_node(ready: Ready, state: JobState, log: JobLog) -> None:
    """Raise `UserError` if the job's output and Slurm name different nodes."""
    if state.node and state.node != ready.node:
        raise UserError(
            f"the job's output says that Jupyter is on {ready.node}, but according to Slurm the job"
            f" is on {state.node}; slurm-nb does not connect to it",
            hint=f"another program may have written to the job's output: {log.path}",
        )
