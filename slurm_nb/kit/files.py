"""Private files of the session, which are complete or do not exist."""

from __future__ import annotations

import os


def write_private(path: str, text: str) -> None:
    """Write a 0600 file in one step, never into an existing file. Raises OSError."""
    fresh = path + ".new"
    if os.path.lexists(fresh):
        os.unlink(fresh)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.rename(fresh, path)
