"""slurm-nb tunnel-cmd"""

from __future__ import annotations

import os
from dataclasses import replace

import click

from slurm_nb.commands.options import (
    job_id_argument,
    json_option,
    local_port_option,
    login_host_option,
)
from slurm_nb.commands.screen import answer_json, report, say, slow_noted
from slurm_nb.connection import connect, find_login
from slurm_nb.errors import JobEnded, NotReady
from slurm_nb.joblog import JobLog
from slurm_nb.ready import Ready
from slurm_nb.scheduler import JobState, Phase, scheduler
from slurm_nb.session import Session, Store
from slurm_nb.tunnel import Login


@click.command("tunnel-cmd")
@job_id_argument
@login_host_option
@local_port_option
@json_option
def command(job_id: str, login: Login | None, local_port: int | None, *, as_json: bool) -> None:
    """Print the ssh command for the laptop again.

    The command alone goes to stdout, the URL to stderr.
    """
    store = Store.of_user(os.environ)
    session = store.load(job_id)
    with slow_noted():
        state = scheduler(session.cluster).states([session])[job_id]
    ready = _ready(session, state, store)
    login = login or (Login.parse(session.login_host) if session.login_host else None)
    login = login or find_login(os.environ)
    session = replace(session, ready=ready, local_port=local_port or session.local_port)
    connection = connect(session, ready, store, login)
    if as_json:
        answer_json(report(session, state, connection=connection, login=login))
        return
    click.echo(connection.command)
    say(f"While it runs, open on the laptop: {connection.url}")
    if state.phase is Phase.UNKNOWN:
        say(f"Whether job {job_id} still runs is not known: {state.reason}")


def _ready(session: Session, state: JobState, store: Store) -> Ready:
    job_id = session.job_id
    if state.phase is Phase.ENDED:
        store.forget_secrets(session)
        raise JobEnded(f"job {job_id} has ended: {state}", hint="start another: slurm-nb submit")
    if state.phase is Phase.PENDING:
        raise NotReady(
            f"job {job_id} waits in the queue: {state}",
            hint=f"try again later, or cancel it: slurm-nb cancel {job_id}",
        )
    log = JobLog(store.log_path(job_id), cluster=session.cluster, job_id=job_id)
    progress = log.read()
    ready = progress.ready or (None if progress.started else session.ready)
    if progress.exit_code is not None and state.phase is Phase.RUNNING:
        raise NotReady(
            f"Jupyter of job {job_id} has ended, and the job is {state}",
            hint=f"it may come back, being requeued: try again later; its output: {log.path}",
        )
    if progress.exit_code is not None:
        raise JobEnded(
            f"Jupyter of job {job_id} has ended with exit code {progress.exit_code}",
            hint=f"its output: {log.path}",
        )
    if ready is None:
        raise NotReady(
            f"job {job_id} is {state}, but Jupyter is not ready yet",
            hint=f"try again in a moment; its output: {log.path}",
        )
    return ready
