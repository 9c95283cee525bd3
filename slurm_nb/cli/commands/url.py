"""slurm-nb url"""

from __future__ import annotations

import os

import click

from slurm_nb.cli.console import say_notices, slow_noted
from slurm_nb.cli.options import local_port_option, session_argument
from slurm_nb.connection.login import Login, find_login
from slurm_nb.operations.connect import connect
from slurm_nb.session.session import Session


@click.command("url")
@session_argument
@local_port_option
def command(*, session: Session, local_port: int | None) -> None:
    """Print the URL of a session, for the laptop's browser while the tunnel is up.

    It holds the token: who has it can run code as you.
    """
    login = Login.parse(session.login_host) if session.login_host else find_login(os.environ)
    with slow_noted():
        reached = connect(session, login=login, local_port=local_port)
    say_notices(reached.notices)
    click.echo(reached.tunnel.url)
