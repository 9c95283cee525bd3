"""A limit on memory for processes of this machine: a control group, of either version."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_MOUNTED = Path("/sys/fs/cgroup")


def can_limit() -> bool:
    """Return whether control groups limit memory here, and a group can be made."""
    return _parent() is not None


@contextlib.contextmanager
def limited(name: str, pids: Sequence[int], limit: int) -> Iterator[Path]:
    """Hold processes, and those that they start from now on, to `limit` bytes; yield the group.

    pids: on this machine. Afterwards the processes left in the group are put back.
    """
    parent = _parent()
    assert parent is not None
    group = parent / name
    group.mkdir()
    try:
        unified = (group / "memory.max").exists()
        (group / ("memory.max" if unified else "memory.limit_in_bytes")).write_text(str(limit))
        for pid in pids:
            (group / "cgroup.procs").write_text(str(pid))
        yield group
    finally:
        _give_up(group)


def _parent() -> Path | None:
    """Return where groups are made: version 1 next to version 2, or only version 2."""
    if (_MOUNTED / "memory/memory.limit_in_bytes").exists():
        return _MOUNTED / "memory"
    controllers = _MOUNTED / "cgroup.subtree_control"
    if controllers.exists() and "memory" in controllers.read_text().split():
        return _MOUNTED
    return None


def _give_up(group: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # it has ended
                (group.parent / "cgroup.procs").write_text(pid)
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
