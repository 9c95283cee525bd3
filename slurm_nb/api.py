"""Sessions from Python: what the commands do, without their words.

    from pathlib import Path
    from slurm_nb import JobSpec, await_way_in, submit
    session = submit(JobSpec(notebook_dir=Path.home(), time="2:00:00", account="project"))
    way_in = await_way_in(session)
    print(way_in.connection.command, way_in.connection.url)

Everything raises `slurm_nb.errors.SlurmNbError`, whose text says what failed and whose `hint` what
to do next. Files of configuration are the commands' business: a `JobSpec` holds what it is given.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby

from slurm_nb.connection import connect, find_login
from slurm_nb.errors import AnswerLost, BadValue, SlurmNbError
from slurm_nb.places import python_of_node
from slurm_nb.ready import Ready
from slurm_nb.scheduler import LOCAL, JobState, Phase, Scheduler, scheduler
from slurm_nb.session import Session, Store
from slurm_nb.spec import JobSpec
from slurm_nb.tunnel import Connection, Login
from slurm_nb.wait import wait_until_ready
from slurm_nb.whereabouts import check_node, find_ready, follow

# Seconds between looks whether a cancelled job is gone: KillWait is 30 s by default
# (slurm.conf(5)), and most jobs go at once.
_LOOK_AFTER_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0)


@dataclass(frozen=True)
class WayIn:
    """How the laptop reaches a session that is ready."""

    session: Session
    ready: Ready
    """The node, and the port or socket there."""
    state: JobState
    """Of the job, as Slurm says it; with the local time at which it ends."""
    connection: Connection
    """The ssh command for the laptop, and the URL; the URL holds the token."""
    notices: tuple[str, ...]
    """What the job has to tell its user."""


def render(spec: JobSpec, *, template: str | None = None) -> str:
    """The job script that `submit` hands to sbatch. Raises `BadValue`."""
    from slurm_nb import script  # noqa: PLC0415  jinja2 takes its time: only where it is needed

    store = Store.of_user(os.environ)
    if spec.auth == "password" and not store.password_path.exists():
        raise BadValue("--auth password: there is no password", hint="set one: slurm-nb password")
    return script.render(spec, state_dir=store.folder, template=template)


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
    words of Slurm's beside its answer. Raises `BadValue`; `SchedulerError` when Slurm refuses;
    `AnswerLost` when nobody knows whether there is a job.
    """
    store = Store.of_user(os.environ)
    text = render(spec, template=template)
    jobs = scheduler(LOCAL if local else "slurm")
    login = login or find_login(os.environ)
    cluster = jobs.cluster()

    def keep(session: Session) -> Session:
        session = replace(
            session,
            login_host=str(login),
            local_port=local_port,
            auth=spec.auth,
            python=str(python_of_node(spec)),
        )
        _save(store, session)
        saved(session)
        return session

    beside: list[str] = []
    try:
        with _signals_wait():
            session = keep(jobs.submit(text, spec, store, cluster=cluster, tell=beside.extend))
        for words in beside:
            note(words)
        return session  # noqa: TRY300  what is lost is lost above
    except AnswerLost as lost:
        note(f"{lost}; looking whether the job exists all the same")
        return keep(jobs.recover(lost, cluster=cluster))


def await_way_in(
    session: Session,
    *,
    timeout_s: float | None = None,
    show: Callable[[JobState | None, float], None] = lambda *_: None,
) -> WayIn:
    """Return when Jupyter is ready.

    show: called often, with the job's state and the seconds waited. Raises `JobEnded`, or
    `NotReady` after `timeout_s`: the job lives on then.
    """
    store = Store.of_user(os.environ)
    jobs = scheduler(session.cluster)
    log = follow(session, store)
    ready = wait_until_ready(
        log,
        ask=lambda: jobs.states([session])[session.job_id],
        show=show,
        timeout_s=timeout_s,
    )
    session = replace(session, ready=ready)
    store.save(session)
    login = Login.parse(session.login_host) if session.login_host else find_login(os.environ)
    connection = connect(session, ready, store, login)
    state = jobs.states([session])[session.job_id]
    check_node(ready, state, log)
    return WayIn(session, ready, state, connection, log.progress.notices)


def find_session(job_id: str) -> Session:
    """The session of a job; raises `BadValue` when there is none, or it is not to be trusted."""
    return Store.of_user(os.environ).load(job_id)


def find_way_in(session: Session, *, login: Login, local_port: int | None = None) -> WayIn:
    """The way into a session now. Raises `JobEnded`, or `NotReady` before Jupyter listens."""
    store = Store.of_user(os.environ)
    state = scheduler(session.cluster).states([session])[session.job_id]
    log = follow(session, store)
    ready = find_ready(session, state, log, store)
    session = replace(session, ready=ready, local_port=local_port or session.local_port)
    connection = connect(session, ready, store, login)
    return WayIn(session, ready, state, connection, log.progress.notices)


@dataclass(frozen=True)
class Cancelled:
    """What became of a session that was to be cancelled."""

    session: Session
    state: JobState | None
    """None once Slurm has been asked to end it, and it has not done so within a minute."""
    already: bool = False
    """It had ended before."""
    error: SlurmNbError | None = None
    """Why it could not be cancelled."""


def cancel(sessions: Iterable[Session]) -> Iterator[Cancelled]:
    """Cancel sessions and remove their secrets; each is told of when it is known to be over."""
    ordered = sorted(sessions, key=lambda session: session.cluster)
    for cluster, group in groupby(ordered, key=lambda session: session.cluster):
        yield from _cancel(scheduler(cluster), list(group), Store.of_user(os.environ))


def _cancel(jobs: Scheduler, sessions: list[Session], store: Store) -> Iterator[Cancelled]:
    lasting = []
    states = jobs.states(sessions)
    for session in sessions:
        state = states[session.job_id]
        if state.phase is Phase.ENDED:
            if not state.foreign:
                store.forget_secrets(session)
            yield Cancelled(session, state, already=True)
            continue
        try:
            jobs.cancel(session)
            lasting.append(session)
        except SlurmNbError as error:
            yield Cancelled(session, state, error=error)
    for pause_s in (0.0, *_LOOK_AFTER_S):
        if not lasting:
            return
        time.sleep(pause_s)
        states = jobs.states(lasting)
        for session in lasting:
            if states[session.job_id].phase is Phase.ENDED:
                store.forget_secrets(session)
                yield Cancelled(session, states[session.job_id])
        lasting = [each for each in lasting if states[each.job_id].phase is not Phase.ENDED]
    yield from (Cancelled(session, None) for session in lasting)


def _save(store: Store, session: Session) -> None:
    try:
        store.save(session)
    except SlurmNbError as error:
        scancel = f"scancel -M {session.cluster}" if session.other_cluster else "scancel"
        cancel = "slurm-nb cancel" if session.cluster == LOCAL else scancel
        raise BadValue(
            f"job {session.job_id} was submitted, but its session was not saved: {error}",
            hint=f"slurm-nb can't find it again; cancel it with: {cancel} {session.job_id}",
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
