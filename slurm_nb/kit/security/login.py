"""Slows down clients that guess passwords."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Tuple

from jupyter_server.auth.identity import PasswordIdentityProvider
from tornado import web

_FREE_GUESSES = 3
_LONGEST_WAIT_S = 300.0
_GUESSES_PER_MINUTE = 30
_PEERS = 1000


class Throttle:
    """The wait before a peer's next guess, which doubles after each wrong one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: Dict[str, Tuple[int, float]] = {}  # number in a row, time of the last
        self._lately: List[float] = []

    def wait_s(self, peer: str) -> float:
        """Return the seconds until the server checks this peer's next guess; 0: at once."""
        now = self._clock()
        self._lately = [at for at in self._lately if now - at < 60]
        wait = 60 - (now - self._lately[0]) if len(self._lately) >= _GUESSES_PER_MINUTE else 0.0
        count, last = self._wrong.get(peer, (0, 0.0))
        if count >= _FREE_GUESSES:
            own = min(_LONGEST_WAIT_S, 2.0 ** min(count - _FREE_GUESSES, 16))
            wait = max(wait, last + own - now)
        return max(0.0, wait)

    def note(self, peer: str, *, right: bool) -> None:
        """Record a guess that the server has checked."""
        if right:
            self._wrong.pop(peer, None)
            return
        now = self._clock()
        self._lately.append(now)
        count = self._wrong.pop(peer, (0, 0.0))[0]
        self._wrong[peer] = (count + 1, now)
        while len(self._wrong) > _PEERS:
            self._wrong.pop(next(iter(self._wrong)))


class SlurmNbIdentityProvider(PasswordIdentityProvider):  # type: ignore[misc, unused-ignore]
    """Jupyter's own login, with a throttle.

    It is a separate class: the user's settings on Jupyter's classes do not override those that
    slurm-nb makes on this one, and `ServerApp.login_handler_class` does not replace it.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._throttle = Throttle()

    def process_login_form(self, handler: Any) -> Any:
        """Return the user if the password is right, else None."""
        peer = str(handler.request.remote_ip)
        wait = self._throttle.wait_s(peer)
        if wait:
            handler.set_header("Retry-After", "%d" % (wait + 1))
            raise web.HTTPError(429, "Too many wrong passwords: wait %d seconds" % (wait + 1))
        user = super().process_login_form(handler)
        self._throttle.note(peer, right=user is not None)
        return user
