"""Options and arguments that commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from slurm_nb.connection.login import Login


def completed_by(name: str) -> Callable[[click.Context, click.Parameter, str], Any]:
    """Return the function of `completions` with this name, imported when a shell completes."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> object:
        from slurm_nb.cli import completions

        return getattr(completions, name)(ctx, param, incomplete)

    return complete


def _login(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Login | None:
    return Login.parse(value) if value is not None else None


def _local_port(_ctx: click.Context, _param: click.Parameter, value: int | None) -> int | None:
    if value is None:
        return None
    from slurm_nb.connection.tunnel import check_local_port

    return check_local_port(value)


last_option = click.option("--last", is_flag=True, help="Use the session submitted last.")
clusters_option = click.option(
    "-M",
    "--clusters",
    metavar="NAME",
    help="Cluster of the session, if a JOBID is on several.",
)
job_ids_argument = click.argument(
    "names", metavar="[JOBID]...", nargs=-1, shell_complete=completed_by("sessions")
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
local_port_option = click.option(
    "--local-port",
    type=int,
    metavar="PORT",
    callback=_local_port,
    help="Port on your laptop. [default: chosen for you, the same for the whole job]",
)
login_host_option = click.option(
    "--login-host",
    "login",
    metavar="HOST[:PORT]",
    callback=_login,
    help="Login node as ssh on your laptop knows it. Default: a guess from your current SSH"
    " connection.",
)
wait_timeout_option = click.option(
    "--wait-timeout",
    type=click.IntRange(min=0),
    metavar="SECONDS",
    help="Stop waiting after this time; the job keeps running.",
)
notify_option = click.option(
    "--notify", is_flag=True, help="Ring the terminal's bell when Jupyter is ready."
)
