"""The sessions in the state directory: the only reader and writer of their folders.

STATE/sessions/CLUSTER/7/        0700
  session.json                   0600, written by slurm-nb on the login node
  ended.json                     0600, how it ended
  witness.json                   0600, since when Slurm has said that it is over
  submission                     0600, written by the job: which submission the next four are of
  activity.json                  0600, written by the job: how idle it is
  token                          0600, written by the job
  nonce                          0600, written by the job
  kit                            0600, written by the job: the kit that it uses
  relay/                         0700, the keys and settings of a relay: connection/relay.py
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from slurm_nb.diagnosis.outcome import Outcome
from slurm_nb.errors import UserError
from slurm_nb.files import (
    SECRETS,
    cannot_write,
    check_private,
    make_private,
    read_small,
    refresh_nfs,
    touch_private,
    write_private,
)
from slurm_nb.joblog.reader import JobLog
from slurm_nb.scheduler.job import LOCAL, Job
from slurm_nb.session.records import decode, encode, read_record
from slurm_nb.session.session import (
    _JOB_ID,
    Activity,
    Session,
    from_record,
    is_job_id,
    to_record,
)
from slurm_nb.session.state_directory import StateDirectory

_NONCE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_TOKEN = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LONGEST_SECRET = 1024
_GONE = ".gone"


# Two answers of Slurm prove an end if they are this many seconds apart.
APART_S = 30


@dataclass(frozen=True)
class Witness:
    """The first of several consecutive answers that show a session as ended."""

    at: int
    """Seconds since the epoch."""
    submission: str | None = None


class Store(StateDirectory):
    """The sessions of one user."""

    def process_path(self, job: Job) -> Path:
        """Return the path of the process record of a job on this machine."""
        return self.session_folder(job.cluster, job.job_id) / "process.json"

    def claim_local_id(self) -> str:
        """Return an id that no other session on this machine has, and create its folder."""
        folder = self.folder / "sessions" / LOCAL
        folder.mkdir(mode=0o700, exist_ok=True)
        ids = [path.name.removeprefix("local-") for path in folder.glob("local-*")]
        number = max((int(text) for text in ids if text.isdecimal()), default=0) + 1
        while True:
            try:
                (folder / f"local-{number}").mkdir(mode=0o700)
            except FileExistsError:
                number += 1
            except OSError as error:
                raise cannot_write(folder, error) from error
            else:
                return f"local-{number}"

    def save(self, session: Session) -> None:
        """Write `session` in one step. Raises `UserError` if the disk refuses.

        Creates its job's output as well, unless Slurm has done so with the job's umask.
        """
        folder = self.session_folder(session.cluster, session.job_id)
        make_private(folder.parent)
        make_private(folder)
        write_private(folder / "session.json", json.dumps(to_record(session)))
        touch_private(self.log_path(session.job_id))

    def load(self, job_id: str, *, cluster: str | None = None) -> Session:
        """Return the session of a job id. Raises `UserError` if it is missing or not readable.

        cluster: needed if sessions on several clusters have the same id.
        """
        if not is_job_id(job_id):
            raise UserError(
                f"{job_id!r} is not a job id",
                hint="list your sessions: slurm-nb list",
            )
        found = sorted(self.folder.glob(f"sessions/*/{job_id}"))
        folders = [each for each in found if cluster in {None, each.parent.name}]
        if not folders:
            raise UserError(
                f"job {job_id} was not started by slurm-nb: it has no session in {self.folder}",
                hint="list your sessions: slurm-nb list; use the same SLURM_NB_HOME as for submit",
            )
        if len(folders) > 1:
            clusters = " and ".join(folder.parent.name for folder in folders)
            raise UserError(
                f"job {job_id} is a session on more than one cluster: {clusters}",
                hint=f"add the cluster: -M {folders[0].parent.name}",
            )
        return _read(folders[0])

    def has(self, job_id: str) -> bool:
        """Return whether there is a session with a job id."""
        return any(self.folder.glob(f"sessions/*/{job_id}"))

    def all(self) -> tuple[list[Session], list[UserError]]:
        """Return all sessions, ended ones too, and the errors of unreadable ones."""
        sessions, broken = [], []
        for folder in sorted(self.folder.glob("sessions/*/*")):
            if _JOB_ID.fullmatch(folder.name):
                try:
                    sessions.append(_read(folder))
                except UserError as error:
                    if folder.exists():  # else another slurm-nb has just pruned it
                        broken.append(error)
        return sessions, broken

    def token(self, session: Session) -> str | None:
        """Return the session's token; None before it exists or after its removal."""
        path = self.token_path(session)
        refresh_nfs(path.parent)
        if not self._is_of(session):
            return None
        try:
            token = read_small(path, _LONGEST_SECRET).decode("ascii")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read {path}") from error
        if not _TOKEN.fullmatch(token):
            raise UserError(f"{path}: does not contain a slurm-nb token")
        return token

    def nonce(self, session: Session) -> str | None:
        """Return the nonce that marks the job's lines in its output; None if there is none yet."""
        folder = self.session_folder(session.cluster, session.job_id)
        refresh_nfs(folder)
        if not self._is_of(session):
            return None
        try:
            nonce = read_small(folder / "nonce", _LONGEST_SECRET).decode("ascii")
        except (OSError, ValueError):
            return None
        return nonce if _NONCE.fullmatch(nonce) else None

    def _is_of(self, session: Session) -> bool:
        """Return whether the files in the session's folder belong to this submission.

        The job removes an earlier job's files first, and then writes its submission there.
        """
        return session.submission in {None, self.job_submission(session)}

    def job_submission(self, session: Session) -> str | None:
        """Return the submission that the job has written; None if it has written none.

        It is empty for a job that the user submitted by hand.
        """
        path = self.session_folder(session.cluster, session.job_id) / "submission"
        try:
            return read_small(path, _LONGEST_SECRET).decode("ascii").strip()
        except (OSError, ValueError):
            return None

    def token_path(self, session: Session) -> Path:
        """Return the path of the session's token."""
        return self.session_folder(session.cluster, session.job_id) / "token"

    def relay_folder(self, session: Session) -> Path:
        """Return the folder of the session's relay, and create it. Raises `UserError`."""
        folder = self.session_folder(session.cluster, session.job_id) / "relay"
        make_private(folder)
        return folder

    def save_page(self, session: Session, text: str) -> Path:
        """Write a page that redirects a browser on this machine to the session; return its path."""
        path = self.session_folder(session.cluster, session.job_id) / "open.html"
        write_private(path, text)
        return path

    def log(self, session: Session) -> JobLog:
        """Return the output of the session's job."""
        return JobLog(
            self.log_path(session.job_id),
            cluster=session.cluster,
            job_id=session.job_id,
            nonce=lambda: self.nonce(session),
            submission=session.submission,
            start=session.output_start,
        )

    def activity(self, session: Session) -> Activity | None:
        """Return the job's own report; None if it is missing or malformed."""
        path = self.session_folder(session.cluster, session.job_id) / "activity.json"
        if not self._is_of(session):
            return None
        try:
            return decode(Activity, read_record(path))
        except (OSError, ValueError):
            return None

    def outcome(self, session: Session) -> Outcome | None:
        """Return the saved outcome; None if it is missing, malformed or from an earlier job.

        After losing its state, Slurm starts again with the first job id.
        """
        try:
            outcome = decode(Outcome, read_record(self._outcome_path(session)))
        except (OSError, ValueError):
            return None
        same = outcome.submission == session.submission
        return outcome if same and outcome.at >= (session.submitted_at or 0) else None

    def save_outcome(self, session: Session, outcome: Outcome) -> None:
        """Save how a session ended; if the disk refuses, slurm-nb finds it out again."""
        with suppress(UserError):
            of_session = replace(outcome, submission=session.submission)
            write_private(self._outcome_path(session), json.dumps(encode(of_session)))

    def forget_outcome(self, session: Session) -> None:
        """Remove the saved outcome of a job that Slurm shows again."""
        with suppress(OSError):
            self._outcome_path(session).unlink(missing_ok=True)

    def witness(self, session: Session) -> Witness | None:
        """Return Slurm's first answer that the session has ended; None if there is none yet."""
        try:
            witness = decode(Witness, read_record(self._witness_path(session)))
        except (OSError, ValueError):
            return None
        return witness if witness.submission == session.submission else None

    def save_witness(self, session: Session, at: int | None) -> None:
        """Save the time of Slurm's first answer that the session has ended; None: remove it."""
        path = self._witness_path(session)
        with suppress(OSError, UserError):
            if at is None:
                path.unlink(missing_ok=True)
            else:
                write_private(path, json.dumps(encode(Witness(at, session.submission))))

    def needs_second_witness(self, job: Job) -> bool:
        """Return whether the next answer that shows a job as ended would prove its end."""
        try:
            session = self.load(job.job_id, cluster=job.cluster)
        except UserError:
            return False
        outcome, first = self.outcome(session), self.witness(session)
        return (
            not (outcome and outcome.proven)
            and first is not None
            and time.time() - first.at >= APART_S
            and self.log(session).read().exit_code is None
        )

    def _witness_path(self, session: Session) -> Path:
        return self.session_folder(session.cluster, session.job_id) / "witness.json"

    def _outcome_path(self, session: Session) -> Path:
        return self.session_folder(session.cluster, session.job_id) / "ended.json"

    def forget_secrets(self, session: Session) -> list[UserError]:
        """Remove the token of an ended job, its page and its relay's keys; return the failures."""
        folder = self.session_folder(session.cluster, session.job_id)
        shutil.rmtree(folder / "relay", ignore_errors=True)
        left = []
        for path in (folder / name for name in SECRETS):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                if path.exists():  # a read-only disk fails for a missing file too
                    hint = f"when the disk is writable again: slurm-nb cancel {session.job_id}"
                    left.append(UserError(f"cannot remove {path}: {error.strerror}", hint=hint))
        return left

    def remove(self, session: Session) -> bool:
        """Remove a session: its folder, its job's script and output.

        Return False if the disk refuses.
        """
        folder = self.session_folder(session.cluster, session.job_id)
        gone = folder.with_name(f".{folder.name}.{os.getpid()}{_GONE}")
        with suppress(OSError):
            folder.rename(gone)  # another slurm-nb may just be writing into it, by its name
        shutil.rmtree(gone, ignore_errors=True)
        if self.has(session.job_id):  # a job on another cluster uses the same two files
            return not folder.exists()
        for path in (self.script_path(session.job_id), self.log_path(session.job_id)):
            with suppress(OSError):
                path.unlink()
        return not folder.exists()

    def sweep(self) -> None:
        """Remove what is left of sessions that a killed slurm-nb was removing."""
        for folder in self.folder.glob(f"sessions/*/.*{_GONE}"):
            shutil.rmtree(folder, ignore_errors=True)


def _read(folder: Path) -> Session:
    """Return the session in `folder`, even if the user submitted it with sbatch."""
    path = folder / "session.json"
    hint = f"cancel the job with `scancel {folder.name}`, then remove {folder}"
    try:
        check_private(folder)
        return _own(from_record(read_record(path)), folder)
    except FileNotFoundError as error:
        if not folder.exists():
            raise UserError(
                f"{folder}: does not exist any more", hint="list your sessions: slurm-nb list"
            ) from error
        return Session(job=Job(folder.name, folder.parent.name))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise UserError(f"{path}: is not a session file of this version", hint=hint) from error


def _own(session: Session, folder: Path) -> Session:
    if (session.job_id, session.cluster) != (folder.name, folder.parent.name):
        raise ValueError("another session's record")
    return session
