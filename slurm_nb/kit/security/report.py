"""Answers `slurm-nb audit` from the running server, behind the same lock as everything else.

GET BASE_URL/slurm-nb/audit -> {"settings": {...}, "routes": ["/api/contents", ...]}
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Dict

from jupyter_server.base.handlers import APIHandler
from tornado import web

from . import routes


class _Handler(APIHandler):
    _track_activity = False

    def initialize(self, settings: Callable[[], Dict[str, Any]]) -> None:
        self._settings_now = settings
        super().initialize()

    @web.authenticated
    def get(self) -> None:
        self.finish(
            json.dumps({"settings": self._settings_now(), "routes": routes.paths(self.application)})
        )


def serve(app: Any, settings: Callable[[], Dict[str, Any]]) -> None:
    """Answer at slurm-nb/audit. settings: returns those in effect now, without secrets."""
    path = re.escape(app.base_url) + "slurm-nb/audit"
    app.web_app.add_handlers(".*$", [(path, _Handler, {"settings": settings})])
