"""The routes from the laptop to Jupyter: how each listens, what ssh runs, what others can reach.

A new route is a value here, and its listener in the kit. What listens is written in the kit, for
compute nodes do not have this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

RouteName = Literal["jump", "direct"]


@dataclass(frozen=True, kw_only=True)
class Host:
    """The login node as ssh is given it."""

    user: str
    name: str
    """A name or an IP address: `login.hpc.edu`, `fd00::1`."""
    port: int = 22


@dataclass(frozen=True, kw_only=True)
class Route:
    """One way from the laptop to the Jupyter of a job."""

    help: str
    """What `submit --help` says of it."""
    on_network: bool
    """Whether Jupyter listens on the node's address in the cluster's network; else on its loopback,
    or on a socket."""
    to_node: bool
    """Whether ssh goes to the node, whose key the laptop may not know yet."""
    ssh: Callable[[str, Host, str], list[str]]
    """The words after `ssh -N` that forward a port: of `-L`'s value, the login node, the node."""
    exposes: str = ""
    """Who else reaches the port, which stands in it as `{end}`; empty where nobody does."""
    no_socket: str = ""
    """Why it excludes `--listen socket`; empty where it does not."""
    no_tls: str = ""
    """Why it excludes `--tls`; empty where it does not."""


def _jump(forward: str, login: Host, node: str) -> list[str]:
    """Laptop -> login -> node, encrypted to the node."""
    # -J takes an IPv6 address in brackets only (ssh(1), OpenSSH 9.2).
    name = f"[{login.name}]" if ":" in login.name else login.name
    hop = name if login.port == 22 else f"{name}:{login.port}"
    return ["-L", forward, "-J", f"{login.user}@{hop}", f"{login.user}@{node}"]


def _direct(forward: str, login: Host, _node: str) -> list[str]:
    """Laptop -> login, which reaches Jupyter by itself."""
    port = [] if login.port == 22 else ["-p", str(login.port)]
    return [*port, "-L", forward, f"{login.user}@{login.name}"]


ROUTES: Mapping[RouteName, Route] = {
    "jump": Route(
        help="ssh to the node",
        on_network=False,
        to_node=True,
        ssh=_jump,
        no_tls="the jump route is encrypted to the node by ssh",
    ),
    "direct": Route(
        help="TCP from the login node, where sites forbid that ssh",
        on_network=True,
        to_node=False,
        ssh=_direct,
        exposes="Anybody on the cluster's network can knock at {end};",
        no_socket="over the cluster's network only a port is reached",
    ),
}
"""Every route, by the name that `--route` takes."""


def route_to(address: str | None) -> Route:
    """Return the route to a server that listens on `address` of the network; None: on none.

    By that and not by the option: a job that was sbatched by hand has none saved, and a wrong one
    would send the token to whoever listens on that port of the login node.
    """
    on_network = address is not None
    return next(route for route in ROUTES.values() if route.on_network == on_network)


def names_with_tls() -> list[RouteName]:
    """Return the routes that `--tls` goes with."""
    return [name for name, route in ROUTES.items() if not route.no_tls]
