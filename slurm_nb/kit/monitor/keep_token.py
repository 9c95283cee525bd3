"""Runs inside the Jupyter server: writes the session's token again when its file is gone.

A login node that took the session for ended, or a hand, may have removed it, and nobody could
connect any more. The file system may be slow or gone, so a thread looks.
"""

from __future__ import annotations

import os
import threading
import time

from ..files import read_regular, write_private

PERIOD_S = 30.0


def keep(session_dir: str, submission: str, token: str) -> None:
    """Look now and then, as long as this process lives, whether the token is there."""

    def watch() -> None:
        while True:
            time.sleep(PERIOD_S)
            restore(session_dir, submission, token)

    threading.Thread(target=watch, daemon=True).start()


def restore(session_dir: str, submission: str, token: str) -> None:
    """Write the token if its file is missing, and the directory is this submission's still."""
    path = os.path.join(session_dir, "token")
    try:
        if not os.path.lexists(path) and _submission(session_dir) == submission:
            write_private(path, token)
    except (OSError, ValueError):
        return  # the directory is gone, or the disk refuses: it is tried again


def _submission(session_dir: str) -> str:
    """Return what the job script has noted; nothing for one that was submitted by hand."""
    path = os.path.join(session_dir, "submission")
    if not os.path.exists(path):
        return ""
    return read_regular(path)
