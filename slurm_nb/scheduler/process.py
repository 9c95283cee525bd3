"""A process of this machine, distinguished from others with the same id.

Linux only: /proc is proc(5).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process, identified by more than its id, which the kernel reuses."""

    host: str
    boot_id: str
    pid: int
    start_ticks: int
    """Since boot; field 22 of /proc/PID/stat. 0: the process had already ended."""

    @classmethod
    def here(cls, pid: int) -> Process:
        """Return the process that has this id now."""
        return cls(os.uname().nodename, _boot_id(), pid, _start_ticks(pid))

    def elsewhere(self) -> bool:
        """Return whether the process belongs to another host, where its state is unknown."""
        return self.host != os.uname().nodename

    def alive(self) -> bool:
        """Return whether the process exists on this host."""
        return (
            self.boot_id == _boot_id()
            and self.start_ticks != 0
            and _start_ticks(self.pid) == self.start_ticks
        )


def this_process() -> str:
    """Return a description of this process for `is_stopped`."""
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
    """Return field 22 of /proc/PID/stat; 0 if the process has ended or is a zombie."""
    fields = _stat(pid)
    return 0 if not fields or fields[0] in "ZX" else int(fields[19])
