"""Submit a job and save its session, without losing either on the way."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from slurm_nb.connection.login import Login, find_login
from slurm_nb.errors import SchedulerError, SlurmNbError, SubmissionUnknown, UserError
from slurm_nb.job import kit
from slurm_nb.job.resolve import python_of_node
from slurm_nb.job.saved_options import to_argv
from slurm_nb.job.spec import JobSpec, likely_too_small
from slurm_nb.operations import before_queue
from slurm_nb.operations.render import render_for
from slurm_nb.scheduler import scheduler
from slurm_nb.scheduler.job import LOCAL, Job, Scheduler
from slurm_nb.session.pending import PendingSubmission, adopt, begin, record
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from slurm_nb.times import likely_mistake


def submit(  # noqa: PLR0913  all but the first have defaults
    spec: JobSpec,
    *,
    template: str | None = None,
    login: Login | None = None,
    local_port: int | None = None,
    local: bool = False,
    notebook: Path | None = None,
    saved: Callable[[Session], None] = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
    store: Store | None = None,
) -> Session:
    """Submit a job and save its session; return when the job has its id.

    template: a file or a name, see docs/admin/templates.md. login: the login node as the laptop
    reaches it, by default the address of the current SSH connection. local: run on this machine,
    without Slurm. notebook: the absolute path of a file to open, in the notebook directory.
    saved: called with the session before a signal such as Ctrl-C can interrupt. note: called with
    messages that Slurm printed. store: the state directory, by default the user's. Raises
    `UserError`; `SchedulerError` if Slurm rejects the job; `SubmissionUnknown` if there may or may
    not be a job.
    """
    store = store or Store.of_user(os.environ)
    if template is not None and os.sep in template:
        template = os.path.abspath(template)
    submission = secrets.token_hex(16)
    script = render_for(submission, spec, template, store)
    for words in before_queue.check(
        spec,
        state_dir=store.folder,
        kit_dir=store.kits / kit.digest(),
        environ=os.environ,
        template=template,
    ):
        note(words)
    jobs = scheduler(LOCAL if local else "slurm", store)
    plan = _plan(
        spec,
        jobs.cluster(),
        template=template,
        login=login,
        local_port=local_port,
        notebook=notebook,
    )
    plan = replace(plan, submission=submission)
    if spec.time and (mistake := likely_mistake(spec.time)):
        note(mistake)
    if spec.mem and (small := likely_too_small(spec.mem)):
        note(small)
    pending = begin(store, plan, clusters=spec.clusters or "")
    beside: list[str] = []
    try:
        with _signals_wait():
            job = _hand_over(jobs, script, spec, pending, tell=beside.extend, say=note)
            session = _keep(store, pending, job, saved)
    except SubmissionUnknown as lost:
        note(f"{lost}; checking whether the job exists")
        return _keep(store, pending, jobs.recover(lost, cluster=plan.cluster), saved)
    for words in beside:
        note(words)
    return session


def _plan(  # noqa: PLR0913  all but two are by name
    spec: JobSpec,
    cluster: str,
    *,
    template: str | None,
    login: Login | None,
    local_port: int | None,
    notebook: Path | None,
) -> Session:
    """Return a session without its job."""
    reached = login or find_login(os.environ)
    return Session(
        job=Job("", cluster),
        login_host=str(reached),
        login_is_guess=reached.is_guess,
        local_port=local_port,
        auth=spec.auth,
        python=str(python_of_node(spec)),
        job_name=spec.job_name,
        submitted_at=int(time.time()),
        options=to_argv(
            spec,
            template=template,
            local=cluster == LOCAL,
            login=str(login) if login else None,
            local_port=local_port,
            notebook=notebook,
        ),
    )


def _record(pending: PendingSubmission, script: Path) -> None:
    """Save what slurm-nb is about to submit; it can find a local job by its processes."""
    if pending.session.cluster != LOCAL:
        record(pending, script)


def _hand_over(  # noqa: PLR0913  the last two are by name
    jobs: Scheduler,
    script: str,
    spec: JobSpec,
    pending: PendingSubmission,
    *,
    tell: Callable[[list[str]], None],
    say: Callable[[str], None],
) -> Job:
    """Submit the job; drop the record of a submission that the scheduler rejects."""
    cluster, before = pending.session.cluster, partial(_record, pending)
    try:
        return jobs.submit(script, spec, cluster=cluster, before=before, tell=tell, say=say)
    except SubmissionUnknown:
        raise
    except SchedulerError:
        pending.path.unlink(missing_ok=True)
        raise


def _keep(
    store: Store, pending: PendingSubmission, job: Job, saved: Callable[[Session], None]
) -> Session:
    """Save the session of `job`; until then keep the record of its submission."""
    try:
        session = adopt(store, pending, job)
    except SlurmNbError as error:
        cancel = "slurm-nb cancel" if job.cluster == LOCAL else "scancel"
        where = f" -M {job.cluster}" if job.needs_cluster_option else ""
        raise UserError(
            f"job {job.job_id} was submitted, but its session was not saved: {error}",
            hint="fix that and run slurm-nb list, which finds the job;"
            f" or cancel it with: {cancel}{where} {job.job_id}",
        ) from error
    saved(session)
    pending.path.unlink(missing_ok=True)
    return session


@contextmanager
def _signals_wait() -> Iterator[None]:
    r"""Delay Ctrl-C, Ctrl-\, hang-up and SIGTERM until the end.

    sbatch inherits this. So no signal comes between the job and its id, or before this program has
    printed the job's id.
    """
    signals = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
