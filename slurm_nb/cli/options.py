"""Options and arguments that commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from slurm_nb.connection.login import Login, find_login
from slurm_nb.connection.tunnel import check_local_port
from slurm_nb.errors import SlurmNbError
from slurm_nb.operations.lookup import find_last_session, find_session, newest_first
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store

_Function = TypeVar("_Function", bound=Callable[..., Any])


class UserContext:
    """The state directory and login host of a command's user, each found once, when needed."""

    @cached_property
    def store(self) -> Store:
        """The user's state directory, made if need be."""
        return Store.of_user(os.environ)

    @cached_property
    def _login(self) -> Login:
        return find_login(os.environ)

    def login_of(self, session: Session) -> Login:
        """Return the login host of `session`, else the one that the user came in by."""
        return Login.parse(session.login_host) if session.login_host else self._login


pass_user = click.make_pass_decorator(UserContext, ensure=True)
"""Pass the call's one `UserContext` as the first argument."""


def _login(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Login | None:
    return Login.parse(value) if value is not None else None


def _local_port(_ctx: click.Context, _param: click.Parameter, value: int | None) -> int | None:
    return check_local_port(value) if value is not None else None


def complete_session(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Ids of saved sessions that have not ended, the newest first; Slurm is not asked."""
    try:
        store = ctx.ensure_object(UserContext).store
        sessions = [each for each in store.all()[0] if store.outcome(each) is None]
    except (SlurmNbError, OSError):
        return []
    given = ctx.params.get(str(param.name)) or ()
    return [
        CompletionItem(session.job_id, help=_about(session))
        for session in newest_first(sessions)
        if session.job_id.startswith(incomplete) and session.job_id not in given
    ]


def _about(session: Session) -> str:
    where = f"on {session.ready.node}" if session.ready else "not seen ready yet"
    return f"{session.job_name or session.cluster} {where}"


def session_argument(function: _Function) -> _Function:
    """`JOBID`, which may be a name; `--last`; `-M`: `function` gets the `session` of them."""

    @click.argument("name", metavar="JOBID", required=False, shell_complete=complete_session)
    @last_option
    @clusters_option
    @pass_user
    @functools.wraps(function)
    def with_session(
        user: UserContext,
        /,
        *args: Any,  # noqa: ANN401  the command's own
        name: str | None,
        last: bool,
        clusters: str | None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        if last == (name is not None):
            raise click.UsageError("name one JOBID (or a session's name), or give --last")
        session = (
            find_session(name, cluster=clusters, store=user.store)
            if name is not None
            else find_last_session(user.store, cluster=clusters)
        )
        return function(*args, session=session, **kwargs)

    return with_session  # type: ignore[return-value]


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


last_option = click.option("--last", is_flag=True, help="The session that was submitted last.")
clusters_option = click.option(
    "-M",
    "--clusters",
    metavar="NAME",
    help="The cluster that is meant, where a JOBID is on more than one.",
)
job_ids_argument = click.argument(
    "names", metavar="[JOBID]...", nargs=-1, shell_complete=complete_session
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
