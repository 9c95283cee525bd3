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


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _start_ticks(pid: int) -> int:
    """Field 22 of /proc/PID/stat; 0 when the process is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[19])
