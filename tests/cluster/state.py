"""The state dir of a cluster: made, kept while anything of the cluster lives, removed after it.

The rule is one lock. `alive` in the state dir is locked (flock, shared) by the process that made
the cluster and by each host's PID 1. A sweeper, flock(1), waits for the exclusive lock and then
removes the dir: however the others ended, SIGKILL included. If the sweeper was killed too, the next
start finds a dir that nobody has locked and removes it.
"""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "slurm-testbed-"
_RECORDS = Path("/run/slurm-testbed")
_FRESH_S = 60.0
"""An unlocked dir younger than this may be one that is just being made."""


@dataclass(frozen=True)
class StateDir:
    """A state dir of this process."""

    path: Path
    lock: int
    """File descriptor with the shared lock; see release."""
    sweeper: subprocess.Popen[bytes]

    def release(self, *, wait_s: float) -> None:
        """Give up this process's share; wait at most wait_s until the dir is gone."""
        os.close(self.lock)
        if wait_s:
            self.sweeper.wait(wait_s)


def make_state_dir(name: str) -> StateDir:
    """Make a state dir with its sweeper, below TMPDIR or /tmp."""
    path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{name}-"))
    lock = os.open(path / "alive", os.O_RDONLY | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_SH)
    sweeper = subprocess.Popen(
        ["flock", "--exclusive", str(path / "alive"), "rm", "-rf", "--one-file-system", str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    return StateDir(path, lock, sweeper)


def sweep_leftovers() -> None:
    """Remove the state dirs of clusters that crashed with their sweeper."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            if path.is_symlink() or path.stat().st_uid != 0:
                continue
            if time.time() - path.stat().st_mtime < _FRESH_S:
                continue
            lock = os.open(path / "alive", os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # it lives
        else:
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)


@dataclass(frozen=True)
class Record:
    """The record of a cluster that outlives its maker, as JSON in /run."""

    state: Path
    inits: Mapping[str, int]
    """The PID of each host's PID 1."""
    started: Mapping[str, int]
    """When that process started, in clock ticks since boot: PIDs are used again."""
    release: str
    accounting: bool

    def alive(self) -> bool:
        """Return whether all hosts still run."""
        return all(self.living(host) for host in self.inits)

    def living(self, host: str) -> bool:
        """Return whether a host still runs."""
        return start_time(self.inits[host]) == self.started[host]


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot (field 22 of proc(5) stat).

    None if it is gone, or has ended and nobody has reaped it.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def _record_file(name: str) -> Path:
    return _RECORDS / f"{name}.json"


def remember(
    name: str, state: Path, inits: Mapping[str, int], *, release: str, accounting: bool
) -> None:
    """Save a record."""
    _RECORDS.mkdir(mode=0o755, exist_ok=True)
    started = {host: start_time(pid) for host, pid in inits.items()}
    record: dict[str, object] = {"state": str(state), "inits": dict(inits), "started": started}
    record |= {"release": release, "accounting": accounting}
    _record_file(name).write_text(json.dumps(record), encoding="utf-8")


def recall(name: str) -> Record | None:
    """Return the record saved under a name, or None."""
    try:
        saved = json.loads(_record_file(name).read_text("utf-8"))
    except FileNotFoundError:
        return None
    return Record(**{**saved, "state": Path(saved["state"])})


def forget(name: str) -> None:
    """Remove the record saved under a name."""
    _record_file(name).unlink(missing_ok=True)
    with suppress(OSError):  # others are remembered there
        _RECORDS.rmdir()
