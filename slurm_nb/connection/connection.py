"""How the laptop connects to a session that is ready."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from slurm_nb.connection.login import Login
from slurm_nb.connection.node import host_of
from slurm_nb.connection.tunnel import Tunnel, default_local_port, earlier_local_port, make_tunnel
from slurm_nb.errors import NotReady
from slurm_nb.files import user_name
from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import LOCAL, JobState
from slurm_nb.session.session import Session, option_of
from slurm_nb.session.store import Store


def tunnel_of(session: Session, ready: Ready, store: Store, login: Login) -> Tunnel:
    """Return the ssh command and URL of `session`. Raises `NotReady` if it has no token."""
    token, nonce = store.token(session), store.nonce(session)
    if token is None or nonce is None:
        raise NotReady(
            f"job {session.job_id} is running, but its token has not appeared in {store.folder}",
            hint="try again in a minute, because shared file systems can be late; if somebody"
            f" removed the token, cancel the session: slurm-nb cancel {session.job_id}",
        )
    return make_tunnel(
        replace(ready, node=host_of(session, ready, store)),
        user=user_name(),
        login=login,
        local_port=session.local_port or _local_port(session, nonce),
        token=None if session.auth == "password" else token,
        notebook=_notebook(session),
        here=session.cluster == LOCAL,
    )


def _local_port(session: Session, nonce: str) -> int:
    """Return the job's port, for a session of an older version the one that its ssh already has."""
    if session.submission is None and session.submitted_at is not None:
        return earlier_local_port(session.cluster, session.job_id)
    return default_local_port(nonce)


def _notebook(session: Session) -> str | None:
    """Return the notebook that the session opens, below Jupyter's root, if there is one."""
    notebook, folder = option_of(session, "open"), option_of(session, "notebook-dir")
    if notebook is None or folder is None or not Path(notebook).is_relative_to(folder):
        return None
    return str(Path(notebook).relative_to(folder))


@dataclass(frozen=True)
class Connection:
    """How the laptop connects to a session that is ready."""

    session: Session
    ready: Ready
    """The node, and the port or socket there."""
    state: JobState
    """The state of the job in Slurm, with its end in local time."""
    tunnel: Tunnel
    """The ssh command for the laptop, and the URL; the URL holds the token."""
    notices: tuple[str, ...]
    """Messages of the job for its user."""
