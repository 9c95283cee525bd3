"""Runs inside the Jupyter server: keeps what `slurm-nb list` shows of a session, in one small file.

The file is the session's own, on a file system that the login node sees, which may be slow, full or
gone: a thread writes, and what fails is left.

    {"active_at": 1795667137, "idle_stop_at": 1795670737, "memory_fraction": 0.42, "kernels": 2}
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Callable, Dict, Optional

from ..files import write_private

_APART_S = 60.0
# Less than that is nothing new.
_NEAR = {"active_at": 5, "idle_stop_at": 5, "memory_fraction": 0.02, "kernels": 0}


class ActivityFile:
    """Written when there is something new, and at most once a minute."""

    def __init__(
        self,
        path: str,
        log: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._log: Optional[Callable[[str], None]] = log
        self._clock = clock
        self._written: Optional[Dict[str, Any]] = None
        self._written_at = 0.0
        self._writer: Optional[threading.Thread] = None

    def keep(self, record: Dict[str, Any]) -> None:
        """Have `record` written, unless it is too early, or the last one is still being written."""
        now = self._clock()
        if self._written is not None:
            if now - self._written_at < _APART_S or not _differs(record, self._written):
                return
            if self._writer and self._writer.is_alive():
                return
        self._written, self._written_at = record, now
        self._writer = threading.Thread(target=self._write, args=(record,), daemon=True)
        self._writer.start()

    def _write(self, record: Dict[str, Any]) -> None:
        try:
            write_private(self._path, json.dumps(record))
        except OSError as error:
            if self._log:
                self._log("%s can't be written: %s" % (self._path, error.strerror))
            self._log = None


def _differs(one: Dict[str, Any], other: Dict[str, Any]) -> bool:
    for name, near in _NEAR.items():
        first, second = one[name], other[name]
        if (first is None) != (second is None):
            return True
        if first is not None and abs(first - second) > near:
            return True
    return False
