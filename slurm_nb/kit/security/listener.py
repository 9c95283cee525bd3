"""The server's listening socket: serves only whom it may, and not more than it can bear."""

from __future__ import annotations

import errno
import os
import pwd
import resource
import socket
from typing import Any, Callable, Optional, Set, Tuple

from . import peers

_MOST_CONNECTIONS = 512
_FEWEST_CONNECTIONS = 16
_FILES_PER_CONNECTION = 8  # of the limit on open files, most is for kernels and what they use
_TAKEN_AT_ONCE = 128


class Listener(socket.socket):
    """A listening socket that closes what it may not serve, in the moment it connects."""

    def __init__(self, listening: socket.socket, rules: Rules) -> None:
        super().__init__(fileno=listening.detach())
        self.setblocking(False)
        self._rules = rules

    def accept(self) -> Tuple[socket.socket, Any]:
        """Return the next connection that may be served. Raise BlockingIOError when there is none.

        Tornado calls this until it raises. The number of looks is bounded so that a flood does
        not keep the server from its work.
        """
        for _ in range(_TAKEN_AT_ONCE):
            try:
                connection, address = super().accept()
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                self._rules.drop_without_files(self)
                continue
            if self._rules.admit(connection):
                return connection, address
            connection.close()
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


class Rules:
    """Who is served, and how many at once."""

    def __init__(
        self, trusted: Optional[Set[int]], open_now: Callable[[], int], log: Callable[[str], None]
    ) -> None:
        """trusted: the uids to serve; None: all. open_now: counts the open connections."""
        self.trusted = trusted
        self.most = _bound()
        self.refused_uids: Set[int] = set()
        self.served = 0
        """Connections since the server was announced."""
        self._open_now = open_now
        self._log = log
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def admit(self, connection: socket.socket) -> bool:
        """Return whether to serve a connection, and log why not."""
        if self.trusted is not None:
            try:
                uid = peers.uid_of(connection)
            except (OSError, peers.Unknown):
                return False  # it is gone, or nobody's
            if uid not in self.trusted:
                self.refused_uids.add(uid)
                self._log(
                    "a connection from %s was refused; if ssh on this node forwards as that user,"
                    " submit with --peers any" % name_of(uid)
                )
                return False
        if self._open_now() >= self.most:
            self._log("%d connections are open, and no more are served" % self.most)
            return False
        self.served += 1
        return True

    def drop_without_files(self, listener: socket.socket) -> None:
        """Close one connection though no file may be opened, by the one kept for this.

        Else it would stay in the queue, and wake the server at once again.
        """
        os.close(self._spare)
        try:
            socket.socket.accept(listener)[0].close()
        except OSError:
            pass
        finally:
            try:
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:  # a thread was faster
                self._spare = -1
        self._log("the limit on open files is reached: a connection was refused")


def name_of(uid: int) -> str:
    """`mallory (uid 1002)`, or `uid 1002`."""
    try:
        return "%s (uid %d)" % (pwd.getpwuid(uid).pw_name, uid)
    except KeyError:
        return "uid %d" % uid


def _bound() -> int:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(_FEWEST_CONNECTIONS, min(_MOST_CONNECTIONS, files // _FILES_PER_CONNECTION))
