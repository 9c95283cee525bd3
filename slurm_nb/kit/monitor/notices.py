"""Runs inside the Jupyter server: what the pages ask for, to show it (labextension.js).

GET BASE_URL/slurm-nb/notices -> {"notices": [{"id": 1, "kind": "time", "text": "..."}]}
"""

from __future__ import annotations

import json
import re
import time
from typing import Any, Callable, Dict, List, Tuple

from jupyter_server.base.handlers import APIHandler
from tornado import web

_KEPT = 20
# Longer ago, it was shown; or nobody looked, and it may no longer be so.
_SHOWN_FOR_S = 600.0


class Notices:
    """What was said lately."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: List[Tuple[float, Dict[str, Any]]] = []
        self._count = 0

    def add(self, kind: str, text: str) -> None:
        """Have the pages show a sentence."""
        self._count += 1
        self._said.append((self._clock(), {"id": self._count, "kind": kind, "text": text}))
        del self._said[:-_KEPT]

    def recent(self) -> List[Dict[str, Any]]:
        """What a page that asks now is to show."""
        since = self._clock() - _SHOWN_FOR_S
        return [notice for at, notice in self._said if at >= since]


class _Handler(APIHandler):
    _track_activity = False  # a page that asks by itself is no use of the server

    def initialize(self, notices: Notices) -> None:
        self._notices = notices
        super().initialize()

    @web.authenticated
    def get(self) -> None:
        self.finish(json.dumps({"notices": self._notices.recent()}))


def serve(app: Any, notices: Notices) -> None:
    """Answer at slurm-nb/notices; 403 without the token."""
    path = re.escape(app.base_url) + "slurm-nb/notices"
    app.web_app.add_handlers(".*$", [(path, _Handler, {"notices": notices})])
