"""From a session that is ready to what the user types and opens on the laptop."""

from __future__ import annotations

from dataclasses import dataclass, replace

from slurm_nb.connection.login import Login
from slurm_nb.connection.node import host_of
from slurm_nb.connection.tunnel import Tunnel, default_local_port, make_tunnel
from slurm_nb.errors import NotReady
from slurm_nb.files import user_name
from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import LOCAL, JobState
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store


def tunnel_of(session: Session, ready: Ready, store: Store, login: Login) -> Tunnel:
    """The tunnel command and URL of `session`; raises `NotReady` when its token is not there."""
    token = store.token(session)
    if token is None:
        raise NotReady(
            f"job {session.job_id} runs, but its token has not appeared in {store.folder}",
            hint="shared file systems can be a minute late: try again; if it was removed, there is"
            f" no way in any more: slurm-nb cancel {session.job_id}, and submit anew",
        )
    port = session.local_port or default_local_port(session.cluster, session.job_id)
    return make_tunnel(
        replace(ready, node=host_of(session, ready, store)),
        user=user_name(),
        login=login,
        local_port=port,
        token=None if session.auth == "password" else token,
        here=session.cluster == LOCAL,
    )


@dataclass(frozen=True)
class Connection:
    """How the laptop reaches a session that is ready."""

    session: Session
    ready: Ready
    """The node, and the port or socket there."""
    state: JobState
    """Of the job, as Slurm says it; with the local time at which it ends."""
    tunnel: Tunnel
    """The ssh command for the laptop, and the URL; the URL holds the token."""
    notices: tuple[str, ...]
    """What the job has to tell its user."""
