"""How the laptop connects to a session that is ready."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from slurm_nb.connection.login import Login
from slurm_nb.connection.node import host_of
from slurm_nb.connection.program import program
from slurm_nb.connection.relay_end import holder, own_end, user_end
from slurm_nb.connection.tunnel import (
    Relay,
    Tunnel,
    default_local_port,
    earlier_local_port,
    make_tunnel,
)
from slurm_nb.errors import NotReady, UserError
from slurm_nb.files import user_name
from slurm_nb.job.routes import RouteName, route_to
from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import LOCAL, JobState
from slurm_nb.session.session import Session, option_of
from slurm_nb.session.store import Store


def tunnel_of(
    session: Session,
    ready: Ready,
    store: Store,
    login: Login,
    route: RouteName | None = None,
) -> Tunnel:
    """Return the ssh command and URL of `session`; route: the user's choice.

    Raises `NotReady` if it has no token, and `UserError` if the route does not lead there.
    """
    token = store.token(session)
    secret = session.submission or store.job_submission(session) or store.nonce(session)
    if token is None or secret is None:
        raise NotReady(
            f"job {session.job_id} is running, but its token has not appeared in {store.folder}",
            hint="try again in a minute, because shared file systems can be late; if somebody"
            f" removed the token, cancel the session: slurm-nb cancel {session.job_id}",
        )
    route = _route_of(session, ready, route)
    local_port, relay = session.local_port or _local_port(session, secret), None
    if route == "relay":
        local_port, relay = relay_of(session, store)
    return make_tunnel(
        replace(ready, node=host_of(session, ready, store)),
        user=user_name(),
        login=login,
        local_port=local_port,
        token=None if session.auth == "password" else token,
        notebook=_notebook(session),
        route=route,
        relay=relay,
    )


def _local_port(session: Session, secret: str) -> int:
    """Return the job's port, for a session of an older version the one that its ssh already has."""
    if session.submission is None and session.submitted_at is not None:
        return earlier_local_port(session.cluster, session.job_id)
    return default_local_port(secret)


def _route_of(session: Session, ready: Ready, asked: RouteName | None) -> RouteName:
    """Return the route to a session. Raises `UserError` if `asked` does not lead there."""
    job_id = session.job_id
    if session.cluster == LOCAL:
        if asked == "relay":
            raise UserError(
                f"session {job_id} runs on this machine, without Slurm: it needs no relay",
                hint=f"slurm-nb tunnel-cmd {job_id}",
            )
        return "direct"  # ssh needs no second hop
    route = route_to(ready.address, saved=option_of(session, "route"), asked=asked)
    if ready.fingerprint and route == "relay":
        raise UserError(
            f"session {job_id} uses --tls, which the relay cannot carry",
            hint=f"slurm-nb tunnel-cmd --route direct {job_id}",
        )
    return route


def relay_of(session: Session, store: Store) -> tuple[int, Relay]:
    """Return the laptop's port and the login node's part of a relay to `session`.

    They are the user's, unless another session's relay has it now.
    """
    words = [*program(store.folder), "connect", session.job_id]
    if session.job.needs_cluster_option:
        words += ["--clusters", session.cluster]
    if holder(store) not in {None, session.job_id}:
        end = own_end(store, session)
        words += ["--socket", str(end.socket), "--local-port", str(end.port)]
    else:
        end = user_end(store, session.local_port)
        if session.local_port:
            words += ["--local-port", str(end.port)]
    return end.port, Relay(str(end.socket), tuple(words))


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
