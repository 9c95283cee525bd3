"""Cleans up from the Jupyter server when the job script cannot.

A script that was killed with SIGKILL removes neither the node-local directory nor the token. The
job may already run on another node with a token of its own in that file, which stays.
"""

import atexit
import contextlib
import os
import shutil

from .files import read_regular


def clean_up_in_place_of_the_script(run_dir: str, session_dir: str, token: str) -> None:
    """Have this process remove `run_dir` and its token when it ends without its parent."""
    atexit.register(_clean_up, os.getpid(), os.getppid(), run_dir, session_dir, token)


def _clean_up(server: int, script: int, run_dir: str, session_dir: str, token: str) -> None:
    """Do nothing in a fork of `server`, which inherits the registration."""
    if os.getpid() == server and os.getppid() != script:
        shutil.rmtree(run_dir, ignore_errors=True)
        for name in ("token", "open.html"):
            with contextlib.suppress(OSError, ValueError):
                _remove(os.path.join(session_dir, name), token)


def _remove(path: str, token: str) -> None:
    if token in read_regular(path):
        os.unlink(path)
