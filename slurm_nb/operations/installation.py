"""Check that an installation for all users works for all users."""

from __future__ import annotations

import os
import sys

from slurm_nb.errors import SchedulerError
from slurm_nb.scheduler.run import run

_TRY_S = 30.0
# setpriv(1) of util-linux keeps its capabilities until it runs env; the id is that of nobody.
_AS_ANOTHER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env")


def closed_to_others() -> str:
    """Return why another user cannot run this installation; empty if they can.

    Only root can try that; for other users it returns an empty text.
    """
    if os.geteuid() != 0:
        return ""
    try:
        if run([*_AS_ANOTHER, "true"], timeout_s=_TRY_S, cwd="/").exit_code != 0:
            return ""  # in a container without other users
        program = [sys.executable, "-m", "slurm_nb", "--version"]
        tried = run([*_AS_ANOTHER, *program], timeout_s=_TRY_S, cwd="/")
    except SchedulerError:
        return ""
    if tried.exit_code == 0:
        return ""
    return (
        f"other users cannot run this installation ({tried.words}). Its Python is"
        f" {os.path.realpath(sys.executable)}. Install again with umask 022 and a Python that"
        " everybody can run, such as /usr/bin/python3"
    )
