"""Make the ssh command and the URL for the laptop."""

from __future__ import annotations

import shlex
import zlib
from dataclasses import dataclass

from slurm_nb.connection.login import Login
from slurm_nb.errors import UserError
from slurm_nb.job.routes import ROUTES, Host, route_to
from slurm_nb.joblog.events import Ready

# "Bad port" list of the WHATWG Fetch standard (section 2.9, November 2026), above 1023.
BROWSER_REFUSED_PORTS = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566}
    | set(range(6665, 6670))
    | {6679, 6697, 10080}
)
# Above every refused port, below the range that Linux, macOS and Windows hand out themselves.
_FIRST_LOCAL_PORT = 12_000
_LOCAL_PORTS = 20_000

# Without the first, a busy local port leads the browser to whatever program holds it;
# the keepalives find a dead connection in 90 s (ssh_config(5), OpenSSH 9.2).
_SSH = [
    "ssh", "-N",
    "-o", "ExitOnForwardFailure=yes",
    "-o", "ServerAliveInterval=30",
]  # fmt: skip

# The laptop's end, and the URL's host. Not `localhost`: ssh continues if only one of 127.0.0.1
# and ::1 is free, and the browser may use the other, where another user on the laptop listens
# (seen with OpenSSH 9.2 and Chromium). And explicit, because
# GatewayPorts would open it to the network.
_HERE = "127.0.0.1"


@dataclass(frozen=True)
class Tunnel:
    """The command and the URL for the laptop."""

    command: str
    """One line for a POSIX shell."""
    local_port: int
    url: str
    """Contains the token."""


def check_local_port(port: int) -> int:
    """Return `port`. Raises `UserError` if browsers block it or it needs root."""
    if not 1024 <= port <= 65535:
        raise UserError(f"--local-port {port}: must be from 1024 to 65535", options=("local-port",))
    if port in BROWSER_REFUSED_PORTS:
        raise UserError(
            f"--local-port {port}: browsers block this port",
            hint="choose another one, or leave it out",
            options=("local-port",),
        )
    return port


def default_local_port(cluster: str, job_id: str) -> int:
    """Return a port that is always the same for this job, and different for the next one."""
    number = int(job_id.rpartition("-")[2])
    return _FIRST_LOCAL_PORT + (zlib.crc32(cluster.encode()) + number) % _LOCAL_PORTS


def make_tunnel(  # noqa: PLR0913  all of them are in the two lines
    ready: Ready, *, user: str, login: Login, local_port: int, token: str | None, here: bool = False
) -> Tunnel:
    """Return the command and URL for a session; `token` None: Jupyter asks for the password.

    here: the session runs on the login host, so ssh needs no second hop.
    """
    route = ROUTES["direct"] if here else route_to(ready.address)
    forward = f"{_HERE}:{local_port}:{_far_end(ready)}"
    words = route.ssh(forward, Host(user=user, name=login.host, port=login.port), ready.node)
    scheme = "https" if ready.fingerprint else "http"
    query = f"?token={token}" if token else ""
    url = f"{scheme}://{_HERE}:{local_port}{ready.path}{query}"
    return Tunnel(shlex.join([*_SSH, *words]), local_port, url)


def _far_end(ready: Ready) -> str:
    """Return the address that the last ssh server connects to.

    An address, not `localhost`: if that is ::1 first, another user of the node who listens on the
    same port of ::1 would receive the token. And not the node's name, which may belong to another
    of its networks.
    """
    return ready.socket or f"{ready.address or '127.0.0.1'}:{ready.port}"
