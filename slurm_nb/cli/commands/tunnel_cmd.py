"""slurm-nb tunnel-cmd"""

from __future__ import annotations

import click

from slurm_nb.cli.connection_views import login_note, report, server_note
from slurm_nb.cli.console import answer_json, say, say_notices, slow_noted
from slurm_nb.cli.options import json_option, local_port_option, login_host_option
from slurm_nb.cli.route_option import route_option
from slurm_nb.cli.sessions import UserContext, pass_user, session_argument
from slurm_nb.connection.login import Login
from slurm_nb.job.routes import RouteName
from slurm_nb.operations.connect import connect
from slurm_nb.scheduler.job import Phase
from slurm_nb.session.session import Session


@click.command("tunnel-cmd")
@session_argument
@login_host_option
@local_port_option
@route_option
@json_option
@click.pass_context
@pass_user
def command(
    user: UserContext,
    ctx: click.Context,
    *,
    session: Session,
    login: Login | None,
    local_port: int | None,
    route: RouteName | None,
    as_json: bool,
) -> None:
    """Print the ssh command for your laptop.

    Only the command goes to stdout; the URL goes to stderr.
    """
    by_hand = not session.login_host  # submitted with sbatch, so submit resolved nothing
    if by_hand and (login is None or local_port is None):
        from slurm_nb.cli.config_options import submit_context

        submit = submit_context(ctx).params
        login = login or submit["login"]
        local_port = local_port or submit["local_port"]
    login = login or user.login_of(session)
    with slow_noted():
        reached = connect(
            session, login=login, local_port=local_port, route=route, store=user.store
        )
    tunnel, state = reached.tunnel, reached.state
    if as_json:
        answer_json(report(reached.session, state, tunnel=tunnel, login=login))
        return
    say_notices(reached.notices)
    click.echo(tunnel.command)
    if guess := login_note(login):
        say_notices([guess])
    when = "When it says so" if tunnel.route == "relay" else "While it runs"
    say(f"{when}, open in your laptop's browser: {tunnel.url}")
    if server := server_note(tunnel):
        say(server)
    if reached.ready.fingerprint:
        say(f"The certificate's SHA-256 fingerprint must be {reached.ready.fingerprint}")
    if state.phase is Phase.UNKNOWN:
        doubt = state.reason if state.missing else f"Slurm does not respond: {state.reason}"
        say(f"Job {session.job_id} may have ended; {doubt}")
