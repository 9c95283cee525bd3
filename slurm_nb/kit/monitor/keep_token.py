"""Writes the session's token again if its file is missing.

Without the file nobody could connect. A login node that considered the session ended may have
removed it, or the user did. The file system may be slow or gone, so a thread checks it.
"""

from __future__ import annotations

import os
import threading
import time

from ..files import read_regular, write_private

PERIOD_S = 30.0


def keep(session_dir: str, submission: str, token: str) -> None:
    """Check regularly, as long as this process runs, that the token's file exists."""

    def watch() -> None:
        while True:
            time.sleep(PERIOD_S)
            restore(session_dir, submission, token)

    threading.Thread(target=watch, daemon=True).start()


def restore(session_dir: str, submission: str, token: str) -> None:
    """Write the token if its file is missing and the directory still belongs to `submission`."""
    path = os.path.join(session_dir, "token")
    try:
        if not os.path.lexists(path) and _submission(session_dir) == submission:
            write_private(path, token)
    except (OSError, ValueError):
        return  # the directory is gone or the disk is full: the thread tries again


def _submission(session_dir: str) -> str:
    """Return the submission that the job script recorded; empty if you ran sbatch yourself."""
    path = os.path.join(session_dir, "submission")
    if not os.path.exists(path):
        return ""
    return read_regular(path)
