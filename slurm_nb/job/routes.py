"""The routes from the laptop to Jupyter: the listener, the ssh command and the exposure of each.

To add a route, add a value here and its listener in the kit, because compute nodes do not have this
module.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from slurm_nb.errors import UserError

RouteName = Literal["jump", "direct", "relay"]


@dataclass(frozen=True, kw_only=True)
class Host:
    """The login node as ssh names it."""

    user: str
    name: str
    """A name or an IP address: `login.hpc.edu`, `fd00::1`."""
    port: int = 22


@dataclass(frozen=True, kw_only=True)
class Target:
    """The parts of an ssh command."""

    forward: str
    """The value of `-L`."""
    login: Host
    node: str
    command: tuple[str, ...] = ()
    """The words that ssh runs on the login node, with the relay route."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One route from the laptop to Jupyter in a job."""

    help: str
    """Its text in `submit --help`."""
    on_network: bool
    """Whether Jupyter listens on the node's address in the cluster's network, not on the loopback
    interface or a socket."""
    to_node: bool
    """Whether ssh connects to the node; the laptop may not know its host key yet."""
    ssh: Callable[[Target], list[str]]
    """The arguments of ssh."""
    exposes: str = ""
    """A note about other users who can connect to the port `{end}`; empty if nobody can."""
    no_socket: str = ""
    """Why it cannot be combined with `--listen socket`; empty if it can."""
    no_tls: str = ""
    """Why it cannot be combined with `--tls`; empty if it can."""


# Without this, a busy local port leads the browser to whatever program holds it.
_EXIT = ["-o", "ExitOnForwardFailure=yes"]
# Without this, a ControlMaster of the user's takes over the forward and keeps it after Ctrl-C; the
# jump host's connection does not read it, so it may still use one.
_OWN = ["-o", "ControlPath=none"]
# Finds a dead connection in 90 s (ssh_config(5), OpenSSH 9.2).
_ALIVE = ["-o", "ServerAliveInterval=30"]
_TUNNEL = ["-N", *_EXIT, *_OWN, *_ALIVE]


def _jump(target: Target) -> list[str]:
    """Return the arguments for laptop -> login -> node, encrypted up to the node."""
    login = target.login
    # -J accepts an IPv6 address only in brackets (ssh(1), OpenSSH 9.2).
    name = f"[{login.name}]" if ":" in login.name else login.name
    hop = name if login.port == 22 else f"{name}:{login.port}"
    ends = ["-J", f"{login.user}@{hop}", f"{login.user}@{target.node}"]
    return [*_TUNNEL, "-L", target.forward, *ends]


def _direct(target: Target) -> list[str]:
    """Return the arguments for laptop -> login; the login node connects to Jupyter."""
    return [*_TUNNEL, *_port(target.login), "-L", target.forward, _user_at(target.login)]


def _relay(target: Target) -> list[str]:
    """Return the arguments for laptop -> login, where a command carries the session to a socket.

    The terminal (-t) tells the command that ssh has ended. A shared connection (ControlMaster) may
    carry this: only the user can connect to the socket, and the next line has the same forward.
    """
    # ssh joins the words with blanks, and the shell on the login node splits them again.
    command = [shlex.quote(word) for word in target.command]
    words = ["-t", *_EXIT, *_ALIVE, *_port(target.login), "-L", target.forward]
    return [*words, _user_at(target.login), *command]


def _port(login: Host) -> list[str]:
    return [] if login.port == 22 else ["-p", str(login.port)]


def _user_at(login: Host) -> str:
    return f"{login.user}@{login.name}"


ROUTES: Mapping[RouteName, Route] = {
    "jump": Route(
        help="ssh to the node",
        on_network=False,
        to_node=True,
        ssh=_jump,
        no_tls="ssh encrypts the jump route up to the node",
    ),
    "direct": Route(
        help="TCP from the login node, if your site forbids ssh to nodes",
        on_network=True,
        to_node=False,
        ssh=_direct,
        exposes="Anyone on the cluster's network can connect to {end},",
        no_socket="a socket cannot be reached over the cluster's network",
    ),
    "relay": Route(
        help="a step of the job, with one login and no ssh to nodes",
        on_network=False,
        to_node=False,
        ssh=_relay,
        no_tls="ssh encrypts the relay route up to the node",
    ),
}
"""All routes, by their names in `--route`."""


def route_to(
    address: str | None, *, saved: str | None = None, asked: RouteName | None = None
) -> RouteName:
    """Return the route to a server that listens on `address` of the network; None: on none.

    saved: the option of the session; asked: that of the command. The saved one only chooses between
    jump and relay: a job submitted with sbatch has none, and a wrong one would send the token to
    any process that listens on that port of the login node. Raises `UserError` if `asked`
    cannot reach the server.
    """
    if asked and ROUTES[asked].on_network and address is None:
        raise UserError(
            f"--route {asked}: this session listens on its node only, where ssh must connect to it",
            hint=f"submit another one: slurm-nb submit --route {asked}",
            options=("route",),
        )
    if asked:
        return asked
    if address is not None:
        return "direct"
    return "relay" if saved == "relay" else "jump"


def names_with_tls() -> list[RouteName]:
    """Return the routes that can be combined with `--tls`."""
    return [name for name, route in ROUTES.items() if not route.no_tls]
