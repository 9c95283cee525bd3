"""The routes from the laptop to Jupyter: the listener, the ssh command and the exposure of each.

To add a route, add a value here and its listener in the kit, because compute nodes do not have this
module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

RouteName = Literal["jump", "direct"]


@dataclass(frozen=True, kw_only=True)
class Host:
    """The login node as ssh names it."""

    user: str
    name: str
    """A name or an IP address: `login.hpc.edu`, `fd00::1`."""
    port: int = 22


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
    ssh: Callable[[str, Host, str], list[str]]
    """The arguments after `ssh -N`, for the value of `-L`, the login node and the node."""
    exposes: str = ""
    """A note about other users who can connect to the port `{end}`; empty if nobody can."""
    no_socket: str = ""
    """Why it cannot be combined with `--listen socket`; empty if it can."""
    no_tls: str = ""
    """Why it cannot be combined with `--tls`; empty if it can."""


def _jump(forward: str, login: Host, node: str) -> list[str]:
    """Return the arguments for laptop -> login -> node, encrypted up to the node."""
    # -J accepts an IPv6 address only in brackets (ssh(1), OpenSSH 9.2).
    name = f"[{login.name}]" if ":" in login.name else login.name
    hop = name if login.port == 22 else f"{name}:{login.port}"
    return ["-L", forward, "-J", f"{login.user}@{hop}", f"{login.user}@{node}"]


def _direct(forward: str, login: Host, _node: str) -> list[str]:
    """Return the arguments for laptop -> login; the login node connects to Jupyter."""
    port = [] if login.port == 22 else ["-p", str(login.port)]
    return [*port, "-L", forward, f"{login.user}@{login.name}"]


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
}
"""All routes, by their names in `--route`."""


def route_to(address: str | None) -> Route:
    """Return the route to a server that listens on `address` of the network; None: on none.

    The option of the session is not used: a job submitted with sbatch has none saved, and a wrong
    one would send the token to any process that listens on that port of the login node.
    """
    on_network = address is not None
    return next(route for route in ROUTES.values() if route.on_network == on_network)


def names_with_tls() -> list[RouteName]:
    """Return the routes that can be combined with `--tls`."""
    return [name for name, route in ROUTES.items() if not route.no_tls]
