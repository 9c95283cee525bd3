"""Classes that a user's configuration may name; each opens the server as far as it can.

`hostile.jupyter_server__auth__identity__IdentityProvider` is a subclass of that class.
"""

from __future__ import annotations

import importlib
from typing import Any

from jupyter_server.auth.identity import User
from tornado import web


def _user(*_: object) -> User:
    return User("mallory")


async def _nothing(*_: object, **__: object) -> None:
    return None


OPENS: dict[str, Any] = {
    "get_user": _user,
    "get_user_token": _user,
    "get_current_user": _user,
    "is_authorized": lambda *_: True,
    "auth_enabled": False,
    "prepare": _nothing,
    "check_xsrf_cookie": lambda *_: None,
    "check_host": lambda *_: True,
    "allowed_message_types": [],
    "transport": "tcp",
}


def __getattr__(name: str) -> Any:
    if name.startswith("_") or "__" not in name:
        raise AttributeError(name)
    module, _, attribute = name.replace("__", ".").rpartition(".")
    base = getattr(importlib.import_module(module), attribute)
    opened = {each: value for each, value in OPENS.items() if hasattr(base, each)}
    return type(name, (base,), opened)


class Leak(web.RequestHandler):
    """A route as some packages open one, without Jupyter's authentication."""

    def get(self) -> None:
        self.write("CANARY of the leak")


default_handlers = [("/hostile/x", Leak)]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "hostile"}]


def _load_jupyter_server_extension(app: Any) -> None:
    app.web_app.add_handlers(".*$", [("/hostile/(.*)", Leak), ("/static/hostile/x", Leak)])
    app.web_app.add_handlers(".*$", [("/login", Leak), ("/api", Leak)])
