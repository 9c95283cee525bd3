"""The PATH of the user's login shell, for a command that ssh started without one."""

from __future__ import annotations

import os
import pwd
import shutil
from contextlib import suppress

from slurm_nb.errors import SchedulerError
from slurm_nb.scheduler.run import run

_NEEDED = ("squeue", "srun")
_LIMIT_S = 5.0
_MARK = "slurm-nb PATH="


def find_slurm() -> None:
    """Take PATH from the login shell if Slurm's commands are not on it. Raises `SchedulerError`."""
    if _is_complete():
        return
    with suppress(SchedulerError):
        told = run(
            [_shell(), "-lc", f"printf '\\n%s%s\\n' '{_MARK}' \"$PATH\""], timeout_s=_LIMIT_S
        )
        found = [line for line in told.stdout.splitlines() if line.startswith(_MARK)]
        if found:
            os.environ["PATH"] = found[-1].removeprefix(_MARK)
    if not _is_complete():
        raise SchedulerError(
            "Slurm's commands (srun, squeue) are not on PATH, neither here nor in your login shell",
            hint="run this on a login node, or set PATH in ~/.bashrc, which ssh reads",
        )


def _is_complete() -> bool:
    return all(shutil.which(name) for name in _NEEDED)


def _shell() -> str:
    with suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_shell or "/bin/sh"
    return os.environ.get("SHELL", "/bin/sh")
