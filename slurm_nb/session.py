"""Sessions on disk: what a later process needs to find a job, its output and its token.

STATE/                           0700; SLURM_NB_HOME, else $XDG_STATE_HOME/slurm-nb,
                                 else ~/.local/state/slurm-nb
  jobs/7_submission.sh           the job script as submitted
  jobs/7_0_log.out               the job's output (names as submitit makes them)
  submitting/                    0700, submissions that have no answer yet: intents.py
  answers/CLUSTER.json           0600, what Slurm said last: answers.py
  kits/HASH/                     0700, what jobs run on their node: job/kit.py
  sessions/CLUSTER/7/            0700
    session.json                 0600, written by slurm-nb on the login node
    ended.json                   0600, how it ended, once that is known
    activity.json                0600, written by the job: how idle it is
    token                        0600, written by the job
    nonce                        0600, written by the job
    kit                          0600, written by the job: the kit that it uses
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slurm_nb.errors import BadValue
from slurm_nb.private import (
    SECRETS,
    check_ours,
    check_parent,
    check_private,
    keep_private,
    make_private,
    refresh,
    write_private,
)
from slurm_nb.ready import Ready
from slurm_nb.records import is_text, is_text_or_none, is_time, read_record
from slurm_nb.spec import Auth

_JOB_ID = re.compile(r"\d+|local-\d+", re.ASCII)
_OURS = frozenset({"jobs", "sessions", "submitting", "answers", "kits", "error.log", "password"})
_NONCE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_TOKEN = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Session:
    """One submitted job."""

    job_id: str
    """`7`, or `local-7` without Slurm."""
    cluster: str
    """Slurm's ClusterName, or `local`."""
    other_cluster: bool = False
    """Whether Slurm must be asked with `-M cluster`: it is not the login node's own."""
    login_host: str | None = None
    """`HOST` or `HOST:PORT` as the laptop reaches it; None: never found out."""
    local_port: int | None = None
    """The port that the user wants on the laptop; None: the job's own."""
    auth: Auth = "token"
    """Whether the URL carries the token, or Jupyter asks for the password."""
    python: str | None = None
    """Path of an interpreter that the node has: what looks at the session there is run by it."""
    script: str | None = None
    """Path that Slurm shows of the submitted script (squeue's %o): no other job's."""
    job_name: str | None = None
    submitted_at: int | None = None
    """Seconds since the epoch."""
    options: tuple[str, ...] = ()
    """The words of a command line that submits the same again: `("--time=90",)`."""
    ready: Ready | None = None


@dataclass(frozen=True)
class Store:
    """The state directory of one user."""

    folder: Path

    @classmethod
    def of_user(cls, environ: Mapping[str, str]) -> Store:
        """The store that `environ` names, made if need be.

        Raises `BadValue` when the directory can't be made or belongs to somebody else.
        """
        store = cls(_state_dir(environ))
        check_ours(store.folder, _OURS)
        make_private(store.folder)
        for name in ("jobs", "sessions", "submitting", "answers", "kits"):
            make_private(store.folder / name)
        for folder in store.folder.resolve().parents:
            check_parent(folder)
        return store

    def log_path(self, job_id: str) -> Path:
        """Where the job's output goes."""
        return self.folder / "jobs" / f"{job_id}_0_log.out"

    def script_path(self, job_id: str) -> Path:
        """Where the submitted job script is kept."""
        return self.folder / "jobs" / f"{job_id}_submission.sh"

    def session_folder(self, cluster: str, job_id: str) -> Path:
        """The folder of one session; it need not exist."""
        return self.folder / "sessions" / cluster / job_id

    @property
    def kits(self) -> Path:
        """Where kits are, each under its content hash."""
        return self.folder / "kits"

    @property
    def password_path(self) -> Path:
        """Where `slurm-nb password` keeps the hash, on one line."""
        return self.folder / "password"

    def save(self, session: Session) -> None:
        """Write `session` in one step; raises `BadValue` when the disk refuses.

        Its job's output is made as well, where Slurm has not done so by the job's umask yet.
        """
        folder = self.session_folder(session.cluster, session.job_id)
        make_private(folder.parent)
        make_private(folder)
        write_private(folder / "session.json", json.dumps({"version": 1, **asdict(session)}))
        keep_private(self.log_path(session.job_id))

    def load(self, job_id: str, *, cluster: str | None = None) -> Session:
        """The session of a job id; raises `BadValue` when there is none, or its file is broken.

        cluster: where sessions of more than one cluster have the same id.
        """
        if not is_job_id(job_id):
            raise BadValue(
                f"{job_id!r} is not a job id",
                hint="it is the number that `slurm-nb submit` printed",
            )
        found = sorted(self.folder.glob(f"sessions/*/{job_id}"))
        folders = [each for each in found if cluster in {None, each.parent.name}]
        if not folders:
            raise BadValue(
                f"job {job_id} was not started by slurm-nb: there is no session in {self.folder}",
                hint="is SLURM_NB_HOME or the cluster another one than when you submitted?",
            )
        if len(folders) > 1:
            clusters = " and ".join(folder.parent.name for folder in folders)
            raise BadValue(
                f"job {job_id} is a session on more than one cluster: {clusters}",
                hint=f"say which one you mean: -M {folders[0].parent.name}",
            )
        return _read(folders[0])

    def has(self, job_id: str) -> bool:
        """Whether there is a session of a job id."""
        return any(self.folder.glob(f"sessions/*/{job_id}"))

    def all(self) -> tuple[list[Session], list[BadValue]]:
        """Every session, also of ended jobs, and what is wrong with those that can't be read."""
        sessions, broken = [], []
        for folder in sorted(self.folder.glob("sessions/*/*")):
            if _JOB_ID.fullmatch(folder.name):
                try:
                    sessions.append(_read(folder))
                except BadValue as error:
                    if folder.exists():  # else another slurm-nb has just pruned it
                        broken.append(error)
        return sessions, broken

    def token(self, session: Session) -> str | None:
        """The session's token; None when it is gone, or not made yet."""
        folder = self.session_folder(session.cluster, session.job_id)
        refresh(folder)
        try:
            token = (folder / "token").read_text(encoding="ascii")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeError) as error:
            raise BadValue(f"{folder / 'token'}: can't be read") from error
        if not _TOKEN.fullmatch(token):
            raise BadValue(f"{folder / 'token'}: does not hold a token of slurm-nb")
        return token

    def nonce(self, session: Session) -> str | None:
        """What the job's own lines in its output carry; None when it is not made yet."""
        folder = self.session_folder(session.cluster, session.job_id)
        refresh(folder)
        try:
            nonce = (folder / "nonce").read_text(encoding="ascii")
        except (OSError, UnicodeError):
            return None
        return nonce if _NONCE.fullmatch(nonce) else None

    def forget_secrets(self, session: Session) -> list[BadValue]:
        """Remove the token of a job that is over, and the page that holds it; why one stays."""
        folder = self.session_folder(session.cluster, session.job_id)
        left = []
        for path in (folder / name for name in SECRETS):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                if path.exists():  # a read-only disk refuses what is not there, too
                    hint = f"when the disk can be written again: slurm-nb cancel {session.job_id}"
                    left.append(BadValue(f"{path}: can't be removed: {error.strerror}", hint=hint))
        return left

    def remove(self, session: Session) -> bool:
        """Remove all that is kept of a session: its folder, its job's script and output.

        False where the disk refuses.
        """
        folder = self.session_folder(session.cluster, session.job_id)
        shutil.rmtree(folder, ignore_errors=True)
        if self.has(session.job_id):  # on another cluster, whose job has the same two files
            return not folder.exists()
        for path in (self.script_path(session.job_id), self.log_path(session.job_id)):
            with suppress(OSError):
                path.unlink()
        return not folder.exists()


def is_job_id(text: str) -> bool:
    """Whether `text` can be the id of a session: `7`, `local-7`."""
    return _JOB_ID.fullmatch(text) is not None


def _state_dir(environ: Mapping[str, str]) -> Path:
    if environ.get("SLURM_NB_HOME"):
        folder = Path(environ["SLURM_NB_HOME"])
    elif Path(environ.get("XDG_STATE_HOME", "")).is_absolute():
        folder = Path(environ["XDG_STATE_HOME"], "slurm-nb")
    else:
        folder = Path("~/.local/state/slurm-nb").expanduser()
    return Path(os.path.abspath(folder))


def _read(folder: Path) -> Session:
    """The session in `folder`; also one that only the job knows of, being sbatched by hand."""
    path = folder / "session.json"
    hint = f"cancel the job with `scancel {folder.name}`, then remove {folder}"
    try:
        check_private(folder)
        return _own(from_record(read_record(path)), folder)
    except FileNotFoundError as error:
        if not folder.exists():
            raise BadValue(f"{folder}: is gone", hint="see what is left: slurm-nb list") from error
        return Session(job_id=folder.name, cluster=folder.parent.name)
    except OSError as error:
        raise BadValue(f"{path}: can't be read: {error.strerror}", hint=hint) from error
    except (ValueError, TypeError, KeyError) as error:
        raise BadValue(f"{path}: is not a session file of this version", hint=hint) from error


def _own(session: Session, folder: Path) -> Session:
    if (session.job_id, session.cluster) != (folder.name, folder.parent.name):
        raise ValueError("another session's record")
    return session


def from_record(record: dict[str, Any]) -> Session:
    """From what `session.json` holds; raises `ValueError`, `TypeError` or `KeyError`."""
    values = dict(record)
    if values.pop("version") != 1:
        raise ValueError("version")
    ready = values.pop("ready")
    options = tuple(values.pop("options", ()))
    session = Session(**values, options=options, ready=Ready(**ready) if ready else None)
    texts = (session.job_id, session.cluster, session.auth, *options)
    if not is_text(*texts) or not is_text_or_none(
        session.login_host, session.python, session.script, session.job_name
    ):
        raise TypeError("text")
    if not (session.submitted_at is None or is_time(session.submitted_at)):
        raise TypeError("time")
    ports = (session.local_port or 0, (session.ready.port or 0) if session.ready else 0)
    if not all(type(port) is int for port in ports):
        raise TypeError("port")
    return session
