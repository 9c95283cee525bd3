"""Keeps clients that cause warnings from filling the job's output."""

from __future__ import annotations

import logging
import time
from typing import Any, Callable, Dict, List, Tuple

_PER_MINUTE = 20
_TRACEBACKS_PER_MINUTE = 4
_WINDOW_S = 60.0

Place = Tuple[str, int]


class Limit(logging.Filter):
    """Limits how often a line of code may log per minute, and logs how much it left out.

    Debug messages pass, because only the user's own configuration enables them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: Dict[Place, List[float]] = {}  # start of the minute, logged, left out

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record."""
        if record.levelno <= logging.DEBUG:
            return True
        now = self._clock()
        seen = self._seen.setdefault((record.pathname, record.lineno), [now, 0, 0])
        if now - seen[0] >= _WINDOW_S:
            if seen[2]:
                record.msg = "%s (left out %d similar lines)" % (record.getMessage(), seen[2])
                record.args = None
            seen[:] = [now, 0, 0]
        most = _TRACEBACKS_PER_MINUTE if record.exc_info else _PER_MINUTE
        if seen[1] >= most:
            seen[2] += 1
            return False
        seen[1] += 1
        return True


def install(app: Any) -> None:
    """Limit what Jupyter, tornado and asyncio log."""
    limit = Limit()
    handlers = [*app.log.handlers, *logging.getLogger().handlers, logging.lastResort]
    for handler in handlers:
        if handler is not None:
            handler.addFilter(limit)
