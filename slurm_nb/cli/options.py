"""Options and arguments that commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from slurm_nb.connection.login import Login, find_login, saved_login
from slurm_nb.connection.tunnel import check_local_port
from slurm_nb.errors import SlurmNbError
from slurm_nb.operations.listing import find_active_session
from slurm_nb.operations.lookup import find_last_session, find_session, newest_first
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store

_Function = TypeVar("_Function", bound=Callable[..., Any])


class UserContext:
    """The user's state directory and login host, each determined once, when needed."""

    @cached_property
    def store(self) -> Store:
        """The user's state directory, created if it does not exist."""
        return Store.of_user(os.environ)

    @cached_property
    def _login(self) -> Login:
        return find_login(os.environ)

    def login_of(self, session: Session) -> Login:
        """Return the login host of `session`, else that of the current SSH connection."""
        return saved_login(session) or self._login


pass_user = click.make_pass_decorator(UserContext, ensure=True)
"""Pass the call's one `UserContext` as the first argument."""


def _login(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Login | None:
    return Login.parse(value) if value is not None else None


def _local_port(_ctx: click.Context, _param: click.Parameter, value: int | None) -> int | None:
    return check_local_port(value) if value is not None else None


def complete_session(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the ids of active sessions, the newest first, without querying Slurm."""
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
    """Return what slurm-nb saved about a session, which may have become ready since."""
    where = f" on {session.ready.node}" if session.ready else ""
    return f"{session.job_name or session.cluster}{where}"


def session_argument(function: _Function) -> _Function:
    """Give a command `JOBID`, `--last` and `-M`, and pass it the `session` that they name.

    JOBID may be a session's name. Without it the command uses the only active session.
    """

    @click.argument("name", metavar="[JOBID]", required=False, shell_complete=complete_session)
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
        if last and name is not None:
            raise click.UsageError("use either JOBID or --last")
        if name is not None:
            session = find_session(name, cluster=clusters, store=user.store)
        elif last:
            session = find_last_session(user.store, cluster=clusters)
        else:
            session = find_active_session(user.store, cluster=clusters)
        return function(*args, session=session, **kwargs)

    return with_session  # type: ignore[return-value]


def complete_file(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return that the shell completes files here."""
    return [CompletionItem(incomplete, type="file")]


def complete_folder(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return that the shell completes directories here."""
    return [CompletionItem(incomplete, type="dir")]


last_option = click.option("--last", is_flag=True, help="Use the session submitted last.")
clusters_option = click.option(
    "-M",
    "--clusters",
    metavar="NAME",
    help="Cluster of the session, if a JOBID is on several.",
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
    help="Port on your laptop. [default: fixed for each job]",
)
login_host_option = click.option(
    "--login-host",
    "login",
    metavar="HOST[:PORT]",
    callback=_login,
    help="Login node as ssh on your laptop knows it. Default: a guess from your current SSH"
    " connection.",
)
