"""Nothing listens before the lock is proven, in the process that would listen.

Jupyter's configuration is code and its extensions are anybody's, so that settings are proven on the
live server, right before it binds.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any, Callable, Dict, NoReturn, Optional, Tuple

from ..self_check import Refused

STOPPED = "slurm-nb: Jupyter was stopped, for it is not safe: %s"
_HIJACKS = ("config_file", "config_file_name")
_INTERNET = (socket.AF_INET, socket.AF_INET6)


class State:
    """How far this process has come."""

    prove: Optional[Callable[[Any], None]] = None
    """Raises `Refused` unless the lock is in force; None: slurm-nb's settings were not read."""
    wrap: Optional[Callable[[Any], None]] = None
    """Puts door and listener around the HTTP server, before it binds."""
    allowed: Optional[Tuple[str, int]] = None
    """Where it may bind now."""
    server: Any = None
    """Jupyter's own HTTP server."""
    announced = False


def install() -> None:
    """Stand between Jupyter's server and its socket."""
    from jupyter_server.serverapp import ServerApp  # noqa: PLC0415  slow, and checked before
    from tornado.tcpserver import TCPServer  # noqa: PLC0415

    _around(ServerApp, "init_httpserver", _before_http_server, _after_http_server)
    _around(ServerApp, "_bind_http_server", _before_bind, None)
    _around(TCPServer, "add_sockets", _before_sockets, None)
    sys.addaudithook(_on_event)


def check_that_it_listened() -> None:
    """Say so when Jupyter has ended with success, and never came to listen."""
    error = sys.exc_info()[1]
    failed = error is not None and not (isinstance(error, SystemExit) and not error.code)
    if State.allowed is None and not failed:
        stop("it ended before it listened")


def announced() -> None:
    """Let extensions open what they like: from now on the session's ready line stands."""
    State.announced = True


def stop(why: str) -> NoReturn:
    """End the process with one sentence."""
    print(STOPPED % why, flush=True)
    os._exit(1)


def _around(
    kind: Any,
    name: str,
    before: Callable[..., None],
    after: Optional[Callable[..., None]],
) -> None:
    original = getattr(kind, name)

    def guarded(*args: Any) -> None:
        try:
            before(*args)
            original(*args)
            if after:
                after(*args)
        except Exception as error:  # whatever it is, nobody has seen that the server is safe
            stop(str(error) or type(error).__name__)

    setattr(kind, name, guarded)


def _before_http_server(app: Any) -> None:
    _prove(app)
    # Jupyter tries the port before it takes one.
    State.allowed = (app.ip, app.port)


def _after_http_server(app: Any) -> None:
    State.server = app.http_server
    if State.wrap:
        State.wrap(app)


def _before_bind(app: Any) -> None:
    _prove(app)
    State.allowed = (app.ip, app.port)


def _prove(app: Any) -> None:
    if State.prove is None:
        raise Refused("slurm-nb's settings were not read: %s" % _culprit(app))
    State.prove(app)


def _culprit(app: Any) -> str:
    config: Dict[str, Any] = app.config
    said = [
        "%s.%s = %r" % (section, name, config[section][name])
        for section in ("ServerApp", "JupyterApp", "Application")
        for name in _HIJACKS
        if section in config and name in config[section]
    ]
    return ", ".join(said) or "JUPYTER_CONFIG_PATH or JUPYTER_NO_CONFIG was set"


def _on_event(event: str, args: Tuple[Any, ...]) -> None:
    """End the process when a web server binds another address (sys.addaudithook).

    Python calls this whatever an extension has put in place of Jupyter's methods.
    """
    if event != "socket.bind" or State.announced:
        return
    listener, address = args
    if listener.family in _INTERNET and tuple(address[:2]) != State.allowed and _is_of_tornado():
        stop("%s:%s was to be opened without slurm-nb's lock" % tuple(address[:2]))


def _is_of_tornado() -> bool:
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == "tornado.netutil":
            return True
        frame = frame.f_back
    return False


def _before_sockets(server: Any, _sockets: Any) -> None:
    if not State.announced and server is not State.server:
        stop("an extension opens a web server of its own: %s" % type(server).__module__)
