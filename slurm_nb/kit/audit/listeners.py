"""Finds the sockets of a session's job, even those that a process hides.

The audit judges a socket by its uid in the kernel's tables too, because a process can hide which
sockets it holds (prctl(2), PR_SET_DUMPABLE).
"""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING, Dict, List, Optional, Set, Tuple

from .. import processes, self_check
from ..security import peers
from . import probe

if TYPE_CHECKING:
    from ..processes import Process
    from .audit import Job

Check = Tuple[str, bool, str]
_LISTENS = "0A"
_CONNECTED = "01"
_AUTOBOUND = re.compile("@[0-9a-f]{5}")  # a client's random name, see unix(7)


def tcp(job: Job) -> List[Check]:
    """Check that only the notebook listens, and only at its own address."""
    expected = "%s:%s" % (job.ready["address"] or "127.0.0.1", job.ready["port"])
    own, bound, told, wrong = None, [], [], []
    found = self_check.inet_sockets("tcp")
    listening = {inode: row for inode, row in found.items() if row.state == _LISTENS}
    for process in job.processes:
        pipes = 0
        for inode in sorted(process.inodes & set(listening)):
            address = listening[inode].address
            shown = "%s inode %d %s" % (address, inode, process)
            port = address.rpartition(":")[2]
            if process is job.server and own is None and port == str(job.ready["port"]):
                own = address
                bound.append(shown)
            elif _is_kernel(job, process) and not pipes and probe.is_pull(address):
                pipes += 1
                told.append("%s: ipykernel's inbound pipe (it sends nothing)" % shown)
            else:
                wrong.append("%s: not the notebook's" % shown)
    wrong += _unheld(job, listening)
    text = "; ".join(wrong or bound + told) or "no process of the job listens on TCP"
    checks = [("TCP listeners", not wrong, text)]
    if job.ready["socket"]:
        return [*checks, ("bind address", own is None, own or "none: " + job.ready["socket"])]
    wild = own is not None and own.rpartition(":")[0] in ("0.0.0.0", "::")
    return [*checks, ("bind address", own == expected and not wild, "; ".join(bound) or "none")]


def udp(job: Job) -> List[Check]:
    """Check that no UDP socket of the job receives from everyone, as an unconnected one does."""
    found = self_check.inet_sockets("udp")
    waiting = {inode: row for inode, row in found.items() if row.state != _CONNECTED}
    wrong = [
        "%s inode %d %s" % (waiting[inode].address, inode, process)
        for process in job.processes
        for inode in sorted(process.inodes & set(waiting))
    ]
    wrong += _unheld(job, waiting)
    text = "; ".join(wrong) or "no process of the job receives on UDP"
    return [("UDP sockets", not wrong, text)]


def unix(job: Job) -> List[Check]:
    """Check that the job's UNIX sockets are in private directories, none with an abstract name."""
    holders = {inode: process for process in job.processes for inode in process.inodes}
    elsewhere = _held_elsewhere(job)
    told: Dict[str, int] = {}
    wrong = []
    for each in peers.unix_sockets():
        abstract = each.name.startswith("@")
        takes = each.listens or each.kind == socket.SOCK_DGRAM
        if abstract and (not takes or _AUTOBOUND.fullmatch(each.name)):
            continue
        process = holders.get(each.inode)
        if process is None:
            ours = each.uid == os.geteuid() and each.inode not in elsewhere
            if ours and (abstract or _lock(None, each.name) is None):
                wrong.append("%s inode %d, in a process that hides its files" % each[1::-1])
            continue
        lock = None if abstract else _lock(process, each.name)
        if lock is None:
            wrong.append("%s inode %d %s" % (each.name, each.inode, process))
        else:
            told[lock] = told.get(lock, 0) + 1
    text = ["%d in %s 0700" % (number, folder) for folder, number in sorted(told.items())]
    text = text or ["no process of the job has a named UNIX socket"]
    return [("UNIX sockets", not wrong, "; ".join(wrong or text))]


def hidden(job: Job) -> List[Check]:
    """Check that no process of the job hides its files. Other jobs do not matter here."""
    pids = {each.pid for each in job.processes}
    hiding = [pid for pid, inodes in processes.of_user().items() if inodes is None]
    wrong = ["process %d (%s)" % (pid, processes.name_of(pid)) for pid in hiding if pid in pids]
    others = len(hiding) - len(wrong)
    told = "none of the job's %d" % len(pids) + (", %d outside the job" % others) * bool(others)
    return [("processes that hide", not wrong, ", ".join(wrong) or told)]


def _unheld(job: Job, rows: Dict[int, self_check.InetSocket]) -> List[str]:
    """Return the user's sockets that no visible process holds."""
    seen = _held_elsewhere(job).union(*(process.inodes for process in job.processes))
    return [
        "%s inode %d, in a process that hides its files" % (row.address, inode)
        for inode, row in sorted(rows.items())
        if row.uid == os.geteuid() and inode and inode not in seen
    ]


def _held_elsewhere(job: Job) -> Set[int]:
    """Return the inodes of sockets held by the user's visible processes outside the job."""
    pids = {each.pid for each in job.processes}
    found = processes.of_user().items()
    return set().union(*(inodes for pid, inodes in found if inodes and pid not in pids))


def _is_kernel(job: Job, process: Process) -> bool:
    runtime = os.fsencode(os.path.join(job.run_dir, "runtime", "kernel-"))
    return any(runtime in word for word in process.argv)


def _lock(process: Optional[Process], path: str) -> Optional[str]:
    """Return the nearest folder above `path` that is the user's and 0700, or None."""
    base = os.path.realpath("/proc/%d/cwd" % process.pid) if process else "/"
    folder = os.path.realpath(os.path.dirname(os.path.join(base, path)))
    while folder != "/":
        try:
            found = os.lstat(folder)
        except FileNotFoundError:
            return "a removed directory"  # nobody can reach the socket
        except OSError:
            return None
        if found.st_uid == os.geteuid() and found.st_mode & 0o777 == 0o700:
            return folder
        folder = os.path.dirname(folder)
    return None
