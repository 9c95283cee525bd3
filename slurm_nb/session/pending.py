"""Submissions that have no answer yet: what is found again when slurm-nb is killed on the way.

Before sbatch runs, STATE/submitting/NAME.json (0600) says which script it will submit; when the
session is saved it goes. One that stays is looked for among the jobs by its script, which no other
job has.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from slurm_nb.errors import SchedulerError, UserError
from slurm_nb.files import write_private
from slurm_nb.scheduler.job import LOCAL, Job
from slurm_nb.scheduler.process import Process
from slurm_nb.scheduler.slurm import Slurm, find_jobs
from slurm_nb.session.records import decode, encode, read_record
from slurm_nb.session.session import Session, from_record, to_record
from slurm_nb.session.store import Store

# sbatch is given up after 90 s, and Slurm may show the job a little later.
_SETTLED_S = 600.0
# On another host nothing can be seen of the process that submits.
_ELSEWHERE_S = 180.0


@dataclass(frozen=True)
class PendingSubmission:
    """A submission that was begun."""

    path: Path
    script: str
    """Path of the script."""
    clusters: str
    """As `-M` takes them; empty: the login node's own."""
    began_at: float
    """Seconds since the epoch."""
    process: Process
    """Who submits."""
    session: Session
    """All that is known of it but the job's id."""


def begin(store: Store, session: Session, *, clusters: str) -> PendingSubmission:
    """Return a submission by this process, whose script is not known yet."""
    path = store.folder / "submitting" / f"{os.urandom(8).hex()}.json"
    return PendingSubmission(path, "", clusters, time.time(), Process.here(os.getpid()), session)


def record(pending: PendingSubmission, script: Path) -> None:
    """Note what is about to be submitted. Raises `UserError`."""
    record = {
        "script": str(script),
        "clusters": pending.clusters,
        "began_at": pending.began_at,
        "process": encode(pending.process),
        "session": to_record(pending.session),
    }
    write_private(pending.path, json.dumps(record))


def recover(store: Store) -> list[PendingSubmission]:
    """Save a session for each job whose submission was cut off; those that are in doubt still.

    Slurm is asked only where there are any. One that has no job, long after, is forgotten.
    """
    lost = [pending for pending in _all(store) if not _goes_on(pending)]
    unresolved = []
    for clusters in sorted({pending.clusters for pending in lost}):
        those = [pending for pending in lost if pending.clusters == clusters]
        unresolved += _adopt(store, clusters, those)
    return unresolved


def _adopt(store: Store, clusters: str, lost: list[PendingSubmission]) -> list[PendingSubmission]:
    try:
        own = Slurm(store).cluster()
        found = find_jobs({pending.script for pending in lost}, clusters=clusters, own=own)
    except SchedulerError:
        return lost
    unresolved = []
    for pending in lost:
        job = found.get(pending.script)
        # A home may be shared by two clusters, and this be the other one.
        here = bool(clusters) or pending.session.cluster == own
        if job is None and not (here and time.time() - pending.began_at >= _SETTLED_S):
            unresolved.append(pending)
            continue
        if job is not None:
            _keep_script(store, pending, job)
            try:
                store.save(replace(pending.session, job=job))
            except UserError:  # a full or read-only disk
                unresolved.append(pending)
                continue
        else:
            with suppress(OSError):
                Path(pending.script).unlink()
        with suppress(OSError):
            pending.path.unlink()
    return unresolved


def _keep_script(store: Store, pending: PendingSubmission, job: Job) -> None:
    """Have the script where a session has it; a link there is submitit's, to the new name."""
    script = Path(pending.script)
    with suppress(OSError):
        if script.is_symlink():
            script.unlink()
        else:
            script.replace(store.script_path(job.job_id))


def sweep(store: Store) -> None:
    """Remove what a slurm-nb that was killed has left half-written, once it is old."""
    known = {pending.script for pending in _all(store)}
    leftovers = [
        *(store.folder / "submitting").glob("*.new"),
        *(store.folder / "answers").glob("*.new"),
        *(store.folder / "jobs").glob(".submission_file_*"),  # submitit's names
    ]
    for path in leftovers:
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > _SETTLED_S and str(path) not in known:
                path.unlink()


def _goes_on(pending: PendingSubmission) -> bool:
    """Whether the process that submits may still be at it."""
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
    """What is wrong with notes that can't be read: jobs of theirs may exist."""
    broken = []
    for path in _notes(store):
        try:
            _read(path)
        except FileNotFoundError:  # it has its answer now
            continue
        except (OSError, ValueError):
            broken.append(
                UserError(
                    f"{path}: is no note of a submission: it may have a job that is not listed",
                    hint="see what runs a script that you don't find here: squeue --me -o '%i %o';"
                    " cancel it with scancel; then remove that file",
                )
            )
    return broken


def _notes(store: Store) -> list[Path]:
    return sorted((store.folder / "submitting").glob("*.json"))


def _read(path: Path) -> PendingSubmission:
    """Return what a note says. Raises `OSError` or `ValueError`."""
    record = read_record(path)
    session = from_record(record.get("session"))
    return decode(PendingSubmission, {**record, "path": path, "session": session})
