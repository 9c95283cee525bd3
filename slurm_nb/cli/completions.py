"""Completion of values that Slurm knows: partitions, accounts, QOS."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from slurm_nb.scheduler.accounts import Access, find_access

_Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
# A shell that completes must not hang while the controller does.
_TIMEOUT_S = 3.0


def _completion(names: Callable[[Access], Iterable[str]]) -> _Complete:
    def complete(
        _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found = names(find_access(timeout_s=_TIMEOUT_S))
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]

    return complete


complete_partition = _completion(lambda access: [each.name for each in access.partitions])
complete_account = _completion(lambda access: access.accounts)
complete_qos = _completion(lambda access: access.qualities)
