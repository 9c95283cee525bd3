"""Files of the session: private, and complete or not at all."""

from __future__ import annotations

import os


def write_private(path: str, text: str) -> None:
    """Write a 0600 file in one step; never into one that was there before. Raises OSError."""
    fresh = path + ".new"
    if os.path.lexists(fresh):
        os.unlink(fresh)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.rename(fresh, path)
