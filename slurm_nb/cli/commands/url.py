"""slurm-nb url"""

from __future__ import annotations

import click

from slurm_nb.cli.connection_views import report, server_note
from slurm_nb.cli.console import answer_json, say, say_notices, slow_noted
from slurm_nb.cli.options import json_option, local_port_option
from slurm_nb.cli.route_option import route_option
from slurm_nb.cli.sessions import UserContext, pass_user, session_argument
from slurm_nb.job.routes import RouteName
from slurm_nb.operations.connect import connect
from slurm_nb.session.session import Session


@click.command("url")
@session_argument
@local_port_option
@route_option
@json_option
@pass_user
def command(
    user: UserContext,
    *,
    session: Session,
    local_port: int | None,
    route: RouteName | None,
    as_json: bool,
) -> None:
    """Print the URL for your laptop's browser and for VS Code.

    It works while the ssh command runs. It contains the token: anyone who has it
    can run code as you.
    """
    login = user.login_of(session)
    with slow_noted():
        reached = connect(
            session, login=login, local_port=local_port, route=route, store=user.store
        )
    if as_json:
        answer_json(report(reached.session, reached.state, tunnel=reached.tunnel, login=login))
        return
    say_notices(reached.notices)
    click.echo(reached.tunnel.url)
    if server := server_note(reached.tunnel):
        say(server)
