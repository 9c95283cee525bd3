"""Check how private a session is, on the login node and on its compute node.

kit/audit checks the node, inside the job.
"""

from __future__ import annotations

import json
import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from slurm_nb.errors import NotReady, SchedulerError
from slurm_nb.files import accepted_above, open_regular
from slurm_nb.job import kit
from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import LOCAL
from slurm_nb.scheduler.srun import run_on_node, shown_by_slurm
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store

# The names and the order of kit/audit/audit.py.
NODE_CHECKS = (
    "node-local directories", "node-local files", "TCP listeners", "bind address", "UDP sockets",
    "UNIX sockets", "processes that hide", "token in arguments", "token in environments",
    "door: no token", "door: wrong token", "door: the token", "door: another Host",
    "terminals", "authentication", "guards against other sites", "settings in effect",
    "kernel transport", "debugger", "server's own address", "users allowed to connect", "versions",
    "routes without a token", "core dumps",
)  # fmt: skip
LISTENER = "notebook's listener"
"""The node's only check if no process of the job listens at the session's address."""
_CHUNK_BYTES = 1 << 20
# A hostile answer may have any length.
_EVIDENCE_CHARS = 2000


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    passed: bool
    evidence: str
    """Text that shows the result; untrusted if it comes from the node."""


def audit(session: Session, ready: Ready, store: Store) -> list[Check]:
    """Run all checks, in the order of the table.

    Raises `NotReady` if the token does not exist, and `SchedulerError` if it cannot query Slurm or
    the node, or the node's answer is malformed.
    """
    token = store.token(session)
    if token is None:
        raise NotReady(
            f"job {session.job_id} is running, but its token has not appeared in {store.folder}",
            hint="try again in a minute, because shared file systems can be late",
        )
    checks = [*_modes(session, store), *_kept(session, store, token)]
    if session.cluster != LOCAL:
        checks.append(_searched("token in what Slurm shows", shown_by_slurm(session.job), token))
    return [*checks, *parse_node(ask_node(session, ready, store))]


def ask_node(session: Session, ready: Ready, store: Store) -> str:
    """Return the output of the audit on the node, from the kit of this version of slurm-nb."""
    asked = {
        "cluster": session.cluster,
        "job_id": session.job_id,
        "auth": session.auth,
        "terminals": "--no-terminals" not in session.options,
        "token_file": str(store.token_path(session)),
        "ready": asdict(ready),
    }
    return run_on_node(
        session.job,
        node=ready.node,
        python=session.python or "python3",
        module=f"{kit.PACKAGE}.audit",
        folder=kit.install(store.kits),
        stdin=json.dumps(asked),
    )


def parse_node(text: str) -> list[Check]:
    """Return the checks in the node's output; a missing one has failed.

    Raises `SchedulerError` for anything but one JSON list of `[name, passed, evidence]` with the
    known names, each once.
    """
    try:
        checks = [_node_check(*row) for row in json.loads(text)]
    except (ValueError, TypeError, RecursionError) as error:
        raise SchedulerError(
            f"the node's answer is malformed: {' '.join(text.split())[:200]!r}",
            hint="check that the session's --python prints nothing else",
        ) from error
    found = {check.name: check for check in checks}
    if len(found) < len(checks):
        raise SchedulerError("the node's answer is malformed: it names a check twice")
    if LISTENER in found:
        return [replace(found[LISTENER], passed=False)]
    silent = Check("", passed=False, evidence="the node did not answer")
    return [found.get(name, replace(silent, name=name)) for name in NODE_CHECKS]


def _node_check(name: object, passed: object, evidence: object) -> Check:
    if name not in {*NODE_CHECKS, LISTENER}:
        raise ValueError(name)
    if not (isinstance(name, str) and isinstance(passed, bool) and isinstance(evidence, str)):
        raise TypeError
    return Check(name, passed, evidence[:_EVIDENCE_CHARS])


def _modes(session: Session, store: Store) -> list[Check]:
    """Check that directories are 0700 and files 0600, owned by the user, without links."""
    folder = store.session_folder(session.cluster, session.job_id)
    folders = (
        store.folder,
        store.folder / "jobs",
        store.folder / "sessions",
        folder.parent,
        folder,
    )
    own = {store.log_path(session.job_id), store.script_path(session.job_id)}
    accepted = accepted_above(store.folder)
    in_state = [path for path in store.folder.iterdir() if path.name not in {"jobs", "sessions"}]
    return [
        _looked("directories", folders, store.folder),
        _looked("session's files", sorted(folder.rglob("*")), folder),
        _looked("job's output and script", sorted(own), store.folder),
        _looked("other jobs' files", set((store.folder / "jobs").iterdir()) - own, store.folder),
        _looked("password and others", in_state, store.folder),
        *([Check("accepted by SLURM_NB_TRUST", True, "; ".join(accepted))] if accepted else []),  # noqa: FBT003
    ]


def _looked(name: str, paths: Iterable[Path], base: Path) -> Check:
    seen = [(path, _flaw(path)) for path in paths]
    told = [f"{_seen(path, base)}: {flaw}" for path, flaw in seen if flaw]
    shown = told or [_seen(path, base) for path, _ in seen[:6]]
    more = [] if told or len(seen) <= 6 else [f"and {len(seen) - 6} more like these"]
    return Check(name, not told, ", ".join([*shown, *more]) or "no files")


def _flaw(path: Path) -> str:
    """Return the problem with its type, owner or mode; empty if there is no problem."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return "is missing"
    folder = stat.S_ISDIR(status.st_mode)
    if not folder and not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_uid != os.geteuid():
        return "belongs to another user"
    if not folder and status.st_nlink != 1:
        return f"has {status.st_nlink} names (hard links)"
    mode = 0o700 if folder else 0o600
    return "" if stat.S_IMODE(status.st_mode) == mode else f"is not {mode:04o}"


def _seen(path: Path, base: Path) -> str:
    """Return `jobs/7_0_log.out 0600 alice`."""
    name = str(path.relative_to(base)) if path != base else str(path)
    try:
        status = path.lstat()
    except OSError:
        return name
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = f"uid {status.st_uid}"
    return f"{name} {stat.S_IMODE(status.st_mode):04o} {owner}"


def _kept(session: Session, store: Store, token: str) -> list[Check]:
    job_id = session.job_id
    return [
        _in_file("token in the job's output", store.log_path(job_id), token),
        _in_file("token in the kept script", store.script_path(job_id), token),
    ]


def _in_file(name: str, path: Path, token: str) -> Check:
    needle, rest, size = token.encode(), b"", 0
    try:
        with open(open_regular(path), "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                size += len(chunk)
                if needle in rest + chunk:
                    return Check(name, passed=False, evidence=f"{path.name} contains it")
                rest = chunk[-len(needle) :]
    except OSError as error:
        return Check(name, passed=False, evidence=f"cannot read {path.name}: {error.strerror}")
    return Check(name, passed=True, evidence=f"not in the {size} bytes of {path.name}")


def _searched(name: str, shown: dict[str, str], token: str) -> Check:
    holding = [f"`{command}` shows it" for command, text in shown.items() if token in text]
    looked = [
        f"not in the {len(text)} characters of `{command}`" for command, text in shown.items()
    ]
    return Check(name, not holding, ", ".join(holding or looked))
