"""Serves the data that the pages show about the session (labextension.js).

    GET  BASE_URL/slurm-nb/session         -> {"job_id": "7", "seconds_left": 7140, ...}
    POST BASE_URL/slurm-nb/session/extend  -> {"extended": true, "text": "..."}
    BASE_URL/slurm-nb/session/end          a websocket: {"ended": "..."} when the session ends

Each request needs the session's token, or the cookie that the login sets.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, Callable, Coroutine, Dict, Optional, Set

from jupyter_server.base.handlers import APIHandler, JupyterHandler
from tornado import web, websocket

_PATH = "slurm-nb/session"


class Page:
    """The session as the pages see it."""

    def __init__(
        self, describe: Callable[[], Dict[str, Any]], extend: Callable[[], Dict[str, Any]]
    ) -> None:
        self._describe = describe
        self._extend = extend
        self.ended: Optional[str] = None
        self.sockets: Set[_EndHandler] = set()

    def describe(self) -> Dict[str, Any]:
        """Return the data for a page."""
        return {**self._describe(), "ended": self.ended}

    async def extend(self) -> Dict[str, Any]:
        """Extend the job in a thread, because Slurm may respond slowly."""
        return await asyncio.get_event_loop().run_in_executor(None, self._extend)

    def end(self, why: str) -> None:
        """Tell all pages why the session ends, while the server can still reach them."""
        if self.ended is None:
            self.ended = why
            for socket in list(self.sockets):
                socket.send_end()


class _SessionHandler(APIHandler):
    _track_activity = False  # a page that polls by itself does not use the session

    def initialize(self, page: Page) -> None:
        self._page = page
        super().initialize()

    @web.authenticated
    def get(self) -> None:
        self.finish(json.dumps(self._page.describe()))


class _ExtendHandler(APIHandler):
    def initialize(self, page: Page) -> None:
        self._page = page
        super().initialize()

    @web.authenticated
    async def post(self) -> None:
        self.finish(json.dumps(await self._page.extend()))


class _EndHandler(JupyterHandler, websocket.WebSocketHandler):
    """A page that waits for the end of the session."""

    _track_activity = False

    def initialize(self, page: Page) -> None:
        self._page = page
        super().initialize()

    def get(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, None]:
        """Open the websocket; 403 without the token or the cookie."""
        if self.current_user is None:
            raise web.HTTPError(403)
        return super().get(*args, **kwargs)

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Wait for the end."""
        self._page.sockets.add(self)
        if self._page.ended is not None:
            self.send_end()

    def send_end(self) -> None:
        """Tell the page that the session ends; ignore a closed page."""
        try:
            self.write_message(json.dumps({"ended": self._page.ended}))
        except websocket.WebSocketClosedError:
            self._page.sockets.discard(self)

    def on_message(self, message: Any) -> None:
        """Ignore messages from the page."""

    def on_close(self) -> None:
        """Remove the page from the list."""
        self._page.sockets.discard(self)


def serve(app: Any, page: Page) -> None:
    """Add the handlers for the pages, which answer 403 without the token."""
    base = re.escape(app.base_url) + _PATH
    values = {"page": page}
    app.web_app.add_handlers(
        ".*$",
        [
            (base, _SessionHandler, values),
            (base + "/extend", _ExtendHandler, values),
            (base + "/end", _EndHandler, values),
        ],
    )
