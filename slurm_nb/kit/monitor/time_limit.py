"""Warns before the job reaches its time limit.

The job script queries Slurm when the session starts and again near the end, because somebody may
have extended the limit. It stores the end in a file, in seconds since the epoch.
"""

from __future__ import annotations

import time
from typing import Callable, Optional, Set

_WARN_AT_S = (900, 300)
_EXTENDED_S = 60
# The clocks of the node and of Slurm's controller differ a little.
_OVER_S = 5


class TimeLimit:
    """The end of a job; `path` is the script's file, which may not exist."""

    def __init__(self, path: str, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._end: Optional[int] = None
        self._warned: Set[int] = set()

    @property
    def left_s(self) -> Optional[int]:
        """Seconds until the end, from the last `look`; None: no known limit."""
        return None if self._end is None else max(0, round(self._end - self._now()))

    @property
    def is_over(self) -> bool:
        """Whether the time limit is reached."""
        return self._end is not None and self._now() >= self._end - _OVER_S

    @property
    def is_short(self) -> bool:
        """Whether a warning about the remaining time is still true."""
        return self._end is not None and self._end - self._now() <= max(_WARN_AT_S)

    def look(self) -> Optional[str]:
        """Return the warning that is due when 15 or 5 minutes are left.

        Raises OSError or ValueError when the file cannot be read.
        """
        try:
            with open(self._path, encoding="ascii") as file:
                end = int(file.read())
        except FileNotFoundError:
            return None
        left_s = end - self._now()
        due = {limit_s for limit_s in _WARN_AT_S if left_s <= limit_s}
        if self._end is not None and end > self._end + _EXTENDED_S:
            self._warned &= due  # earlier warnings named the old end
        self._end = end
        fresh = due - self._warned
        self._warned |= due
        if not fresh or left_s <= 0:
            return None
        at = time.strftime("%H:%M", time.localtime(end))
        return "this session ends in %s, at %s (time limit): save your work" % (
            in_words(left_s),
            at,
        )


def in_words(seconds: float) -> str:
    """Return `15 minutes` or `39 seconds`."""
    minutes = round(seconds / 60)
    return "%d minutes" % minutes if minutes > 1 else "%d seconds" % seconds
