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
from slurm_nb.commands.screen import answer_json, report, say, say_notices, slow_noted
from slurm_nb.connection import connect, find_login
from slurm_nb.scheduler import Phase, scheduler
from slurm_nb.session import Store
from slurm_nb.tunnel import Login
from slurm_nb.whereabouts import find_ready, follow


@click.command("tunnel-cmd")
@job_id_argument
@login_host_option
@local_port_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    job_id: str,
    login: Login | None,
    local_port: int | None,
    *,
    as_json: bool,
) -> None:
    """Print the ssh command for the laptop again.

    The command alone goes to stdout, the URL to stderr.
    """
    store = Store.of_user(os.environ)
    session = store.load(job_id)
    with slow_noted():
        state = scheduler(session.cluster).states([session])[job_id]
    log = follow(session, store)
    ready = find_ready(session, state, log, store)
    if session.login_host:
        login = login or Login.parse(session.login_host)
    elif login is None or local_port is None:  # sbatched by hand: submit has resolved nothing
        from slurm_nb.commands.configured import submit_context

        submit = submit_context(ctx).params
        login = login or submit["login"] or find_login(os.environ)
        local_port = local_port or submit["local_port"]
    session = replace(session, ready=ready, local_port=local_port or session.local_port)
    connection = connect(session, ready, store, login)
    if as_json:
        answer_json(report(session, state, connection=connection, login=login))
        return
    say_notices(log.progress.notices)
    click.echo(connection.command)
    say(f"While it runs, open on the laptop: {connection.url}")
    if ready.fingerprint:
        say(f"The SHA-256 fingerprint of its certificate must be {ready.fingerprint}")
    if state.phase is Phase.UNKNOWN:
        say(f"Whether job {job_id} still runs is not known: {state.reason}")
