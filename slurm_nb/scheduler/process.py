"""A process of this machine, such that another one of the same id is not taken for it.

Linux only: /proc is proc(5).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process, known by more than its id, which will be given to another in time."""

    host: str
    boot_id: str
    pid: int
    start_ticks: int
    """Since boot; field 22 of /proc/PID/stat. 0: it was gone when it was looked at."""

    @classmethod
    def here(cls, pid: int) -> Process:
        """The process that has this id now."""
        return cls(os.uname().nodename, _boot_id(), pid, _start_ticks(pid))

    def elsewhere(self) -> bool:
        """Whether it is another host's, of which nothing can be said."""
        return self.host != os.uname().nodename

    def alive(self) -> bool:
        """Whether it lives on this host."""
        return (
            self.boot_id == _boot_id()
            and self.start_ticks != 0
            and _start_ticks(self.pid) == self.start_ticks
        )


def this_process() -> str:
    """Return this process in words that `is_stopped` takes."""
    return f"{os.uname().nodename} {_boot_id()} {os.getpid()}\n"


def is_stopped(process: str) -> bool:
    """Return whether a process of this host is stopped, by Ctrl-Z or a debugger (proc(5))."""
    match process.split():
        case [host, boot_id, pid] if (host, boot_id) == (os.uname().nodename, _boot_id()):
            return pid.isdecimal() and _stat(int(pid))[:1] in (["T"], ["t"])
    return False


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on, the state; none if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return stat.rpartition(")")[2].split()


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _start_ticks(pid: int) -> int:
    """Field 22 of /proc/PID/stat; 0 when the process is gone or a zombie."""
    fields = _stat(pid)
    return 0 if not fields or fields[0] in "ZX" else int(fields[19])
