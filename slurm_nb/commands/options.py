"""Options and arguments that commands share."""

from __future__ import annotations

import os

import click
from click.shell_completion import CompletionItem

from slurm_nb.errors import SlurmNbError
from slurm_nb.session import Session, Store, check_job_id
from slurm_nb.tunnel import Login, check_local_port


def _job_id(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    return check_job_id(value)


def _job_ids(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(check_job_id(job_id) for job_id in value))


def _login(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Login | None:
    return Login.parse(value) if value is not None else None


def _local_port(_ctx: click.Context, _param: click.Parameter, value: int | None) -> int | None:
    return check_local_port(value) if value is not None else None


def _complete_job_id(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Ids of saved sessions, the newest first; Slurm is not asked."""
    try:
        store = Store.of_user(os.environ)
        sessions = [session for session in store.all()[0] if not _is_over(session, store)]
    except (SlurmNbError, OSError):
        return []
    given = ctx.params.get(str(param.name)) or ()
    sessions.sort(key=lambda session: int(session.job_id.rpartition("-")[2]), reverse=True)
    return [
        CompletionItem(session.job_id, help=f"{session.cluster} {_where(session)}")
        for session in sessions
        if session.job_id.startswith(incomplete) and session.job_id not in given
    ]


def _is_over(session: Session, store: Store) -> bool:
    """Whether its token is gone again, as `cancel` leaves it."""
    return session.ready is not None and store.token(session) is None


def _where(session: Session) -> str:
    return f"on {session.ready.node}" if session.ready else "not seen ready yet"


def complete_file(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The shell's own completion of files: with ours installed, it does none unasked."""
    return [CompletionItem(incomplete, type="file")]


def complete_folder(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The shell's own completion of directories."""
    return [CompletionItem(incomplete, type="dir")]


job_id_argument = click.argument(
    "job_id", metavar="JOBID", callback=_job_id, shell_complete=_complete_job_id
)
job_ids_argument = click.argument(
    "job_ids",
    metavar="[JOBID]...",
    nargs=-1,
    callback=_job_ids,
    shell_complete=_complete_job_id,
)
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
