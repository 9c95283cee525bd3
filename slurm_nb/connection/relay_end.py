"""The ends of a relay: a UNIX socket of the login node, and a port of the laptop.

They are the same for all of a user's sessions, one at a time. So a line in the laptop's ssh
configuration stays right, and the browser keeps its cache, which is per port.

STATE/relay/                     0700
  secret                         0600, random: the local port follows from it
  lock                           0600, locked by the process that has the socket; its job's id
  socket                         0600, while a relay is held
  8                              0600, the socket of a second relay at the same time
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from slurm_nb.connection.tunnel import default_local_port
from slurm_nb.errors import UserError
from slurm_nb.files import cannot_write, make_private, open_regular, read_small, write_private
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store

_SOCKET_BYTES = 107  # of sun_path, without the zero byte: unix(7)
# No colon, percent sign or dollar, which have a meaning in ssh's -L and LocalForward.
_SAFE = re.compile(r"/[\w./+@,=~ -]+")
_SECRET = re.compile(r"[0-9a-f]{32}", re.ASCII)
# A relay that was killed needs a moment to end.
_LOCK_S = 5.0


@dataclass(frozen=True)
class End:
    """Where a relay can be reached."""

    socket: Path
    """On this login node."""
    port: int
    """On the laptop, of 127.0.0.1."""


def user_end(store: Store, local_port: int | None = None) -> End:
    """Return the end that all sessions use; local_port: chosen by the user."""
    secret = _secret(store)
    return End(_folder(store, secret) / "socket", local_port or default_local_port(secret))


def own_end(store: Store, session: Session) -> End:
    """Return the end of `session` while another one has the user's."""
    secret = _secret(store)
    nonce = _digest(f"{secret} {session.cluster} {session.job_id}")
    port = session.local_port or default_local_port(nonce)
    return End(_folder(store, secret) / session.job_id, port)


def holder(store: Store) -> str | None:
    """Return the id of the job whose relay has the user's end now, or None."""
    try:
        handle = open_regular(store.relays / "lock", os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(handle, 100, 0).decode(errors="replace") or "?"
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(handle)
    return None


@contextmanager
def held(store: Store, session: Session) -> Iterator[int]:
    """Keep the user's end for `session`; yield the descriptor that keeps it.

    Raises `BusyError` if another relay has it.
    """
    make_private(store.relays)
    path = store.relays / "lock"
    try:
        handle = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        _lock(handle)
        os.ftruncate(handle, 0)
        os.pwrite(handle, session.job_id.encode(), 0)
        yield handle
    finally:
        os.close(handle)


class BusyError(UserError):
    """Another relay of the user has the end."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"your relay already carries session {job_id}")


def _lock(handle: int) -> None:
    deadline = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                job_id = os.pread(handle, 100, 0).decode(errors="replace")
                raise BusyError(job_id) from error
            time.sleep(0.1)
        except OSError:  # a file system without locks
            return
        else:
            return


def prepare(path: Path, *, is_new: bool) -> None:
    """Make the private directory of a socket. Raises `UserError` if others could change it.

    is_new: there must be nothing at the path yet.
    """
    words = f"--socket {path}"
    if not _SAFE.fullmatch(str(path)) or len(os.fsencode(path)) > _SOCKET_BYTES:
        raise UserError(
            f"{words}: must be an absolute path of letters, digits and ./_-, of at most"
            f" {_SOCKET_BYTES} bytes"
        )
    folder = path.parent
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
    except OSError as error:
        raise cannot_write(folder, error) from error
    if status.st_uid != os.geteuid() or not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o022:
        raise UserError(f"{words}: other users can change {folder}", hint="use another directory")
    if is_new and os.path.lexists(path):
        raise UserError(
            f"{words}: exists, so another relay may use it", hint="use another path, or remove it"
        )


def _secret(store: Store) -> str:
    path = store.relays / "secret"
    with suppress(OSError, ValueError):
        text = read_small(path, 100).decode("ascii").strip()
        if _SECRET.fullmatch(text):
            return text
    make_private(store.relays)
    text = secrets.token_hex(16)
    write_private(path, f"{text}\n")
    return text


def _folder(store: Store, secret: str) -> Path:
    """Return the directory of the sockets on this login node.

    It is in the state directory, or, where that has no UNIX sockets or its path is too long, one in
    /tmp whose name nobody can guess.
    """
    folder = store.relays
    longest = folder / "0123456789"
    if len(os.fsencode(longest)) <= _SOCKET_BYTES and _SAFE.fullmatch(str(folder)):
        make_private(folder)
        if _takes_sockets(folder):
            return folder
    return Path("/tmp") / f"slurm-nb-{_digest(secret)}"  # noqa: S108  prepare() checks its owner


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _takes_sockets(folder: Path) -> bool:
    """Return whether the file system of a directory has UNIX sockets."""
    path = folder / f".{os.getpid()}"
    with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        path.unlink(missing_ok=True)
        probe.bind(os.fspath(path))
        path.unlink()
        return True
    return False
