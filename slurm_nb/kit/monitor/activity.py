"""Keeps a small file up to date that `slurm-nb list` reads.

The file is in the session's directory, on a file system that the login node shares. That file
system may be slow, full or gone, so a thread writes the file, and the server does not wait for it.

    {"active_at": 1795667137, "idle_stop_at": 1795670737, "memory_fraction": 0.42, "kernels": 2}
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Callable, Dict, Optional

from ..files import write_private

_APART_S = 60.0
# Smaller changes are not worth writing.
_NEAR = {"active_at": 5, "idle_stop_at": 5, "memory_fraction": 0.02, "kernels": 0}


class ActivityFile:
    """The file, which is written when something has changed, at most once a minute."""

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
        """Write `record` in a thread, unless it is too early or the last thread is still busy."""
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
                self._log("cannot write %s: %s" % (self._path, error.strerror))
            self._log = None


def _differs(one: Dict[str, Any], other: Dict[str, Any]) -> bool:
    for name, near in _NEAR.items():
        first, second = one[name], other[name]
        if (first is None) != (second is None):
            return True
        if first is not None and abs(first - second) > near:
            return True
    return False
