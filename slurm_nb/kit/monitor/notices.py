"""The notices that the server's pages show."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, NamedTuple

_KEPT = 20


class _Notice(NamedTuple):
    id: int
    kind: str
    text: str
    at: float


class Notices:
    """The notices of a session; a page removes those that are no longer in the list."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._notices: List[_Notice] = []
        self._count = 0

    def add(self, kind: str, text: str) -> None:
        """Make the pages show a sentence."""
        self._count += 1
        self._notices.append(_Notice(self._count, kind, text, self._clock()))
        del self._notices[:-_KEPT]

    def withdraw(self, kind: str) -> None:
        """Make the pages remove the notices of this kind, which are no longer true."""
        self._notices = [each for each in self._notices if each.kind != kind]

    def current(self) -> List[Dict[str, Any]]:
        """Return the notices with their age; a new page skips old ones."""
        now = self._clock()
        return [
            {"id": each.id, "kind": each.kind, "text": each.text, "age_s": round(now - each.at)}
            for each in self._notices
        ]
