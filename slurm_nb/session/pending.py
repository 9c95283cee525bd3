"""Submissions without an answer yet, which slurm-nb can find again if it is killed.

Before sbatch runs, slurm-nb writes STATE/submitting/NAME.json (0600) with the path of the script,
and removes it when the session is saved. If the file remains, slurm-nb searches the jobs for this
unique script.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from slurm_nb.errors import SchedulerError, UserError
from slurm_nb.files import write_private
from slurm_nb.scheduler.job import LOCAL, Job
from slurm_nb.scheduler.process import Process
from slurm_nb.session.records import decode, encode, read_record
from slurm_nb.session.session import Session, from_record, to_record
from slurm_nb.session.store import Store

# slurm-nb kills sbatch after 90 s, and Slurm may show the job a little later.
_SETTLED_S = 600.0
# The submitting process is not visible on another host.
_ELSEWHERE_S = 180.0


@dataclass(frozen=True)
class PendingSubmission:
    """A submission in progress, or an interrupted one."""

    path: Path
    script: str
    """Path of the script."""
    clusters: str
    """Cluster names, as for `-M`; empty: the login node's own cluster."""
    began_at: float
    """Seconds since the epoch."""
    process: Process
    """The submitting process."""
    session: Session
    """The session without the job's id."""


def begin(store: Store, session: Session, *, clusters: str) -> PendingSubmission:
    """Return a submission by this process, without its script."""
    path = store.folder / "submitting" / f"{os.urandom(8).hex()}.json"
    return PendingSubmission(path, "", clusters, time.time(), Process.here(os.getpid()), session)


def record(pending: PendingSubmission, script: Path) -> None:
    """Save the submission before sbatch runs. Raises `UserError`."""
    record = {
        "script": str(script),
        "clusters": pending.clusters,
        "began_at": pending.began_at,
        "process": encode(pending.process),
        "session": to_record(pending.session),
    }
    write_private(pending.path, json.dumps(record))


def recover(store: Store) -> list[PendingSubmission]:
    """Save the sessions of interrupted submissions that have a job; return the unresolved ones.

    Queries Slurm only if there are any. Removes a submission that still has no job much later.
    """
    lost = [pending for pending in _all(store) if not _is_running(pending)]
    unresolved = []
    for clusters in sorted({pending.clusters for pending in lost}):
        those = [pending for pending in lost if pending.clusters == clusters]
        unresolved += _adopt(store, clusters, those)
    return unresolved


def _adopt(store: Store, clusters: str, lost: list[PendingSubmission]) -> list[PendingSubmission]:
    from slurm_nb.scheduler.slurm import Slurm, find_jobs  # noqa: PLC0415  rarely needed

    try:
        own = Slurm(store).cluster()
        found = find_jobs({pending.script for pending in lost}, clusters=clusters, own=own)
    except SchedulerError:
        return lost
    unresolved = []
    for pending in lost:
        job = found.get(pending.script)
        # Two clusters may share a home, and this host may belong to the other one.
        here = bool(clusters) or pending.session.cluster == own
        if job is None and not (here and time.time() - pending.began_at >= _SETTLED_S):
            unresolved.append(pending)
            continue
        if job is not None:
            _keep_script(store, pending, job)
            try:
                adopt(store, pending, job)
            except UserError:  # a full or read-only disk
                unresolved.append(pending)
                continue
        else:
            with suppress(OSError):
                Path(pending.script).unlink()
        with suppress(OSError):
            pending.path.unlink()
    return unresolved


def adopt(store: Store, pending: PendingSubmission, job: Job) -> Session:
    """Save the session of the job that a submission has become. Raise `UserError`.

    Slurm reuses ids after it has lost its state. Files of an earlier job with this id are older
    than the note of this submission, by the clock of the same file system. slurm-nb skips its
    output, and the new job removes its other files when it starts.
    """
    session = replace(pending.session, job=job)
    with suppress(OSError):
        output = store.log_path(job.job_id).stat()
        if output.st_size and output.st_mtime < pending.path.stat().st_mtime:
            session = replace(session, output_start=output.st_size)
    store.save(session)
    return session


def _keep_script(store: Store, pending: PendingSubmission, job: Job) -> None:
    """Rename the script for its session; a link in its place comes from submitit."""
    script = Path(pending.script)
    with suppress(OSError):
        if script.is_symlink():
            script.unlink()
        else:
            script.replace(store.script_path(job.job_id))


def sweep(store: Store) -> None:
    """Remove old incomplete files of killed slurm-nb processes."""
    known = {pending.script for pending in _all(store)}
    leftovers = [
        *(store.folder / "submitting").glob("*.new"),
        *(store.folder / "answers").glob("*.new"),
        *(store.folder / "jobs").glob(".submission_file_*"),  # submitit's names
    ]
    for path in leftovers:
        with suppress(OSError):
            if _is_old(path) and str(path) not in known:
                path.unlink()
    for folder in (store.folder / "jobs").glob(".sbatch_*"):  # sbatch.py's names
        with suppress(OSError):
            if _is_old(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_old(path: Path) -> bool:
    return time.time() - path.lstat().st_mtime > _SETTLED_S


def _is_running(pending: PendingSubmission) -> bool:
    """Return whether the submitting process may still be running."""
    if pending.process.elsewhere():
        return time.time() - pending.began_at < _ELSEWHERE_S
    return pending.process.alive()


def _all(store: Store) -> Iterator[PendingSubmission]:
    for path in _notes(store):
        with suppress(OSError, ValueError):
            pending = _read(path)
            if pending.session.cluster != LOCAL:
                yield pending


def unreadable(store: Store) -> list[UserError]:
    """Return the errors of unreadable records, which may belong to jobs."""
    broken = []
    for path in _notes(store):
        try:
            _read(path)
        except FileNotFoundError:  # it has been answered
            continue
        except (OSError, ValueError):
            broken.append(
                UserError(
                    f"{path}: is not readable; its submission may have created an unlisted job",
                    hint="check for jobs that slurm-nb list does not show: squeue --me -o '%i %o';"
                    " cancel them with scancel, then remove the file",
                )
            )
    return broken


def _notes(store: Store) -> list[Path]:
    return sorted((store.folder / "submitting").glob("*.json"))


def _read(path: Path) -> PendingSubmission:
    """Read a record. Raises `OSError` or `ValueError`."""
    record = read_record(path)
    session = from_record(record.get("session"))
    return decode(PendingSubmission, {**record, "path": path, "session": session})
