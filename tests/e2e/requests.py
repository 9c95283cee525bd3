"""The requests to slurmctld, by its own count (sdiag(1))."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.cluster import Cluster
from tests.cluster.users import ALICE, User

_LINE = re.compile(r"^\s*(\w+)\s*\(\s*\d+\)\s+count:(\d+)", re.MULTILINE)
# The cluster's servers, and root, who runs sdiag, do not send these.
_OF_QUESTIONS = re.compile(r"REQUEST_(?:JOB_\w*INFO\w*|PARTITION_INFO|FED_INFO|SUBMIT\w*|KILL\w*)")


@dataclass(frozen=True)
class Requests:
    """Requests that slurmctld has taken since its counters were reset."""

    of_user: int
    by_type: Mapping[str, int]
    """Those that questions about jobs send: `{"REQUEST_FED_INFO": 1}`."""

    def __str__(self) -> str:
        types = ", ".join(f"{count} {name}" for name, count in self.by_type.items())
        return f"{self.of_user} requests ({types})"


def count_anew(cluster: Cluster) -> None:
    """Reset the counters."""
    cluster.login.run(["sdiag", "--reset"])


def count(cluster: Cluster, user: User = ALICE) -> Requests:
    """Return the counts until now."""
    text = cluster.login.run(["sdiag"]).stdout
    by_type = text.partition("by message type")[2].partition("\n\n")[0]
    by_user = text.partition("by user")[2].partition("\n\n")[0]
    users = {name: int(number) for name, number in _LINE.findall(by_user)}
    types = {name: int(number) for name, number in _LINE.findall(by_type)}
    return Requests(
        users.get(user.name, 0),
        {name: number for name, number in types.items() if _OF_QUESTIONS.fullmatch(name)},
    )
