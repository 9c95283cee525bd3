"""slurm-nb url"""

from __future__ import annotations

import click

from slurm_nb.cli.console import say_notices, slow_noted
from slurm_nb.cli.options import UserContext, local_port_option, pass_user, session_argument
from slurm_nb.operations.connect import connect
from slurm_nb.session.session import Session


@click.command("url")
@session_argument
@local_port_option
@pass_user
def command(user: UserContext, *, session: Session, local_port: int | None) -> None:
    """Print the URL of a session, for the laptop's browser while the tunnel is up.

    It holds the token: who has it can run code as you.
    """
    with slow_noted():
        reached = connect(session, local_port=local_port, store=user.store)
    say_notices(reached.notices)
    click.echo(reached.tunnel.url)
