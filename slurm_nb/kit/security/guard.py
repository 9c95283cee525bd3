"""Lets the server listen only after it has proven that the lock is in effect.

Jupyter's configuration is code, and anybody can write an extension. So slurm-nb proves the settings
on the live server, right before it binds.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any, Callable, Dict, NoReturn, Optional, Tuple

from ..self_check import Refused

STOPPED = "slurm-nb: Jupyter was stopped because a security check failed: %s"
_HIJACKS = ("config_file", "config_file_name")
_INTERNET = (socket.AF_INET, socket.AF_INET6)


class State:
    """The progress of this process towards a safe server."""

    prove: Optional[Callable[[Any], None]] = None
    """Raises `Refused` unless the lock is in effect; None: Jupyter did not read our settings."""
    wrap: Optional[Callable[[Any], None]] = None
    """Puts the door and the listener around the HTTP server, before it binds."""
    allowed: Optional[Tuple[str, int]] = None
    """The address that it may bind now."""
    server: Any = None
    """Jupyter's own HTTP server."""
    announced = False


def install() -> None:
    """Check Jupyter's server before it opens its socket."""
    from jupyter_server.serverapp import ServerApp  # noqa: PLC0415  slow, and checked before
    from tornado.tcpserver import TCPServer  # noqa: PLC0415

    _around(ServerApp, "init_httpserver", _before_http_server, _after_http_server)
    _around(ServerApp, "_bind_http_server", _before_bind, None)
    _around(TCPServer, "add_sockets", _before_sockets, None)
    sys.addaudithook(_on_event)


def check_that_it_listened() -> None:
    """Stop with a message if Jupyter ended successfully without ever listening."""
    error = sys.exc_info()[1]
    failed = error is not None and not (isinstance(error, SystemExit) and not error.code)
    if State.allowed is None and not failed:
        stop("it ended before it started to listen")


def announced() -> None:
    """Let extensions open any port from now on: the ready line has been printed."""
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
        except Exception as error:  # any error means that the server is not proven safe
            stop(str(error) or type(error).__name__)

    setattr(kind, name, guarded)


def _before_http_server(app: Any) -> None:
    _prove(app)
    # Jupyter tests the port before it binds one.
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
        raise Refused("Jupyter did not read slurm-nb's settings: %s" % _culprit(app))
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

    Python calls this even if an extension has replaced Jupyter's methods.
    """
    if event != "socket.bind" or State.announced:
        return
    listener, address = args
    if listener.family in _INTERNET and tuple(address[:2]) != State.allowed and _is_of_tornado():
        stop("a web server tried to listen on %s:%s without slurm-nb's lock" % tuple(address[:2]))


def _is_of_tornado() -> bool:
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == "tornado.netutil":
            return True
        frame = frame.f_back
    return False


def _before_sockets(server: Any, _sockets: Any) -> None:
    if not State.announced and server is not State.server:
        stop("an extension opens its own web server: %s" % type(server).__module__)
