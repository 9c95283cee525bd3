"""Private files of the session, which are complete or do not exist."""

from __future__ import annotations

import errno
import os
import stat

_LONGEST = 1 << 16


def read_regular(path: str) -> str:
    """Return the text of a regular file, up to 64 KiB; never wait for a pipe.

    Raises OSError, and ValueError if it is not ASCII.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", path)
        return file.read(_LONGEST).decode("ascii")


def write_private(path: str, text: str) -> None:
    """Write a 0600 file in one step, never into an existing file. Raises OSError."""
    fresh = path + ".new"
    if os.path.lexists(fresh):
        os.unlink(fresh)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.rename(fresh, path)
