"""The server's listening socket: serves only whom it may, and not more than it can bear."""

from __future__ import annotations

import contextlib
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
        self.settimeout(0)
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
                if not self._rules.drop_without_files(self):
                    break
                continue
            if self._rules.admit(connection):
                return connection, address
            connection.close()
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


class Rules:
    """Who is served, and how many at once."""

    def __init__(
        self,
        trusted: Optional[Set[int]],
        open_now: Callable[[], int],
        log: Callable[[str], None],
        notice: Callable[[str], None],
    ) -> None:
        """trusted: the uids to serve; None: all. open_now: counts the open connections.

        notice: tells the user.
        """
        self.trusted = trusted
        self.most = _bound()
        self.served = 0
        self._refused = False
        self._open_now = open_now
        self._log = log
        self._notice = notice
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def admit(self, connection: socket.socket) -> bool:
        """Return whether to serve a connection, and log why not."""
        if self.trusted is not None:
            try:
                uid = peers.uid_of(connection)
            except (OSError, peers.Unknown):
                return False  # it is gone, or nobody's
            if uid not in self.trusted:
                self._refuse(uid)
                return False
        if self._open_now() >= self.most:
            self._log("%d connections are open, and no more are served" % self.most)
            return False
        self.served += 1
        return True

    def _refuse(self, uid: int) -> None:
        text = (
            "a connection from %s was refused; if ssh on this node forwards as that user, submit"
            " with --peers any" % name_of(uid)
        )
        self._log(text)
        if not self.served and not self._refused:
            self._notice(text)  # perhaps the tunnel; once it has come through, it is not
        self._refused = True

    def begin(self) -> None:
        """Count from now on: the session is announced."""
        self.served, self._refused = 0, False

    def drop_without_files(self, listener: socket.socket) -> bool:
        """Close one connection though no file may be opened, by the one kept for this.

        Else it would stay in the queue, and wake the server at once again. Return whether there
        was one.
        """
        with contextlib.suppress(OSError):  # a thread may have taken it
            os.close(self._spare)
        try:
            socket.socket.accept(listener)[0].close()
        except OSError:
            return False
        finally:
            self._spare = -1
            with contextlib.suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._log("the limit on open files is reached: a connection was refused")
        return True


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
