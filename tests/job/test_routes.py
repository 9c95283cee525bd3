"""Every route is documented, reachable and checked like the others."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from slurm_nb.errors import UserError
from slurm_nb.job.routes import ROUTES, Host, RouteName, Target, names_with_tls, route_to
from slurm_nb.job.spec import JobSpec

LOGIN = Host(user="alice", name="login", port=2222)


def test_every_available_route_is_described() -> None:
    """The type and the table have the same names."""
    assert get_args(RouteName) == tuple(ROUTES)


@pytest.mark.parametrize("name", ROUTES)
def test_a_route_forwards_one_port_and_opens_nothing_else(name: RouteName) -> None:
    """On every route ssh listens only on the laptop's loopback, for this user."""
    words = ROUTES[name].ssh(Target(forward="127.0.0.1:1:127.0.0.1:2", login=LOGIN, node="c1"))

    assert words[words.index("-L") + 1] == "127.0.0.1:1:127.0.0.1:2"
    assert words.count("-L") == 1
    assert not {"-g", "-R", "-D", "-A"} & set(words)
    assert words[-1].startswith("alice@")
    assert ("-N" in words) == (name != "relay")


def test_the_relay_runs_its_command_on_the_login_node() -> None:
    """Its words come after the host, quoted for the shell there; a terminal reports its end."""
    target = Target(forward="1:/s", login=LOGIN, node="c1", command=("a b", "connect", "7"))

    words = ROUTES["relay"].ssh(target)

    assert words[words.index("alice@login") + 1 :] == ["'a b'", "connect", "7"]
    assert "-t" in words


@pytest.mark.parametrize("name", ROUTES)
def test_a_route_on_the_network_says_what_it_exposes(name: RouteName) -> None:
    """A route on the loopback exposes nothing."""
    route = ROUTES[name]

    assert ("{end}" in route.exposes) == route.on_network


@pytest.mark.parametrize("name", ROUTES)
def test_a_route_says_why_it_rejects_an_option(name: RouteName) -> None:
    """Each route has its own reason and accepts everything else."""
    for reason, options in (
        (ROUTES[name].no_socket, {"listen": "socket"}),
        (ROUTES[name].no_tls, {"tls": True}),
    ):
        if reason:
            with pytest.raises(UserError, match=reason):
                job(name, **options)
        else:
            job(name, **options)


@pytest.mark.parametrize(
    ("address", "saved", "asked", "name"),
    [
        (None, None, None, "jump"),
        ("10.1.2.3", None, None, "direct"),
        (None, "direct", None, "jump"),
        ("10.1.2.3", "jump", None, "direct"),
        ("10.1.2.3", "relay", None, "direct"),
        (None, "relay", None, "relay"),
        (None, "relay", "jump", "jump"),
        (None, "jump", "relay", "relay"),
        ("10.1.2.3", "direct", "relay", "relay"),
        ("10.1.2.3", "direct", "jump", "jump"),
    ],
)
def test_the_servers_address_shows_the_route(
    address: str | None, saved: str | None, asked: RouteName | None, name: RouteName
) -> None:
    """The saved option only chooses among routes that lead there; the command's overrides it."""
    assert route_to(address, saved=saved, asked=asked) == name


def test_a_route_that_cannot_reach_the_server_is_rejected() -> None:
    """A server on the loopback interface is out of reach for the direct route."""
    with pytest.raises(UserError, match="--route direct: this session listens on its node only"):
        route_to(None, asked="direct")


def test_only_routes_with_an_unencrypted_part_accept_a_certificate() -> None:
    """ssh encrypts the other routes up to the node."""
    assert names_with_tls() == ["direct"]


def job(route: RouteName, **options: object) -> JobSpec:
    return JobSpec(notebook_dir=Path("/n"), route=route, **options)  # type: ignore[arg-type]
