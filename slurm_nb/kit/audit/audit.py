"""Runs inside a session's job, beside the server: how private it is, as seen from there.

Prints one JSON list of `[name, passed, evidence]`. The token is read from its file and never
printed. /proc is proc(5).
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from .. import processes, self_check, versions
from . import probe

if TYPE_CHECKING:
    from ..processes import Process

Check = Tuple[str, bool, str]
_PROVIDER = "jupyter_server.auth.identity.PasswordIdentityProvider"


class Job(NamedTuple):
    """What the checks look at."""

    processes: List[Process]
    server: Process
    """The one that holds the socket of the ready line."""
    run_dir: str
    ready: Dict[str, Any]
    """As slurm_nb.ready.Ready, with its names."""
    auth: str
    """`token` or `password`."""
    token: str


def main(asked: Dict[str, Any]) -> None:
    """Print what is found for `asked`: cluster, job_id, auth, token_file and ready (see `Job`)."""
    with open(asked["token_file"], encoding="ascii") as file:
        token = file.read()
    found = list(processes.of_session(asked["cluster"], asked["job_id"]))
    try:
        job = _job(found, asked, token)
    except LookupError as error:
        checks = [("notebook's listener", False, str(error))]
    else:
        checks = [check for part in _PARTS for check in part(job)]
    print(json.dumps(checks).replace(token, "(the token)"))


def _job(those: List[Process], asked: Dict[str, Any], token: str) -> Job:
    ready = asked["ready"]
    if ready["socket"]:
        where = ready["socket"]
        sockets = processes.unix_sockets()
        inodes = {inode for inode, path, listens in sockets if path == where and listens}
    else:
        where = "%s:%d" % (ready["address"] or "127.0.0.1", ready["port"])
        found = self_check.tcp_listeners().items()
        # Also at another address, to tell of it.
        inodes = {inode for inode, at in found if at.rpartition(":")[2] == str(ready["port"])}
    for process in those:
        runtime = process.variable("JUPYTER_RUNTIME_DIR")
        if process.inodes & inodes and runtime:
            return Job(those, process, os.path.dirname(runtime), ready, asked["auth"], token)
    raise LookupError("no process of the job listens at " + where)


def _folders(job: Job) -> List[Check]:
    told, passed = [], True
    for path in (job.run_dir, os.path.join(job.run_dir, "runtime")):
        found = os.lstat(path)
        # Jupyter makes it sticky (01700), which opens it to nobody.
        sound = stat.S_ISDIR(found.st_mode) and found.st_mode & 0o777 == 0o700
        passed = passed and sound and found.st_uid == os.geteuid()
        told.append("%s %s" % (path, _mode(found)))
    return [("node-local directories", passed, ", ".join(told))]


def _files(job: Job) -> List[Check]:
    wrong, counted = [], 0
    inside: Dict[str, int] = {}
    private = os.lstat(job.run_dir).st_mode & 0o777 == 0o700
    for folder, folders, names in os.walk(job.run_dir):
        locked = os.lstat(folder).st_mode & 0o777 == 0o700
        for name in folders + names:
            path = os.path.join(folder, name)
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                continue
            shown = "%s %s" % (os.path.relpath(path, job.run_dir), _mode(found))
            if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid():
                wrong.append(shown)
            elif stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600:
                counted += 1
            elif stat.S_ISREG(found.st_mode) and (locked or private):
                where = folder if locked else job.run_dir
                inside[where] = inside.get(where, 0) + 1
            elif stat.S_ISREG(found.st_mode):
                wrong.append(shown)
    told = ["%d files 0600" % counted]
    told += ["%d others in %s 0700" % (number, where) for where, number in sorted(inside.items())]
    return [("node-local files", not wrong, ", ".join(wrong or told))]


def _tcp(job: Job) -> List[Check]:
    expected = _address(job)
    own, bound, told, wrong = None, [], [], []
    listeners = self_check.tcp_listeners()
    for process in job.processes:
        pipes = 0
        for inode in sorted(process.inodes & set(listeners)):
            address = listeners[inode]
            shown = "%s inode %d %s" % (address, inode, process)
            port = address.rpartition(":")[2]
            if process is job.server and own is None and port == str(job.ready["port"]):
                own = address
                bound.append(shown)
            elif _is_kernel(job, process) and not pipes and probe.is_pull(address):
                pipes += 1
                told.append("%s: ipykernel's inbound pipe (nothing comes out)" % shown)
            else:
                wrong.append("%s: not the notebook's" % shown)
    text = "; ".join(wrong or bound + told) or "nothing of the job listens on TCP"
    checks = [("TCP listeners", not wrong, text)]
    if job.ready["socket"]:
        return [*checks, ("bind address", own is None, own or "none: " + job.ready["socket"])]
    wild = own is not None and own.rpartition(":")[0] in ("0.0.0.0", "::")
    return [*checks, ("bind address", own == expected and not wild, "; ".join(bound) or "none")]


def _address(job: Job) -> str:
    return "%s:%s" % (job.ready["address"] or "127.0.0.1", job.ready["port"])


def _is_kernel(job: Job, process: Process) -> bool:
    runtime = os.fsencode(os.path.join(job.run_dir, "runtime", "kernel-"))
    return any(runtime in word for word in process.argv)


def _unix_sockets(job: Job) -> List[Check]:
    holders = {inode: process for process in job.processes for inode in process.inodes}
    told: Dict[str, int] = {}
    wrong = []
    for inode, path, listens in processes.unix_sockets():
        if inode not in holders or (path.startswith("@") and not listens):
            continue
        lock = None if path.startswith("@") else _lock(holders[inode], path)
        if lock is None:
            wrong.append("%s inode %d %s" % (path, inode, holders[inode]))
        else:
            told[lock] = told.get(lock, 0) + 1
    text = ["%d in %s 0700" % (number, folder) for folder, number in sorted(told.items())]
    text = text or ["nothing of the job has a named UNIX socket"]
    return [("UNIX sockets", not wrong, "; ".join(wrong or text))]


def _lock(process: Process, path: str) -> Optional[str]:
    """The nearest folder above `path` that is the user's and 0700; None without one."""
    folder = os.path.dirname(os.path.join(os.path.realpath("/proc/%d/cwd" % process.pid), path))
    folder = os.path.realpath(folder)
    while folder != "/":
        try:
            found = os.lstat(folder)
        except FileNotFoundError:
            return "a directory that is gone"  # and so is the way to the socket
        except OSError:
            return None
        if found.st_uid == os.geteuid() and found.st_mode & 0o777 == 0o700:
            return folder
        folder = os.path.dirname(folder)
    return None


def _secrets(job: Job) -> Iterator[Check]:
    needle = job.token.encode()
    for name, words in (("token in arguments", "argv"), ("token in environments", "environ")):
        holding = [
            str(each) for each in job.processes if needle in b"\0".join(getattr(each, words))
        ]
        told = "in none of the job's %d processes" % len(job.processes)
        yield name, not holding, ", ".join(holding) or told


def _door(job: Job) -> Iterator[Check]:
    for name, host, token, expected in (
        ("door: no token", "localhost", "", 403),
        ("door: wrong token", "localhost", "0" * 64, 403),
        ("door: the token", "localhost", job.token, 200),
        ("door: another Host", "evil.example", job.token, 403),
    ):
        try:
            status = probe.status(job.ready, host, token)
        except (OSError, ValueError) as error:
            yield name, False, "no answer: %s" % error
        else:
            yield name, status == expected, "Host: %s -> %d" % (host, status)


def _settings(job: Job) -> Iterator[Check]:
    """What the running server says of itself, in the file that the kit wrote."""
    try:
        says = json.loads(processes.read(os.path.join(job.run_dir, "settings.json")))
    except ValueError:
        says = {}
    password = job.auth == "password"
    for name, safe in (
        (
            "authentication",
            {"identity_provider_class": _PROVIDER, "token": True, "password": password},
        ),
        (
            "guards against other sites",
            {
                "allow_origin": "",
                "allow_origin_pat": "",
                "allow_remote_access": False,
                "disable_check_xsrf": False,
            },
        ),
        ("kernel transport", {"kernel_transport": "ipc"}),
        ("debugger", {"debugger_allowed": False}),
        (
            "server's own address",
            {"ip": job.ready["address"] or "127.0.0.1", "sock": job.ready["socket"] or ""},
        ),
    ):
        told = ["%s %s" % (key, json.dumps(says.get(key, "not told"))) for key in safe]
        yield name, all(says.get(key) == value for key, value in safe.items()), ", ".join(told)
    said = says.get("versions", {})
    old = versions.old(said)
    told = ["%s %s" % item for item in sorted(said.items())] or ["not told"]
    yield "versions", bool(said) and not old, ", ".join(old or told)


def _core(job: Job) -> Iterator[Check]:
    for line in processes.read("/proc/%d/limits" % job.server.pid).decode().splitlines():
        if line.startswith("Max core file size"):
            soft = line.split()[4]
            yield "core dumps", soft == "0", "limit %s bytes, %s" % (soft, job.server)


def _mode(found: os.stat_result) -> str:
    kind = "link " if stat.S_ISLNK(found.st_mode) else ""
    return "%s%04o uid %d" % (kind, stat.S_IMODE(found.st_mode), found.st_uid)


_PARTS = (_folders, _files, _tcp, _unix_sockets, _secrets, _door, _settings, _core)
