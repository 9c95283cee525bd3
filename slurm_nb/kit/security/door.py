"""Rejects requests without the token or the login cookie, before they reach any handler.

It protects the handlers of extensions too, even those that do not check the login.
"""

from __future__ import annotations

import hmac
import json
import os
import re
from http.client import responses
from types import SimpleNamespace
from typing import Any, Awaitable, Callable, Optional
from urllib.parse import unquote, urlencode

from jupyter_server import DEFAULT_STATIC_FILES_PATH
from jupyter_server.base.handlers import APIVersionHandler, FileFindHandler
from tornado import httputil, web

_TOKEN = re.compile(r"(?:token|bearer)\s+(.+)", re.IGNORECASE)
_STATIC = os.path.realpath(DEFAULT_STATIC_FILES_PATH)
_ICON = "favicon.ico"
_BODY_BYTES = 1 << 16  # without the key; tornado keeps the body of a request in memory


class Door(httputil.HTTPServerConnectionDelegate):
    """The delegate that the HTTP server calls instead of the web application."""

    def __init__(
        self, app: Any, token: str, log: Callable[[str], None], flaw: Callable[[], str]
    ) -> None:
        """flaw: says why pages and kernels are not safe to use; empty if they are."""
        self.web_app = app.web_app
        self._provider = app.identity_provider
        self._token = token.encode()
        self._secret = app.web_app.settings["cookie_secret"]
        self._base = app.base_url
        self._log = log
        self._flaw = flaw

    def start_request(self, server_conn: object, request_conn: Any) -> _Knock:
        """Return the receiver of one request. Tornado calls this for each request."""
        return _Knock(self, server_conn, request_conn)

    def has_key(self, request: httputil.HTTPServerRequest) -> bool:
        """Return whether a request carries the token or a cookie signed by this server."""
        # Like Jupyter, use the last token of the URL, and the header only without one.
        token = request.query_arguments.get("token", [b""])[-1].decode("latin-1").strip()
        header = _TOKEN.match(request.headers.get("Authorization", ""))
        if header and not token:
            token = header.group(1).strip()
        if hmac.compare_digest(token.encode(), self._token):
            return True
        name = self._provider.get_cookie_name(SimpleNamespace(request=request))
        cookie = request.cookies.get(name)
        if cookie is None:
            return False
        return web.decode_signed_value(self._secret, name, cookie.value) is not None

    def is_public(self, request: httputil.HTTPServerRequest, handler: Any) -> bool:
        """Return whether Jupyter's own handler answers this request without a login.

        handler: the router's choice. An extension may have added its own before Jupyter's.
        """
        kind = getattr(handler, "handler_class", None)
        path, base = request.path, self._base
        if path == base + "api":
            return kind is APIVersionHandler and request.method in ("GET", "HEAD")
        if path == base + "login":
            return kind is self._provider.login_handler_class
        if path == base + "logout":
            return kind is self._provider.logout_handler_class
        static = base + "static/"
        if path.startswith(static):
            name = unquote(path[len(static) :])
        elif path in (base + _ICON, "/" + _ICON):
            name = _ICON
        else:
            return False
        roots = getattr(handler, "handler_kwargs", {}).get("path")
        return kind is FileFindHandler and roots == [DEFAULT_STATIC_FILES_PATH] and _is_own(name)

    def refusal(self, request: httputil.HTTPServerRequest) -> _Refusal:
        """Return the answer to a request without the key: 403, or the login page to a browser."""
        self._log("rejected %s %s: no token or login" % (request.method, request.path))
        wants_page = "text/html" in request.headers.get("Accept", "")
        if request.method not in ("GET", "HEAD") or not wants_page or self._is_api(request):
            return _Refusal(request, 403)
        then = request.path if "token" in request.query_arguments else request.uri
        return _Refusal(request, 302, self._base + "login?" + urlencode({"next": then}))

    def flaw(self, request: httputil.HTTPServerRequest) -> str:
        """Return why the server must not answer, even with the key; empty if it may.

        Saving a notebook, showing the session's notices and ending it need no file of the job's
        directory.
        """
        path = request.path
        needs_none = path.startswith(self._base + "api/contents/") or path in (
            self._base + "api/contents",
            self._base + "slurm-nb/session",
            self._base + "slurm-nb/session/end",
            self._base + "api/shutdown",
        )
        return "" if needs_none and self.has_key(request) else self._flaw()

    def _is_api(self, request: httputil.HTTPServerRequest) -> bool:
        upgrades = "Upgrade" in request.headers
        return upgrades or request.path.startswith((self._base + "api/", self._base + "static/"))


class _Knock(httputil.HTTPMessageDelegate):
    """One request, which goes to its handler or is refused."""

    def __init__(self, door: Door, server_conn: object, request_conn: Any) -> None:
        self._door = door
        self._server_conn = server_conn
        self._request_conn = request_conn
        self._delegate: Any = None

    def headers_received(self, start_line: Any, headers: Any) -> Optional[Awaitable[None]]:
        request = httputil.HTTPServerRequest(
            connection=self._request_conn,
            server_connection=self._server_conn,
            start_line=start_line,
            headers=headers,
        )
        door = self._door
        self._delegate = door.web_app.find_handler(request)
        has_key = door.has_key(request)
        if not has_key:
            self._request_conn.set_max_body_size(_BODY_BYTES)  # tornado closes the connection
        if not has_key and not door.is_public(request, self._delegate):
            self._delegate = door.refusal(request)
        elif door.flaw(request):
            self._delegate = _Refusal(request, 503, text=door.flaw(request))
        answer: Optional[Awaitable[None]] = self._delegate.headers_received(start_line, headers)
        return answer

    def data_received(self, chunk: bytes) -> Optional[Awaitable[None]]:
        answer: Optional[Awaitable[None]] = self._delegate.data_received(chunk)
        return answer

    def finish(self) -> None:
        self._delegate.finish()

    def on_connection_close(self) -> None:
        if self._delegate is not None:
            self._delegate.on_connection_close()


class _Refusal(httputil.HTTPMessageDelegate):
    """The answer to a refused request: it discards the body."""

    def __init__(
        self,
        request: httputil.HTTPServerRequest,
        status: int,
        location: str = "",
        text: str = "",
    ) -> None:
        self._request = request
        self._status = status
        self._location = location
        self._text = text or responses[status]

    def finish(self) -> None:
        connection: Any = self._request.connection
        body = json.dumps({"message": self._text, "reason": None}).encode()
        headers = httputil.HTTPHeaders(
            {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-store",
            }
        )
        if self._location:
            headers["Location"] = self._location
        start = httputil.ResponseStartLine("HTTP/1.1", self._status, responses[self._status])
        connection.write_headers(start, headers, b"" if self._request.method == "HEAD" else body)
        connection.finish()


def _is_own(name: str) -> bool:
    """Return whether Jupyter ships a static file of this name."""
    if "\0" in name:
        return False
    found = os.path.realpath(os.path.join(_STATIC, name))
    return found.startswith(_STATIC + os.sep) and os.path.isfile(found)
