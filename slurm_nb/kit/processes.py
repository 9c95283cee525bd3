"""Processes, sockets and mounts of a session's job, read from /proc. See proc(5)."""

from __future__ import annotations

import os
import re
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple


class Process(NamedTuple):
    """A process of the job."""

    pid: int
    argv: List[bytes]
    environ: List[bytes]
    inodes: Set[int]

    def variable(self, name: str) -> str:
        """Return a variable of its initial environment; empty if it is not set."""
        start = name.encode() + b"="
        values = [word[len(start) :] for word in self.environ if word.startswith(start)]
        return os.fsdecode(values[0]) if values else ""

    def __str__(self) -> str:
        program = os.path.basename(os.fsdecode(self.argv[0]))
        module = " -m " + os.fsdecode(self.argv[2]) if self.argv[1:2] == [b"-m"] else ""
        return "process %d (%s%s)" % (self.pid, program, module)


def of_session(cluster: str, job_id: str) -> Iterator[Process]:
    """Yield the processes of the session's job, and children that hide their environment.

    The session's mark and the job id in the environment identify them; without Slurm (`local`)
    only the mark.
    """
    mark = ("SLURM_NB_SESSION=%s/%s" % (cluster, job_id)).encode()
    # A job submitted from a notebook inherits the mark and has its own id.
    slurm_id = b"" if cluster == "local" else ("SLURM_JOB_ID=" + job_id).encode()
    ours: Dict[int, bool] = {os.getpid(): False}
    environs = _environs()
    del environs[os.getpid()]
    for pid, environ in environs.items():
        marked = any(word.startswith(b"SLURM_NB_SESSION=") for word in environ)
        if marked or (slurm_id and slurm_id in environ):
            mine = mark in environ or not marked
            ours[pid] = mine and (not slurm_id or slurm_id in environ)
    for pid, environ in sorted(environs.items()):
        line = []
        ancestor = pid
        while ancestor > 1 and ancestor not in ours:
            line.append(ancestor)
            status = read("/proc/%d/stat" % ancestor).rpartition(b")")[2].split()
            ancestor = int(status[1]) if status else 0
        ours.update(dict.fromkeys(line, ours.get(ancestor, False)))
        argv = read("/proc/%d/cmdline" % pid).split(b"\0")
        if ours.get(pid) and argv != [b""]:
            yield Process(pid, argv, environ, _inodes(pid))


def marked_inodes(mark: str) -> Set[int]:
    """Return the inodes of sockets held by processes with `NAME=VALUE` in their environment."""
    pids = [pid for pid, environ in _environs().items() if mark.encode() in environ]
    return set().union(*map(_inodes, pids))


def _environs() -> Dict[int, List[bytes]]:
    """Return the environment of each process; empty if it belongs to another user.

    Root could read those as well, and another user's session may have the same id.
    """
    pids = map(int, filter(str.isdigit, os.listdir("/proc")))
    return {pid: read("/proc/%d/environ" % pid).split(b"\0") if _own(pid) else [] for pid in pids}


def _own(pid: int) -> bool:
    return _uid(pid) == os.geteuid()


def _uid(pid: int) -> Optional[int]:
    """Return the real uid. Root owns the /proc/PID of a process that is not dumpable."""
    for line in read("/proc/%d/status" % pid).splitlines():
        if line.startswith(b"Uid:"):
            return int(line.split()[1])
    return None


def of_user() -> Dict[int, Optional[Set[int]]]:
    """Return the socket inodes of each process of this user; None if the process hides them."""
    found: Dict[int, Optional[Set[int]]] = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        if _own(pid):
            try:
                os.listdir("/proc/%d/fd" % pid)
                found[pid] = _inodes(pid)
            except PermissionError:
                found[pid] = None
            except OSError:
                continue
    return found


def name_of(pid: int) -> str:
    """Return the name that every user can see, such as `ssh-agent`."""
    return os.fsdecode(read("/proc/%d/comm" % pid).strip())


def _inodes(pid: int) -> Set[int]:
    inodes = set()
    try:
        for entry in os.scandir("/proc/%d/fd" % pid):
            link = os.readlink(entry.path)
            if link.startswith("socket:["):
                inodes.add(int(link[8:-1]))
    except OSError:
        pass  # the process has ended or closed the file
    return inodes


def read(path: str) -> bytes:
    """Return the content of a file; empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


class Mount(NamedTuple):
    """A line of mountinfo."""

    root: str
    """The mounted directory of the file system."""
    point: str
    kind: str
    """`nfs4`"""
    options: List[str]
    """Options of the file system."""


def mounts(text: str) -> Iterator[Mount]:
    """Yield the mounts in the text of /proc/self/mountinfo; skip malformed lines."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) > 4 and after:
            root, point = (
                re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), field)
                for field in fields[3:5]
            )
            yield Mount(root, point, kind[0], kind[2].split(",") if len(kind) > 2 else [])


def is_private(folder: str, here: str, outside: str) -> bool:
    """Return whether other processes on the node see another file system at `folder`.

    here, outside: mountinfo of this process and of process 1; False if one is empty.
    """
    seen = [_covering(folder, text) for text in (here, outside)]
    return None not in seen and seen[0] != seen[1]


def _covering(folder: str, text: str) -> Optional[Tuple[str, str]]:
    """Return the device and root of the mount that contains `folder`: the last of the longest."""
    found: Tuple[int, Optional[Tuple[str, str]]] = (-1, None)
    for line in text.splitlines():
        for mount in mounts(line):
            inside = (folder + "/").startswith(mount.point.rstrip("/") + "/")
            if inside and len(mount.point) >= found[0]:
                found = len(mount.point), (line.split(" ")[2], mount.root)
    return found[1]
