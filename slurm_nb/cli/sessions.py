"""The user's sessions, for the commands: where they are, and which one is meant."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import click

from slurm_nb.cli.options import clusters_option, completed_by, last_option
from slurm_nb.connection.login import Login, find_login, saved_login
from slurm_nb.operations.listing import find_active_session
from slurm_nb.operations.lookup import find_last_session, find_session
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
    def login(self) -> Login:
        """The login host of the current SSH connection."""
        return find_login(os.environ)

    def login_of(self, session: Session) -> Login:
        """Return the login host of `session`, else that of the current SSH connection."""
        return saved_login(session) or self.login


pass_user = click.make_pass_decorator(UserContext, ensure=True)
"""Pass the call's one `UserContext` as the first argument."""


def session_argument(function: _Function) -> _Function:
    """Give a command `JOBID`, `--last` and `-M`, and pass it the `session` that they name.

    JOBID may be a job name. Without it the command uses the only active session.
    """

    @click.argument(
        "name",
        metavar="[JOBID]",
        required=False,
        shell_complete=completed_by("sessions"),
    )
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
