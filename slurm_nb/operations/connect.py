"""Connect to a session: wait until it is ready, or say why it is not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from slurm_nb.connection.connection import Connection, tunnel_of
from slurm_nb.connection.login import Login, find_login, saved_login
from slurm_nb.connection.readiness import check_node, is_of_earlier_run, require_ready
from slurm_nb.connection.wait import follow_until_ready
from slurm_nb.diagnosis.describe import stands_still
from slurm_nb.errors import NotReady, UserError
from slurm_nb.job.routes import RouteName
from slurm_nb.joblog.events import Ready
from slurm_nb.joblog.reader import JobLog
from slurm_nb.scheduler import scheduler
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.session.ending import judge
from slurm_nb.session.session import Session
from slurm_nb.session.settle import job_ended, settle
from slurm_nb.session.state_cache import JobStateCache
from slurm_nb.session.store import Store

# Output with another node than Slurm's may be from an earlier run: NFS is up to a minute late.
_NEW_RUN_S = 60.0
_RUNNING = JobState(Phase.RUNNING, "RUNNING")


def wait_until_ready(  # noqa: PLR0913  all but the first have defaults
    session: Session,
    *,
    login: Login | None = None,
    timeout_s: float | None = None,
    show: Callable[[JobState | None, float], None] = lambda *_: None,
    note: Callable[[str], None] = lambda _: None,
    store: Store | None = None,
) -> Connection:
    """Return when Jupyter is ready.

    login: the login node as the laptop reaches it, by default the session's. show: called often,
    with the job's state and the seconds waited. note: called with what the user should know
    meanwhile. store: the state directory, by default the user's.
    Raises `JobEnded`, or `NotReady` after `timeout_s`; the job keeps running then.
    """
    store = store or Store.of_user(os.environ)
    shared = JobStateCache(store, scheduler(session.cluster, store), session.cluster)
    log = store.log(session)
    began = time.monotonic()
    stale: Ready | None = None

    def ask(max_age_s: float) -> JobState:
        state = shared.state(session.job, max_age_s=max_age_s)
        return judge(store, session, state, time.time()).state

    while True:
        ready = follow_until_ready(
            log,
            ask=ask,
            show=show,
            timeout_s=timeout_s,
            stale=stale,
            began_at=began,
            silent=lambda state: note(_no_output(state, log)),
        )
        state = ready if isinstance(ready, JobState) else shared.ask([session.job])[session.job_id]
        verdict = judge(store, session, state, time.time())
        state = verdict.state
        if isinstance(ready, JobState) or state.phase is Phase.ENDED:
            verdict = replace(verdict, state=_how_ended(store, session, state))
            outcome = settle(store, session, verdict).outcome
            raise job_ended(store, session, outcome, before_ready=session.ready is None)
        if state.phase is Phase.PENDING or is_of_earlier_run(state, log):
            stale = ready  # from the run before the job was requeued
            continue
        if stale is None and state.node not in {None, ready.node}:
            with suppress(NotReady):  # the new run has no output yet, or another program wrote it
                follow_until_ready(
                    log,
                    ask=lambda _: _RUNNING,
                    show=show,
                    timeout_s=_NEW_RUN_S,
                    stale=ready,
                )
                continue
        check_node(ready, state, log)
        there = replace(session, ready=ready)
        with suppress(UserError):  # a full or read-only disk; the output still has it
            store.save(there)
        tunnel = tunnel_of(there, ready, store, login or _login_of(session))
        return Connection(there, ready, state, tunnel, _notices(there, state, log))


def _no_output(state: JobState, log: JobLog) -> str:
    return (
        f"the job has been running for two minutes without output: {state.node or 'its node'} may"
        f" have another file system at {log.path.parent} than this host. If so, set SLURM_NB_HOME"
        " to a directory that both share, and submit again"
    )


def _login_of(session: Session) -> Login:
    return saved_login(session) or find_login(os.environ)


def _how_ended(store: Store, session: Session, state: JobState) -> JobState:
    jobs = scheduler(session.cluster, store)
    return jobs.how_ended({session.job_id: state}, session.job)[session.job_id]


def _notices(session: Session, state: JobState, log: JobLog) -> tuple[str, ...]:
    """Return notices about the job's state, then those of the job."""
    return (*stands_still(state, session.job_id), *log.progress.notices)


def connect(
    session: Session,
    *,
    login: Login | None = None,
    local_port: int | None = None,
    route: RouteName | None = None,
    store: Store | None = None,
) -> Connection:
    """Return how to connect to a session now.

    login, store: see `wait_until_ready`. route: None for the session's. Raises `JobEnded`, or
    `NotReady` before Jupyter listens.
    """
    store = store or Store.of_user(os.environ)
    shared = JobStateCache(store, scheduler(session.cluster, store), session.cluster)
    state = shared.ask([session.job])[session.job_id]
    verdict = judge(store, session, state, time.time())
    state = verdict.state
    if state.phase is Phase.ENDED:
        verdict = replace(verdict, state=_how_ended(store, session, state))
    log = store.log(session)
    ready = require_ready(session, verdict, log, store)
    session = replace(session, ready=ready, local_port=local_port or session.local_port)
    tunnel = tunnel_of(session, ready, store, login or _login_of(session), route)
    return Connection(session, ready, state, tunnel, _notices(session, state, log))
