"""Reads the job's memory, its limit, and the number of processes that Linux killed.

For control groups see cgroups(7) and Linux's Documentation/admin-guide: cgroup-v1/memory.rst for
version 1, cgroup-v2.rst for version 2.
"""

from __future__ import annotations

import os
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from ..processes import mounts, read

_WARN_AT = (0.80, 0.92)
_WELL_BELOW = 0.15


class Usage(NamedTuple):
    """Memory of the control group closest to its limit."""

    limit: int
    """Bytes."""
    used: int
    """Bytes, without the file cache that Linux can free at once."""

    @property
    def fraction(self) -> float:
        """`0.82`"""
        return self.used / self.limit


class _Version(NamedTuple):
    limits: Tuple[str, ...]
    used: str
    inactive: str
    events: str


_V1 = _Version(
    ("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file", "memory.oom_control"
)
_V2 = _Version(("memory.max", "memory.high"), "memory.current", "inactive_file", "memory.events")


class Memory:
    """The control groups of this process, from its own up to the mounted one.

    root: the directory with the machine's files; tests use another one.
    """

    def __init__(self, root: str = "/") -> None:
        self._groups = _groups(root)
        meminfo = _table(_read(os.path.join(root, "proc/meminfo")))
        self._machine = meminfo.get("MemTotal", 0) * 1024

    def usage(self) -> Optional[Usage]:
        """Return the usage; None if only the machine limits this process."""
        found = []
        for folder, version in self._groups:
            limit = self._limit(folder, version)
            used = _number(os.path.join(folder, version.used))
            if used is None or limit is None:
                continue
            inactive = _table(_read(os.path.join(folder, "memory.stat"))).get(version.inactive, 0)
            found.append(Usage(limit, max(0, used - inactive)))
        return max(found, key=lambda each: each.fraction, default=None)

    def kills(self) -> int:
        """Return the number of processes that Linux killed for memory, which never decreases.

        A group of version 1 reports its own processes. A group of version 2 includes the groups
        below it, so one without a limit would include the processes of other jobs.
        """
        count = 0
        for folder, version in self._groups:
            if version is _V1 or self._limit(folder, version) is not None:
                events = _table(_read(os.path.join(folder, version.events)))
                count += events.get("oom_kill", 0)
        return count

    def _limit(self, folder: str, version: _Version) -> Optional[int]:
        """Return the limit; None if it is not below the machine's memory."""
        limits = [_number(os.path.join(folder, name)) for name in version.limits]
        limit = min((each for each in limits if each is not None), default=0)
        return limit if 0 < limit < (self._machine or limit + 1) else None


class Levels:
    """Warnings about rising memory, each once until memory has fallen well below its level."""

    def __init__(self) -> None:
        self._reached: Set[float] = set()

    @property
    def any_reached(self) -> bool:
        """Whether memory has reached a level and not fallen well below it since."""
        return bool(self._reached)

    def due(self, fraction: float) -> bool:
        """Return whether a warning about `fraction` is due."""
        self._reached -= {level for level in _WARN_AT if fraction < level - _WELL_BELOW}
        reached = {level for level in _WARN_AT if fraction >= level}
        fresh = reached - self._reached
        self._reached |= reached
        return bool(fresh)


def gibibytes(amount: int) -> str:
    """Return bytes as people read them: `3.9 GiB`, `512 MiB`."""
    if amount < 1 << 30:
        return "%d MiB" % (amount >> 20)
    return ("%.1f" % (amount / (1 << 30))).replace(".0", "") + " GiB"


def twice(limit: int) -> str:
    """Return twice the limit, for `--mem`: `8G`, `600M`."""
    mebibytes = -(-2 * limit // (1 << 20))
    return "%dM" % mebibytes if mebibytes < 1024 else "%dG" % -(-mebibytes // 1024)


def _groups(root: str) -> List[Tuple[str, _Version]]:
    mounted = _mounts(root)
    found = []
    for line in _read(os.path.join(root, "proc/self/cgroup")).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        version = _V1 if controllers else _V2
        if version not in mounted:
            continue
        point, inner = mounted[version]
        # In a namespace, or a container that sees only a part of the tree, the path is different.
        if path == inner or path.startswith(inner.rstrip("/") + "/"):
            path = path[len(inner.rstrip("/")) :]
        parts = [part for part in path.split("/") if part]
        if ".." in parts:
            parts = []
        base = os.path.join(root, point.lstrip("/"))
        folders = [os.path.join(base, *parts[:depth]) for depth in range(len(parts), -1, -1)]
        found += [(folder, version) for folder in folders if os.path.isdir(folder)]
    return found


def _mounts(root: str) -> Dict[_Version, Tuple[str, str]]:
    """Return the mount point of each version, and the part of the tree mounted there."""
    found: Dict[_Version, Tuple[str, str]] = {}
    for mount in mounts(_read(os.path.join(root, "proc/self/mountinfo"))):
        if mount.kind == "cgroup2":
            found.setdefault(_V2, (mount.point, mount.root))
        elif mount.kind == "cgroup" and "memory" in mount.options:
            found.setdefault(_V1, (mount.point, mount.root))
    return found


def _read(path: str) -> str:
    return os.fsdecode(read(path))


def _number(path: str) -> Optional[int]:
    """Return the number in a file; None if the file does not exist or contains `max`."""
    text = _read(path).strip()
    return int(text) if text.isdigit() else None


def _table(text: str) -> Dict[str, int]:
    """Parse lines of a name and a number: `oom_kill 1`, `MemTotal:  24 kB`."""
    rows = (line.split() for line in text.splitlines())
    return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
