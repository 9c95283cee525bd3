"""Runs inside the Jupyter server: cleans up where the job script can't.

A script that was killed (SIGKILL) has cleaned nothing up: neither the node-local directory nor the
token. The job may run elsewhere already, with a token of its own in that file, which stays.
"""

import atexit
import contextlib
import os
import shutil

from .files import read_regular


def clean_up_in_place_of_the_script(run_dir: str, session_dir: str, token: str) -> None:
    """Have this process, when it ends without its parent, remove `run_dir` and its token."""
    atexit.register(_clean_up, os.getpid(), os.getppid(), run_dir, session_dir, token)


def _clean_up(server: int, script: int, run_dir: str, session_dir: str, token: str) -> None:
    """`server`: a fork inherits what is registered, and is not meant."""
    if os.getpid() == server and os.getppid() != script:
        shutil.rmtree(run_dir, ignore_errors=True)
        for name in ("token", "open.html"):
            with contextlib.suppress(OSError, ValueError):
                _remove(os.path.join(session_dir, name), token)


def _remove(path: str, token: str) -> None:
    if token in read_regular(path):
        os.unlink(path)
