"""The option `--route` of the commands that print how to connect."""

from __future__ import annotations

import click

from slurm_nb.cli.config_options import refuse_locked
from slurm_nb.job.routes import ROUTES


def _allowed(ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        refuse_locked(ctx, "route", value, source="--route")
    return value


route_option = click.option(
    "--route",
    type=click.Choice(list(ROUTES)),
    callback=_allowed,
    help="Route to print. [default: the session's]",
)
