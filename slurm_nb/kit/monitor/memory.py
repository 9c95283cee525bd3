"""Runs inside a session's job: how much memory it may use, how much it uses, what was killed.

Control groups are cgroups(7); version
1 is Documentation/admin-guide/cgroup-v1/memory.rst of Linux, version 2 cgroup-v2.rst.
"""

from __future__ import annotations

import os
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from ..processes import mounts, read

_WARN_AT = (0.80, 0.92)
_WELL_BELOW = 0.15


class Usage(NamedTuple):
    """Of the control group that is nearest to its limit."""

    limit: int
    """Bytes."""
    used: int
    """Bytes, without what the kernel can give up at once: files that were read long ago."""

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
    """The control groups of this process, from its own up to the one that is mounted.

    root: where the machine's files are, `/` but in tests.
    """

    def __init__(self, root: str = "/") -> None:
        self._groups = _groups(root)
        meminfo = _table(_read(os.path.join(root, "proc/meminfo")))
        self._machine = meminfo.get("MemTotal", 0) * 1024

    def usage(self) -> Optional[Usage]:
        """None when nothing limits this process but the machine."""
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
        """How many processes were killed for memory; it only ever rises.

        A group of version 1 counts its own, one of version 2 also those below it, and so, where
        it is not limited, those of other jobs.
        """
        count = 0
        for folder, version in self._groups:
            if version is _V1 or self._limit(folder, version) is not None:
                events = _table(_read(os.path.join(folder, version.events)))
                count += events.get("oom_kill", 0)
        return count

    def _limit(self, folder: str, version: _Version) -> Optional[int]:
        """None when it is no less than what the machine has."""
        limits = [_number(os.path.join(folder, name)) for name in version.limits]
        limit = min((each for each in limits if each is not None), default=0)
        return limit if 0 < limit < (self._machine or limit + 1) else None


class Levels:
    """Which warnings of rising memory are due: each once, until it has fallen well below."""

    def __init__(self) -> None:
        self._told: Set[float] = set()

    def due(self, fraction: float) -> bool:
        """Whether `fraction` is to be warned of."""
        self._told -= {level for level in _WARN_AT if fraction < level - _WELL_BELOW}
        reached = {level for level in _WARN_AT if fraction >= level}
        fresh = reached - self._told
        self._told |= reached
        return bool(fresh)


def gibibytes(amount: int) -> str:
    """Bytes as people read them: `3.9 GiB`, `512 MiB`."""
    if amount < 1 << 30:
        return "%d MiB" % (amount >> 20)
    return ("%.1f" % (amount / (1 << 30))).replace(".0", "") + " GiB"


def twice(limit: int) -> str:
    """Double a limit, for `--mem`: `8G`, `600M`."""
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
        # In a namespace, or a container that has a part of the tree, the path is another.
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
    """(mount point, what of the tree is mounted there) of each version."""
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
    """None for a file that is not there, or says `max`."""
    text = _read(path).strip()
    return int(text) if text.isdigit() else None


def _table(text: str) -> Dict[str, int]:
    """Lines of a name and a number: `oom_kill 1`, `MemTotal:  24 kB`."""
    rows = (line.split() for line in text.splitlines())
    return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
