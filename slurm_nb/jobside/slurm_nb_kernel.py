"""Starts ipykernel with its inbound pipe on a UNIX socket.

ipykernel takes the output of forked children from a PULL socket, which it binds to a TCP port of
the loopback interface (ipykernel 6 and 7, iostream.py, IOPubThread): any user of the node could
push text of his own there. Run in place of `python -m ipykernel_launcher`, by the kernel's own
interpreter: standard library, pyzmq and ipykernel only.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from typing import Any, Iterator

_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if path != _HERE]  # what is imported is the user's

import zmq  # noqa: E402
from ipykernel import iostream, kernelapp  # noqa: E402

_PORT = 1  # what ipykernel takes for the port; nothing listens there


def _pipe_path() -> str:
    """In the session's runtime directory, which is 0700 and short enough."""
    folder = os.environ.get("JUPYTER_RUNTIME_DIR") or tempfile.mkdtemp()
    return os.path.join(folder, "kernel-pipe-%d" % os.getpid())


@contextlib.contextmanager
def _in_place(name: str, method: Any) -> Iterator[None]:
    original = getattr(zmq.Socket, name)
    setattr(zmq.Socket, name, method)
    try:
        yield
    finally:
        setattr(zmq.Socket, name, original)


def _pipe_to_socket() -> None:
    path = "ipc://" + _pipe_path()
    thread: Any = iostream.IOPubThread
    set_up_in = thread._setup_pipe_in
    set_up_out = thread._setup_pipe_out
    connect = zmq.Socket.connect

    def bind(self: Any, _address: str, *_args: Any, **_kwargs: Any) -> int:
        self.bind(path)
        return _PORT

    def connect_out(self: Any, address: str) -> Any:
        return connect(self, path if address.endswith(":%d" % _PORT) else address)

    def pipe_in(self: Any) -> Any:
        with _in_place("bind_to_random_port", bind):
            return set_up_in(self)

    def pipe_out(self: Any) -> Any:
        with _in_place("connect", connect_out):
            return set_up_out(self)

    thread._setup_pipe_in = pipe_in
    thread._setup_pipe_out = pipe_out


if __name__ == "__main__":
    with contextlib.suppress(AttributeError):  # an ipykernel that does it in another way
        _pipe_to_socket()
    kernelapp.launch_new_instance()
