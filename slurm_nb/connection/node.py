"""The compute node, as the login node reaches it."""

from __future__ import annotations

from slurm_nb.joblog.events import Ready
from slurm_nb.joblog.nodes import is_node
from slurm_nb.scheduler import scheduler
from slurm_nb.scheduler.job import LOCAL
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store


def host_of(session: Session, ready: Ready, store: Store) -> str:
    """Return the first name of the node that this host can resolve, because ssh goes through it."""
    if session.cluster == LOCAL or ready.address or _resolves(ready.node):
        return ready.node
    for host in scheduler(session.cluster, store).hosts_of(session.job, ready.node):
        if is_node(host) and _resolves(host):
            return host
    return ready.node


def _resolves(host: str) -> bool:
    import socket  # noqa: PLC0415  few commands need it

    try:
        return bool(socket.getaddrinfo(host, 22))
    except (OSError, UnicodeError):
        return False
