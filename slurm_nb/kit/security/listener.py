"""The server's listening socket, which serves only allowed users and limits connections."""

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
_FILES_PER_CONNECTION = 8  # kernels need most of the files that the limit allows
_TAKEN_AT_ONCE = 128


class Listener(socket.socket):
    """A listening socket that closes a connection at once if it must not serve it."""

    def __init__(self, listening: socket.socket, rules: Rules) -> None:
        super().__init__(fileno=listening.detach())
        self.settimeout(0)
        self._rules = rules

    def accept(self) -> Tuple[socket.socket, Any]:
        """Return the next connection to serve. Raise BlockingIOError if nobody is waiting.

        Tornado calls this until it raises. One call accepts a limited number of connections, so
        that a flood cannot block the server.
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
    """The users to serve, and the maximum number of connections."""

    def __init__(
        self,
        trusted: Optional[Set[int]],
        open_now: Callable[[], int],
        log: Callable[[str], None],
        notice: Callable[[str], None],
    ) -> None:
        """trusted: the uids to serve; None: all. open_now: counts the open connections.

        notice: shows the user a text.
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
                return False  # it is closed, or its owner is unknown
            if uid not in self.trusted:
                self._refuse(uid)
                return False
        if self._open_now() >= self.most:
            self._log("%d connections are open, which is the maximum" % self.most)
            return False
        self.served += 1
        return True

    def _refuse(self, uid: int) -> None:
        text = (
            "slurm-nb refused a connection from %s: ignore this if the page opens in your browser;"
            " otherwise ask your site if its ssh forwards as that user (--peers any)" % name_of(uid)
        )
        self._log(text)
        if not self.served and not self._refused:
            self._notice(text)  # it may be the tunnel, as long as the server has served nobody
        self._refused = True

    def begin(self) -> None:
        """Forget earlier connections, because the session is announced now."""
        self.served, self._refused = 0, False

    def drop_without_files(self, listener: socket.socket) -> bool:
        """Close one waiting connection at the limit on open files, using a spare file.

        It would otherwise stay in the queue and wake the server again at once. Return whether a
        connection was waiting.
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
        self._log("refused a connection: the limit on open files is reached")
        return True


def name_of(uid: int) -> str:
    """Return `mallory (uid 1002)`, or `uid 1002` if the user is unknown."""
    try:
        return "%s (uid %d)" % (pwd.getpwuid(uid).pw_name, uid)
    except KeyError:
        return "uid %d" % uid


def _bound() -> int:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(_FEWEST_CONNECTIONS, min(_MOST_CONNECTIONS, files // _FILES_PER_CONNECTION))
