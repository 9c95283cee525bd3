"""Make the ssh command and the URL for the laptop."""

from __future__ import annotations

import shlex
import zlib
from dataclasses import dataclass
from urllib.parse import quote

from slurm_nb.connection.login import Login
from slurm_nb.errors import UserError
from slurm_nb.job.routes import ROUTES, Host, RouteName, Target, route_to
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
    """The page to open in the browser. Contains the token."""
    server_url: str
    """The address of the server, for VS Code: `url`, unless that is a notebook's."""
    route: RouteName
    """Where the command leads through."""


@dataclass(frozen=True)
class Relay:
    """The command that carries a session on the login node, and its socket there."""

    socket: str
    command: tuple[str, ...]


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


def default_local_port(secret: str) -> int:
    """Return the local port of the job with this secret, always the same.

    It is the session's submission, or the nonce of a job submitted by hand. Job ids are public, so
    another user of the laptop could take a port that follows from one. The port gives away 14 of
    the secret's 128 bits.
    """
    return _FIRST_LOCAL_PORT + zlib.crc32(secret.encode()) % _LOCAL_PORTS


def earlier_local_port(cluster: str, job_id: str) -> int:
    """Return the local port of a job that an older version submitted."""
    number = int(job_id.rpartition("-")[2])
    return _FIRST_LOCAL_PORT + (zlib.crc32(cluster.encode()) + number) % _LOCAL_PORTS


def make_tunnel(  # noqa: PLR0913  all of them are in the two lines
    ready: Ready,
    *,
    user: str,
    login: Login,
    local_port: int,
    token: str | None,
    notebook: str | None = None,
    route: RouteName | None = None,
    relay: Relay | None = None,
) -> Tunnel:
    """Return the command and URL for a session; `token` None: Jupyter asks for the password.

    notebook: the path of a notebook to open, below Jupyter's root. route: None for that of the
    server's address. relay: needed for the relay route.
    """
    route = "relay" if relay else route or route_to(ready.address)
    target = Target(
        forward=f"{_HERE}:{local_port}:{relay.socket if relay else far_end(ready)}",
        login=Host(user=user, name=login.host, port=login.port),
        node=ready.node,
        command=relay.command if relay else (),
    )
    origin = f"{'https' if ready.fingerprint else 'http'}://{_HERE}:{local_port}"
    query = f"?token={token}" if token else ""
    # Jupyter redirects a browser from its root to its page; VS Code needs the root.
    server_url = f"{origin}{ready.path.rpartition('/')[0]}/{query}"
    url = f"{origin}{_page(ready.path, notebook)}{query}" if notebook else server_url
    return Tunnel(_line(route, target), local_port, url, server_url, route)


def relay_line(relay: Relay, *, user: str, login: Login, local_port: int) -> str:
    """Return the command for a relay."""
    host = Host(user=user, name=login.host, port=login.port)
    forward = f"{_HERE}:{local_port}:{relay.socket}"
    target = Target(forward=forward, login=host, node="", command=relay.command)
    return _line("relay", target)


def local_forward(local_port: int, socket: str) -> str:
    """Return the value of LocalForward for a relay (ssh_config(5))."""
    return f"{_HERE}:{local_port} {shlex.quote(socket)}"


def _line(route: RouteName, target: Target) -> str:
    """Return one line for a POSIX shell."""
    return shlex.join(["ssh", *ROUTES[route].ssh(target)])


def _page(path: str, notebook: str) -> str:
    """Return the path of a notebook's page, for `/tree` or `/lab`."""
    tree = path.removesuffix("/tree") + "/tree"  # Lab has its tree in /lab
    return f"{tree}/{quote(notebook)}"


def far_end(ready: Ready) -> str:
    """Return the port or socket that the last ssh server connects to: `127.0.0.1:40123`.

    An address, not `localhost`: if that is ::1 first, another user of the node who listens on the
    same port of ::1 would receive the token. And not the node's name, which may belong to another
    of its networks.
    """
    return ready.socket or f"{ready.address or '127.0.0.1'}:{ready.port}"
