"""slurm-nb connect"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from slurm_nb.cli.config_options import refuse_locked
from slurm_nb.cli.options import local_port_option
from slurm_nb.cli.relay import hold, with_slurm
from slurm_nb.cli.sessions import UserContext, pass_user, session_argument
from slurm_nb.session.session import Session


@click.command("connect")
@with_slurm
@session_argument
@click.option(
    "--socket", metavar="PATH", help="UNIX socket to listen on. [default: yours, always the same]"
)
@local_port_option
@click.pass_context
@pass_user
def command(
    user: UserContext,
    ctx: click.Context,
    *,
    session: Session,
    socket: str | None,
    local_port: int | None,
) -> None:
    """Carry a session through this ssh login, until Ctrl-C.

    The line of `slurm-nb tunnel-cmd --route relay` runs this command on the login
    node. It needs neither ssh to the compute node nor an open port. Ctrl-C ends
    the connection, not the session.
    """
    refuse_locked(ctx, "route", "relay", source="slurm-nb connect")
    path = Path(os.path.abspath(socket)) if socket is not None else None
    sys.exit(hold(session, user, socket=path, local_port=local_port))
