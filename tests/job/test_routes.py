"""Every route is documented, reachable and checked like the others."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from slurm_nb.errors import UserError
from slurm_nb.job.routes import ROUTES, Host, RouteName, names_with_tls, route_to
from slurm_nb.job.spec import JobSpec

LOGIN = Host(user="alice", name="login", port=2222)


def test_every_available_route_is_described() -> None:
    """The type and the table have the same names."""
    assert get_args(RouteName) == tuple(ROUTES)


@pytest.mark.parametrize("name", ROUTES)
def test_a_route_forwards_one_port_and_opens_nothing_else(name: RouteName) -> None:
    """On every route ssh listens only on the laptop's loopback, for this user."""
    words = ROUTES[name].ssh("127.0.0.1:1:127.0.0.1:2", LOGIN, "c1")

    assert words[words.index("-L") + 1] == "127.0.0.1:1:127.0.0.1:2"
    assert words.count("-L") == 1
    assert not {"-g", "-R", "-D", "-A"} & set(words)
    assert words[-1].startswith("alice@")


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


@pytest.mark.parametrize(("address", "name"), [(None, "jump"), ("10.1.2.3", "direct")])
def test_the_servers_address_shows_the_route(address: str | None, name: RouteName) -> None:
    """A job that the user submitted with sbatch has no saved option for it."""
    assert route_to(address) is ROUTES[name]


def test_only_routes_with_an_unencrypted_part_accept_a_certificate() -> None:
    """ssh encrypts the other routes up to the node."""
    assert names_with_tls() == ["direct"]


def job(route: RouteName, **options: object) -> JobSpec:
    return JobSpec(notebook_dir=Path("/n"), route=route, **options)  # type: ignore[arg-type]
