"""Checks from inside the job how private a session is.

Prints one JSON list of `[name, passed, evidence]`. It reads the token from its file and never
prints it. For /proc see proc(5).
"""

from __future__ import annotations

import json
import os
import socket
import stat
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, NamedTuple, Tuple

from .. import processes, self_check, versions
from ..files import read_regular
from ..security import peers
from . import listeners, probe

if TYPE_CHECKING:
    from ..processes import Process

Check = Tuple[str, bool, str]
_PROVIDER = "slurm_nb_kit.security.login.SlurmNbIdentityProvider"
# These need no login; see security/door.py.
_PUBLIC = ("/api", "/login", "/logout", "/favicon.ico")

_REFUSES_WITHIN_S = 5.0


class Job(NamedTuple):
    """The session to check."""

    processes: List[Process]
    server: Process
    """The process that holds the socket of the ready line."""
    run_dir: str
    ready: Dict[str, Any]
    """The fields of slurm_nb.joblog.events.Ready."""
    auth: str
    """`token` or `password`."""
    token: str
    terminals: bool
    """Whether the session was submitted with terminals."""


def main(asked: Dict[str, Any]) -> None:
    """Print the results for `asked`: cluster, job_id, auth, terminals, token_file and ready."""
    token = read_regular(asked["token_file"])
    found = list(processes.of_session(asked["cluster"], asked["job_id"]))
    try:
        job = _job(found, asked, token)
    except LookupError as error:
        checks = [("notebook's listener", False, str(error))]
    else:
        checks = []
        try:
            for part in _PARTS:
                checks += part(job)
        except socket.timeout:
            told = "Jupyter accepts no request: no answer within %g s" % probe.TIMEOUT_S
            checks.append(("notebook's listener", False, told))
    print(json.dumps(checks).replace(token, "(the token)"))


def _job(those: List[Process], asked: Dict[str, Any], token: str) -> Job:
    ready = asked["ready"]
    if ready["socket"]:
        where = ready["socket"]
        inodes = {each.inode for each in peers.unix_sockets() if each.name == where}
    else:
        where = "%s:%d" % (ready["address"] or "127.0.0.1", ready["port"])
        found = self_check.tcp_listeners().items()
        # Find it even at another address, so that the bind address check can report it.
        inodes = {inode for inode, at in found if at.rpartition(":")[2] == str(ready["port"])}
    for process in those:
        runtime = process.variable("JUPYTER_RUNTIME_DIR")
        if process.inodes & inodes and runtime:
            return Job(
                those,
                process,
                os.path.dirname(runtime),
                ready,
                asked["auth"],
                token,
                asked["terminals"],
            )
    raise LookupError("no process of the job listens at " + where)


def _folders(job: Job) -> List[Check]:
    told, passed = [], True
    for path in (job.run_dir, os.path.join(job.run_dir, "runtime")):
        found = os.lstat(path)
        # Jupyter makes it sticky (01700), which gives nobody access.
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


def _secrets(job: Job) -> Iterator[Check]:
    needle = job.token.encode()
    for name, words in (("token in arguments", "argv"), ("token in environments", "environ")):
        holding = [
            str(each) for each in job.processes if needle in b"\0".join(getattr(each, words))
        ]
        told = "not in the job's %d processes" % len(job.processes)
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
        except socket.timeout:
            raise
        except (OSError, ValueError) as error:
            yield name, False, "no answer: %s" % error
        else:
            yield name, status == expected, "Host: %s -> %d" % (host, status)


def _terminals(job: Job) -> Iterator[Check]:
    name, path = "terminals", probe.base_of(job.ready) + "/api/terminals"
    try:
        status, _ = probe.get(job.ready, path, "localhost", job.token)
    except socket.timeout:
        raise
    except (OSError, ValueError) as error:
        yield name, False, "no answer: %s" % error
    else:
        told = "%s: GET %s -> %d" % ("on" if status == 200 else "off", path, status)
        yield name, status == 404 or (status == 200 and job.terminals), told


def _report(job: Job) -> Iterator[Check]:
    """Check the settings that the running server reports, and request each of its routes."""
    path = probe.base_of(job.ready) + "/slurm-nb/audit"
    says: Any = {}
    why = ""
    try:
        status, body = probe.get(job.ready, path, "localhost", job.token)
        says = json.loads(body) if status == 200 else {}
        why = "" if says else "the server answers %d: did an older slurm-nb start it?" % status
    except socket.timeout:
        raise
    except (OSError, ValueError) as error:
        why = "no answer: %s" % error
    yield from _settings(job, says.get("settings") or {})
    yield _routes(job, says.get("routes") or [], why)


def _routes(job: Job, routes: List[str], why: str) -> Check:
    name = "routes without a token"
    base = probe.base_of(job.ready)
    public = {base + path for path in _PUBLIC} | {"/favicon.ico"}
    opened = []
    for path in routes:
        try:
            status, _ = probe.get(job.ready, path, "localhost", "", _REFUSES_WITHIN_S)
        except (OSError, ValueError) as error:
            opened.append("%s -> %s" % (path, error))
        else:
            if status < 400 and path not in public:
                opened.append("%s -> %d" % (path, status))
    told = "%d routes need it, except %s" % (len(routes), ", ".join(sorted(public)))
    return name, bool(routes) and not opened, why or ", ".join(opened) or told


def _settings(job: Job, says: Dict[str, Any]) -> Iterator[Check]:
    password = job.auth == "password"
    for name, safe in (
        (
            "authentication",
            {
                "identity_provider_class": _PROVIDER,
                "token": True,
                "password": password,
            },
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
        ("settings in effect", {"flaws": []}),
        ("kernel transport", {"kernel_transport": "ipc"}),
        ("debugger", {"debugger_allowed": False}),
        (
            "server's own address",
            {"ip": job.ready["address"] or "127.0.0.1", "sock": job.ready["socket"] or ""},
        ),
    ):
        told = ["%s %s" % (key, json.dumps(says.get(key, "not reported"))) for key in safe]
        yield name, all(says.get(key) == value for key, value in safe.items()), ", ".join(told)
    yield _connections(says)
    said = says.get("versions", {})
    old = versions.old(said)
    told = ["%s %s" % item for item in sorted(said.items())] or ["not reported"]
    yield "versions", bool(said) and not old, ", ".join(old or told)


def _connections(says: Dict[str, Any]) -> Check:
    name, told = "users allowed to connect", says.get("serves", "not reported")
    if told == "any":
        return name, True, "any user (--peers any, or --route direct)"
    passed = isinstance(told, list) and set(told) <= {os.geteuid(), 0}
    return name, passed, "uid %s" % told


def _core(job: Job) -> Iterator[Check]:
    for line in processes.read("/proc/%d/limits" % job.server.pid).decode().splitlines():
        if line.startswith("Max core file size"):
            soft = line.split()[4]
            yield "core dumps", soft == "0", "limit %s bytes, %s" % (soft, job.server)


def _mode(found: os.stat_result) -> str:
    kind = "link " if stat.S_ISLNK(found.st_mode) else ""
    return "%s%04o uid %d" % (kind, stat.S_IMODE(found.st_mode), found.st_uid)


_PARTS = (
    _folders, _files, listeners.tcp, listeners.udp, listeners.unix, listeners.hidden, _secrets,
    _door, _terminals, _report, _core,
)  # fmt: skip
