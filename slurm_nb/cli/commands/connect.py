"""slurm-nb connect"""

from __future__ import annotations

import sys

import click

from slurm_nb.cli.relay import hold
from slurm_nb.cli.sessions import UserContext, pass_user, session_argument
from slurm_nb.session.session import Session


@click.command("connect")
@session_argument
@pass_user
def command(user: UserContext, *, session: Session) -> None:
    """Carry a session through this ssh login, until Ctrl-C.

    The lines that `slurm-nb tunnel-cmd --route relay` prints run this command on
    the login node. It needs neither ssh to the compute node nor an open port.
    Ctrl-C ends the connection, not the session.
    """
    sys.exit(hold(session, user))
