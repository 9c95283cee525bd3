"""Runs inside the Jupyter server: how long the job still has.

The job script asks Slurm when the job
ends, and leaves the answer in a file, in seconds since the epoch; again when it may have changed.
"""

from __future__ import annotations

import time
from typing import Callable, Optional, Set

_WARN_AT_S = (900, 300)
_EXTENDED_S = 60


class TimeLimit:
    """The end of a job; `path` is the script's file, which need not be there."""

    def __init__(self, path: str, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._end: Optional[int] = None
        self._told: Set[int] = set()

    def look(self) -> Optional[str]:
        """The warning that is due: when 15 and when 5 minutes are left, and once if it is less.

        Raises OSError or ValueError when the file can't be read.
        """
        try:
            with open(self._path, encoding="ascii") as file:
                end = int(file.read())
        except FileNotFoundError:
            return None
        left_s = end - self._now()
        due = {limit_s for limit_s in _WARN_AT_S if left_s <= limit_s}
        if self._end is not None and end > self._end + _EXTENDED_S:
            self._told &= due  # what was told was too early
        self._end = end
        fresh = due - self._told
        self._told |= due
        if not fresh or left_s <= 0:
            return None
        at = time.strftime("%H:%M", time.localtime(end))
        return "this session ends in %s, at %s, when its time limit is reached: save your work" % (
            in_words(left_s),
            at,
        )


def in_words(seconds: float) -> str:
    """`15 minutes`, `39 seconds`."""
    minutes = round(seconds / 60)
    return "%d minutes" % minutes if minutes > 1 else "%d seconds" % seconds
