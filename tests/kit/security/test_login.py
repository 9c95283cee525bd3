"""The server slows down password guessing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from jupyter_server.auth.security import passwd
from tornado.web import HTTPError

from slurm_nb.kit.security.login import SlurmNbIdentityProvider, Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def guess(throttle: Throttle, clock: Clock, peer: str, seconds: float) -> int:
    """Return how many guesses are checked from a peer that tries every 100 ms."""
    looked_at = 0
    end = clock.now + seconds
    while clock.now < end:
        if not throttle.wait_s(peer):
            throttle.note(peer, right=False)
            looked_at += 1
        clock.now += 0.1
    return looked_at


def test_guesses_of_one_peer_become_rare() -> None:
    """Plain Jupyter checks 8 a second; slurm-nb checks 12 in ten minutes."""
    clock = Clock()

    assert guess(Throttle(clock), clock, "10.0.0.1", 600) <= 12


def test_guesses_of_many_peers_share_one_bound() -> None:
    """An attacker with many addresses gets 30 guesses a minute."""
    clock = Clock()
    throttle = Throttle(clock)
    looked_at = 0
    for number in range(6000):
        if not throttle.wait_s(f"peer {number}"):
            throttle.note(f"peer {number}", right=False)
            looked_at += 1
        clock.now += 0.1

    assert looked_at <= 330


def test_three_typing_mistakes_cause_no_wait() -> None:
    throttle = Throttle(Clock())
    for _ in range(2):
        throttle.note("me", right=False)

    assert throttle.wait_s("me") == 0


def test_the_right_password_clears_the_wrong_ones() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(5):
        throttle.note("me", right=False)
    throttle.note("me", right=True)

    assert throttle.wait_s("me") == 0


def test_the_memory_for_peers_is_bounded() -> None:
    """Otherwise attackers would decide how much is kept."""
    clock = Clock()
    throttle = Throttle(clock)
    for number in range(5000):
        clock.now += 3
        throttle.note(str(number), right=False)

    assert len(throttle._wrong) <= 1000  # noqa: SLF001


def test_a_guess_that_comes_too_early_is_not_checked() -> None:
    """Even the right password gets 429, with the time to wait."""
    provider = SlurmNbIdentityProvider(
        token="t" * 64,
        hashed_password=passwd("right", algorithm="argon2"),  # type: ignore[no-untyped-call]
    )
    headers: dict[str, str] = {}

    def form(password: str) -> Any:
        return SimpleNamespace(
            request=SimpleNamespace(remote_ip="10.0.0.1"),
            get_argument=lambda name, default="": password if name == "password" else default,
            set_header=headers.__setitem__,
            log=SimpleNamespace(debug=lambda _text: None),
        )

    for _ in range(3):
        assert provider.process_login_form(form("wrong")) is None
    with pytest.raises(HTTPError, match="429"):
        provider.process_login_form(form("right"))

    assert int(headers["Retry-After"]) >= 1
