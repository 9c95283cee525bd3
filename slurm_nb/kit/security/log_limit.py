"""Keeps clients that cause warnings from filling the job's output."""

from __future__ import annotations

import logging
import time
from typing import Any, Callable, Dict, List, Tuple

_PER_MINUTE = 20
_TRACEBACKS_PER_MINUTE = 4
_WINDOW_S = 60.0
_TEXT_CHARS = 500
_TRACEBACK_CHARS = 8000
_LEFT_OUT = " [%d characters left out] "
_MARK_CHARS = 50

Place = Tuple[str, int]


class Limit(logging.Filter):
    """Limits how often a line of code may log per minute, and how long its texts may be.

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
        _shorten(record)
        return True


def _shorten(record: logging.LogRecord) -> None:
    """Cut the message and the traceback: a request's path or header may be in them."""
    text = record.getMessage()
    if len(text) > _TEXT_CHARS:
        record.msg, record.args = _cut(text, _TEXT_CHARS), None
    if record.exc_info:
        # logging.Formatter prefers exc_text.
        text = record.exc_text or logging.Formatter().formatException(record.exc_info)
        record.exc_text = _cut(text, _TRACEBACK_CHARS)


def _cut(text: str, most: int) -> str:
    """Return the beginning and the end of a long text, at most `most` characters in all."""
    if len(text) <= most:
        return text
    half = (most - _MARK_CHARS) // 2
    return text[:half] + _LEFT_OUT % (len(text) - 2 * half) + text[-half:]


def install(app: Any) -> None:
    """Limit what Jupyter, tornado and asyncio log."""
    limit = Limit()
    handlers = [*app.log.handlers, *logging.getLogger().handlers, logging.lastResort]
    for handler in handlers:
        if handler is not None:
            handler.addFilter(limit)
