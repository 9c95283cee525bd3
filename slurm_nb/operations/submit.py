"""A job handed to Slurm and its session saved, such that neither is lost on the way."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from slurm_nb.connection.login import Login, find_login, login_addresses
from slurm_nb.errors import SchedulerError, SlurmNbError, SubmissionUnknown, UserError
from slurm_nb.job import kit
from slurm_nb.job.resolve import python_of_node
from slurm_nb.job.saved_options import to_argv
from slurm_nb.job.spec import JobSpec
from slurm_nb.operations import before_queue
from slurm_nb.scheduler import scheduler
from slurm_nb.scheduler.job import LOCAL
from slurm_nb.session.pending import record
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store


def render(spec: JobSpec, *, template: str | None = None) -> str:
    """The job script that `submit` hands to sbatch; its kit is installed. Raises `UserError`."""
    from slurm_nb.job import script  # noqa: PLC0415  jinja2 takes its time: only where it is needed

    store = Store.of_user(os.environ)
    if spec.auth == "password" and not store.password_path.exists():
        raise UserError("--auth password: there is no password", hint="set one: slurm-nb password")
    text = script.render(
        spec,
        state_dir=store.folder,
        template=template,
        login_addresses=login_addresses(os.environ),
    )
    kit.install(store.kits)
    return text


def submit(  # noqa: PLR0913  all but the first have defaults
    spec: JobSpec,
    *,
    template: str | None = None,
    login: Login | None = None,
    local_port: int | None = None,
    local: bool = False,
    saved: Callable[[Session], None] = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
) -> Session:
    """Submit a job and save its session; returns when the job has its id.

    template: a file or a name, see docs/site-admins.md. login: the login node as the laptop reaches
    it, by default the address that the user came in by. local: on this machine, without Slurm.
    saved: called with the session before a signal such as Ctrl-C can get between. note: called with
    words of Slurm's beside its answer. Raises `UserError`; `SchedulerError` when Slurm refuses;
    `SubmissionUnknown` when nobody knows whether there is a job.
    """
    store = Store.of_user(os.environ)
    if template is not None and os.sep in template:
        template = os.path.abspath(template)
    text = render(spec, template=template)
    for words in before_queue.check(
        spec,
        state_dir=store.folder,
        kit_dir=store.kits / kit.digest(),
        environ=os.environ,
        template=template,
    ):
        note(words)
    jobs = scheduler(LOCAL if local else "slurm")
    cluster = jobs.cluster()
    plan = Session(
        job_id="",
        cluster=cluster,
        login_host=str(login or find_login(os.environ)),
        local_port=local_port,
        auth=spec.auth,
        python=str(python_of_node(spec)),
        job_name=spec.job_name,
        submitted_at=int(time.time()),
        options=to_argv(
            spec,
            template=template,
            local=local,
            login=str(login) if login else None,
            local_port=local_port,
        ),
    )
    intent: Path | None = None

    def before(script: Path) -> None:
        nonlocal intent
        if not local:  # a local job is found again by its processes
            intent = record(store, script, plan, clusters=spec.clusters or "")

    def keep(job: Session) -> Session:
        session = replace(
            plan,
            job_id=job.job_id,
            cluster=job.cluster,
            other_cluster=job.other_cluster,
            script=job.script,
        )
        _save(store, session)
        saved(session)
        _forget(intent)
        return session

    beside: list[str] = []
    try:
        with _signals_wait():
            job = jobs.submit(
                text, spec, store, cluster=cluster, before=before, tell=beside.extend, say=note
            )
            session = keep(job)
        for words in beside:
            note(words)
        return session  # noqa: TRY300  what is lost is lost above
    except SubmissionUnknown as lost:
        note(f"{lost}; looking whether the job exists all the same")
        return keep(jobs.recover(lost, cluster=cluster))
    except SchedulerError:
        _forget(intent)  # it was refused
        raise


def _forget(intent: Path | None) -> None:
    if intent:
        intent.unlink(missing_ok=True)


def _save(store: Store, session: Session) -> None:
    try:
        store.save(session)
    except SlurmNbError as error:
        scancel = f"scancel -M {session.cluster}" if session.other_cluster else "scancel"
        cancel = "slurm-nb cancel" if session.cluster == LOCAL else scancel
        raise UserError(
            f"job {session.job_id} was submitted, but its session was not saved: {error}",
            hint="when that is mended, it is found by: slurm-nb list;"
            f" or cancel it with: {cancel} {session.job_id}",
        ) from error


@contextmanager
def _signals_wait() -> Iterator[None]:
    r"""Ctrl-C, Ctrl-\, hang-up and SIGTERM take effect at the end only.

    So sbatch, which inherits this, can't be cut off between the job and its id, nor this
    program before it has told the user of the job.
    """
    signals = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
