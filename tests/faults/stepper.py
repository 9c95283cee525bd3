"""Runs slurm-nb and kills it with SIGKILL at a chosen step.

A program, not a module of the package: `python - STEP WORDS...`, with this text on stdin and WORDS
as slurm-nb takes them. A step is the moment before, and the moment after, each thing that slurm-nb
does to a file or with a process, counted from 1. On stderr it says where it was:
`step 7: after os.mkdir '/home/alice/.local'`. With a STEP that is never reached, slurm-nb ends as
ever.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any

# Audit events (Python's documentation, "Audit events table").
_CHANGES = frozenset(
    {
        "os.chmod", "os.chown", "os.exec", "os.fork", "os.kill", "os.killpg", "os.link", "os.mkdir",
        "os.posix_spawn", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate",
        "subprocess.Popen",
    }
)  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_STARTS = ("fork_exec", "posix_spawn")

_last = int(sys.argv.pop(1))
_process = os.getpid()
_steps = 0
_name = ""


def _step(when: str) -> None:
    global _steps  # noqa: PLW0603  a hook has no other place for it
    _steps += 1
    if _steps == _last:
        os.write(2, f"step {_steps}: {when} {_name}\n".encode())
        sys.setprofile(None)
        signal.raise_signal(signal.SIGKILL)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    global _name  # noqa: PLW0603
    writes = event == "open" and args[2] & _WRITES and args[0] != os.devnull
    if (writes or event in _CHANGES) and os.getpid() == _process:
        _name = f"{event} {args[0]!r}"
        _step("before")
        sys.setprofile(_started if event == "subprocess.Popen" else _done)


def _done(frame: FrameType, _event: str, _arg: object) -> None:
    """The first thing that happens after the event."""
    if frame.f_code is not _hook.__code__:
        sys.setprofile(None)
        _step("after")


def _started(_frame: FrameType, event: str, arg: object) -> None:
    """The event comes from Python's own code, some lines before it starts the process."""
    if event == "c_return" and getattr(arg, "__name__", "") in _STARTS:
        sys.setprofile(None)
        _step("after")


sys.argv[0] = "slurm-nb"
sys.addaudithook(_hook)

from slurm_nb.__main__ import main  # noqa: E402  it does not import itself unwatched

main()
