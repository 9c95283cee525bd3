"""Options and arguments that commands share."""

from __future__ import annotations

import click

from slurm_nb.session import check_job_id
from slurm_nb.tunnel import Login, check_local_port


def _job_id(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    return check_job_id(value)


def _job_ids(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(check_job_id(job_id) for job_id in value))


def _login(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Login | None:
    return Login.parse(value) if value is not None else None


def _local_port(_ctx: click.Context, _param: click.Parameter, value: int | None) -> int | None:
    return check_local_port(value) if value is not None else None


job_id_argument = click.argument("job_id", metavar="JOBID", callback=_job_id)
job_ids_argument = click.argument("job_ids", metavar="[JOBID]...", nargs=-1, callback=_job_ids)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
local_port_option = click.option(
    "--local-port",
    type=int,
    metavar="PORT",
    callback=_local_port,
    help="Port on your laptop. Default: one that is the same for this job each time.",
)
login_host_option = click.option(
    "--login-host",
    "login",
    metavar="HOST[:PORT]",
    callback=_login,
    help="Login node as your laptop reaches it. Default: the address that you came in by.",
)
