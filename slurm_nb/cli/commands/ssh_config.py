"""slurm-nb ssh-config"""

from __future__ import annotations

import click

from slurm_nb.cli.config_options import submit_context
from slurm_nb.cli.connection_views import login_note
from slurm_nb.cli.console import say, say_notices
from slurm_nb.cli.options import local_port_option, login_host_option
from slurm_nb.cli.sessions import UserContext, pass_user
from slurm_nb.connection.login import Login
from slurm_nb.connection.relay_end import user_end
from slurm_nb.connection.tunnel import local_forward


@click.command("ssh-config")
@click.option(
    "--login", "for_login", is_flag=True, help="For the login node: it carries your sessions."
)
@login_host_option
@local_port_option
@click.pass_context
@pass_user
def command(
    user: UserContext,
    ctx: click.Context,
    *,
    for_login: bool,
    login: Login | None,
    local_port: int | None,
) -> None:
    """Print lines for your laptop's ssh configuration.

    With --login, every login then carries the session of `slurm-nb connect` and
    `slurm-nb submit --connect`.
    """
    if not for_login:
        raise click.UsageError("add --login, which prints the lines for the login node")
    given = submit_context(ctx).params
    login = login or given["login"] or user.login
    end = user_end(user.store, local_port or given["local_port"])
    say("Put this at the beginning of ~/.ssh/config on your laptop. Then log in, and run")
    say("slurm-nb submit --connect, or slurm-nb connect. For a second login at the same time:")
    say(f"ssh -o ClearAllForwardings=yes {login.host}")
    click.echo(
        f"Host {login.host}\n"
        f"  LocalForward {local_forward(end.port, str(end.socket))}\n"
        "  ExitOnForwardFailure yes"
    )
    if guess := login_note(login):
        say_notices([guess])
