"""The settings that keep others out: set, put in force, and proven on the server that runs."""

from __future__ import annotations

import secrets
from typing import Any, Dict, Iterator, List, Tuple

from jupyter_server.auth.authorizer import AllowAllAuthorizer
from jupyter_server.auth.login import LoginFormHandler
from jupyter_server.auth.logout import LogoutHandler

from .. import kernels, overrides
from .login import SlurmNbIdentityProvider

# What Jupyter changes by itself afterwards.
_NOT_COMPARED = (
    "tornado_settings", "jpserver_extensions", "port", "open_browser", "root_dir", "ssl_options",
    "default_url",
)  # fmt: skip


class Lock:
    """The lock of one run."""

    def __init__(self, token: str, password: str, *, allow_debugger: bool) -> None:
        """password: its hash, or empty."""
        self.token = token
        self._password = password
        self._allow_debugger = allow_debugger
        self._server: Dict[str, Any] = {}

    def configure(self, c: Any) -> None:
        """Set it in `c`, a traitlets Config."""
        server = c.ServerApp
        # The way here is ssh, so the browser always says localhost.
        server.allow_remote_access = False
        server.local_hostnames = ["localhost"]
        server.allow_origin = server.allow_origin_pat = ""
        server.allow_credentials = False
        server.disable_check_xsrf = False
        server.trust_xheaders = False
        server.authenticate_prometheus = True
        server.ssl_options = {}
        server.identity_provider_class = SlurmNbIdentityProvider
        server.authorizer_class = AllowAllAuthorizer
        # A secret of the user's may be one that others know, or have seen in an earlier session.
        server.cookie_secret = secrets.token_bytes(32)
        server.tornado_settings = {}  # they beat all of the above; harmless ones are given back
        # Named for each class that may carry it: a user's setting on a subclass would win.
        for section in (c.IdentityProvider, c.PasswordIdentityProvider, c.SlurmNbIdentityProvider):
            section.update(self._provider())
        c.SlurmNbIdentityProvider.update(
            login_handler_class=LoginFormHandler,
            logout_handler_class=LogoutHandler,
            cookie_name="",
            cookie_options={},
            get_secure_cookie_kwargs={},
        )

    def seal(self, c: Any) -> None:
        """Take what `c` says of the server now for what must be in force."""
        self._server = {
            name: value for name, value in c.ServerApp.items() if name not in _NOT_COMPARED
        }

    def enforce(self, app: Any) -> None:
        """Put it in force, whatever reached the web application or an object of the server's."""
        overrides.enforce(app)
        if not self._allow_debugger:
            app.kernel_manager.allowed_message_types = list(kernels.MESSAGES_BUT_DEBUG)

    def flaws(self, app: Any) -> Iterator[str]:
        """Yield a sentence for each setting that is not in force."""
        for name, expected in self._server.items():
            if app.has_trait(name):
                yield from _differs("ServerApp." + name, getattr(app, name), expected)
        yield from _differs("ServerApp.ssl_options", _tls(app.ssl_options), self._tls())
        provider = app.identity_provider
        yield from _differs(
            "ServerApp.identity_provider_class", type(provider), SlurmNbIdentityProvider
        )
        for name, expected in self._provider().items():
            yield from _differs("IdentityProvider." + name, getattr(provider, name, None), expected)
        yield from _differs(
            "login_handler_class", getattr(provider, "login_handler_class", None), LoginFormHandler
        )
        yield from _differs(
            "logout_handler_class", getattr(provider, "logout_handler_class", None), LogoutHandler
        )
        for name in ("get_user", "get_user_token", "get_user_cookie", "process_login_form"):
            if name in vars(provider):
                yield "IdentityProvider.%s was replaced" % name
        yield from _differs("ServerApp.authorizer_class", type(app.authorizer), AllowAllAuthorizer)
        settings = app.web_app.settings
        for name, expected in overrides.in_force(app).items():
            yield from _differs("tornado_settings[%r]" % name, settings.get(name), expected)
        yield from self._kernel_flaws(app)

    def _provider(self) -> Dict[str, Any]:
        return {
            "token": self.token,
            "hashed_password": self._password,
            "password_required": bool(self._password),
            "allow_password_change": False,
        }

    def _tls(self) -> Dict[str, Any]:
        return _tls({name: self._server.get(name) for name in ("certfile", "keyfile")})

    def _kernel_flaws(self, app: Any) -> Iterator[str]:
        manager = app.kernel_manager
        wanted = kernels.MESSAGES_BUT_DEBUG
        if not self._allow_debugger and list(manager.allowed_message_types) != list(wanted):
            yield "%s.allowed_message_types lets a debugger start" % type(manager).__name__
        for what, found in kernel_parts(app):
            yield "%s is %s" % (what, found)


def kernel_parts(app: Any) -> List[Tuple[str, str]]:
    """Return what would carry kernels' messages in another way: (setting, what it is)."""
    from jupyter_server.services.kernels.connection.channels import (  # noqa: PLC0415
        ZMQChannelsWebsocketConnection,
    )

    found = []
    connection = getattr(app, "kernel_websocket_connection_class", ZMQChannelsWebsocketConnection)
    if connection is not ZMQChannelsWebsocketConnection:
        name = "%s.%s" % (connection.__module__, connection.__qualname__)
        found.append(("ServerApp.kernel_websocket_connection_class", name))
    make_kernel = getattr(app.kernel_manager, "kernel_manager_factory", None)
    transport = make_kernel(parent=app.kernel_manager).transport if make_kernel else "unknown"
    if transport != "ipc":
        kinds = (type(app.kernel_manager).__qualname__, app.kernel_manager.kernel_manager_class)
        text = "%s, not ipc (ServerApp.kernel_manager_class %s, its kernel_manager_class %s)"
        found.append(("the transport of kernels", text % (transport, *kinds)))
    return found


def _tls(options: Any) -> Dict[str, Any]:
    options = options or {}
    return {name: value for name, value in options.items() if value and name != "ssl_version"}


def _differs(name: str, found: Any, expected: Any) -> Iterator[str]:
    if type(found) is type(expected) and found == expected:
        return
    if any(word in name.lower() for word in ("token", "secret", "password")):
        yield "%s is not slurm-nb's" % name
    elif isinstance(expected, type):
        yield "%s is %s" % (name, getattr(found, "__qualname__", found))
    else:
        yield "%s is %r, not %r" % (name, found, expected)
