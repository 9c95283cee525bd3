"""From a session that is ready to what the user types and opens on the laptop."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping

from slurm_nb.errors import BadValue, NotReady
from slurm_nb.files import user_name
from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import LOCAL
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from slurm_nb.tunnel import Connection, Login, connection, default_local_port


def connect(session: Session, ready: Ready, store: Store, login: Login) -> Connection:
    """The tunnel command and URL of `session`; raises `NotReady` when its token is not there."""
    token = store.token(session)
    if token is None:
        raise NotReady(
            f"job {session.job_id} runs, but its token has not appeared in {store.folder}",
            hint="shared file systems can be a minute late: try again; if it was removed, there is"
            f" no way in any more: slurm-nb cancel {session.job_id}, and submit anew",
        )
    port = session.local_port or default_local_port(session.cluster, session.job_id)
    return connection(
        ready,
        user=user_name(),
        login=login,
        local_port=port,
        token=None if session.auth == "password" else token,
        here=session.cluster == LOCAL,
    )


def find_login(environ: Mapping[str, str]) -> Login:
    """This host as the laptop reaches it: the address it came in by, else its full name.

    SSH_CONNECTION is `CLIENT-IP CLIENT-PORT SERVER-IP SERVER-PORT` (ssh(1), ENVIRONMENT).
    """
    match environ.get("SSH_CONNECTION", "").split():
        case [_, _, address, port]:
            with contextlib.suppress(BadValue):  # sshd says UNKNOWN of what is no TCP
                return Login.parse(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
    name = socket.getfqdn()
    return Login(socket.gethostname() if name.startswith("localhost") else name)
