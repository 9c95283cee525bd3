"""Completion in the shell: sessions, files, and the names that Slurm knows.

Options refer to these functions by name (`options.completed_by`), so that only a shell that
completes imports this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from slurm_nb.cli.sessions import UserContext
from slurm_nb.diagnosis.outcome import is_proven
from slurm_nb.errors import SlurmNbError
from slurm_nb.operations.lookup import newest_first
from slurm_nb.scheduler.accounts import Access, find_access
from slurm_nb.session.session import Session

_Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
# A shell that completes must not hang while the controller does.
_TIMEOUT_S = 3.0


def sessions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the ids of active sessions, the newest first, without querying Slurm."""
    try:
        store = ctx.ensure_object(UserContext).store
        active = [each for each in store.all()[0] if not is_proven(store.outcome(each))]
    except (SlurmNbError, OSError):
        return []
    given = ctx.params.get(str(param.name)) or ()
    return [
        CompletionItem(session.job_id, help=_about(session))
        for session in newest_first(active)
        if session.job_id.startswith(incomplete) and session.job_id not in given
    ]


def _about(session: Session) -> str:
    """Return what slurm-nb saved about a session, which may have become ready since."""
    where = f" on {session.ready.node}" if session.ready else ""
    return f"{session.job_name or session.cluster}{where}"


def files(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return that the shell completes files here."""
    return [CompletionItem(incomplete, type="file")]


def folders(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return that the shell completes directories here."""
    return [CompletionItem(incomplete, type="dir")]


def _completion(names: Callable[[Access], Iterable[str]]) -> _Complete:
    def complete(
        _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found = names(find_access(timeout_s=_TIMEOUT_S))
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]

    return complete


partitions = _completion(lambda access: [each.name for each in access.partitions])
accounts = _completion(lambda access: access.accounts)
qos = _completion(lambda access: access.qualities)
