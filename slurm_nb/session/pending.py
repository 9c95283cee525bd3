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
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from slurm_nb.errors import SchedulerError, UserError
from slurm_nb.files import write_private
from slurm_nb.scheduler.job import LOCAL, Job
from slurm_nb.scheduler.process import Process
from slurm_nb.scheduler.slurm import Slurm, find_jobs
from slurm_nb.session.records import is_time, read_record
from slurm_nb.session.session import Session, from_record, to_record
from slurm_nb.session.store import Store

# sbatch is given up after 90 s, and Slurm may show the job a little later.
_SETTLED_S = 600.0
# On another host nothing can be seen of the process that submits.
_ELSEWHERE_S = 180.0
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError)


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


def record(store: Store, script: Path, session: Session, *, clusters: str) -> Path:
    """Note what is about to be submitted; the note's path. Raises `UserError`."""
    path = store.folder / "submitting" / f"{os.urandom(8).hex()}.json"
    record = {
        "script": str(script),
        "clusters": clusters,
        "began_at": time.time(),
        "process": asdict(Process.here(os.getpid())),
        "session": to_record(session),
    }
    write_private(path, json.dumps(record))
    return path


def recover(store: Store) -> list[PendingSubmission]:
    """Save a session for each job whose submission was cut off; those that are in doubt still.

    Slurm is asked only where there are any. One that has no job, long after, is forgotten.
    """
    lost = [intent for intent in _all(store) if not _goes_on(intent)]
    doubtful = []
    for clusters in sorted({intent.clusters for intent in lost}):
        those = [intent for intent in lost if intent.clusters == clusters]
        doubtful += _adopt(store, clusters, those)
    return doubtful


def _adopt(store: Store, clusters: str, lost: list[PendingSubmission]) -> list[PendingSubmission]:
    try:
        own = Slurm(store).cluster()
        found = find_jobs({intent.script for intent in lost}, clusters=clusters, own=own)
    except SchedulerError:
        return lost
    doubtful = []
    for intent in lost:
        job = found.get(intent.script)
        # A home may be shared by two clusters, and this be the other one.
        here = bool(clusters) or intent.session.cluster == own
        if job is None and not (here and time.time() - intent.began_at >= _SETTLED_S):
            doubtful.append(intent)
            continue
        if job is not None:
            _keep_script(store, intent, job)
            try:
                store.save(replace(intent.session, job=job))
            except UserError:  # a full or read-only disk
                doubtful.append(intent)
                continue
        else:
            with suppress(OSError):
                Path(intent.script).unlink()
        with suppress(OSError):
            intent.path.unlink()
    return doubtful


def _keep_script(store: Store, intent: PendingSubmission, job: Job) -> None:
    """Have the script where a session has it; a link there is submitit's, to the new name."""
    script = Path(intent.script)
    with suppress(OSError):
        if script.is_symlink():
            script.unlink()
        else:
            script.replace(store.script_path(job.job_id))


def sweep(store: Store) -> None:
    """Remove what a slurm-nb that was killed has left half-written, once it is old."""
    known = {intent.script for intent in _all(store)}
    leftovers = [
        *(store.folder / "submitting").glob("*.new"),
        *(store.folder / "answers").glob("*.new"),
        *(store.folder / "jobs").glob(".submission_file_*"),  # submitit's names
    ]
    for path in leftovers:
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > _SETTLED_S and str(path) not in known:
                path.unlink()


def _goes_on(intent: PendingSubmission) -> bool:
    """Whether the process that submits may still be at it."""
    if intent.process.elsewhere():
        return time.time() - intent.began_at < _ELSEWHERE_S
    return intent.process.alive()


def _all(store: Store) -> Iterator[PendingSubmission]:
    for path in _notes(store):
        with suppress(*_UNREADABLE):
            intent = _read(path)
            if intent.session.cluster != LOCAL:
                yield intent


def unreadable(store: Store) -> list[UserError]:
    """What is wrong with notes that can't be read: jobs of theirs may exist."""
    broken = []
    for path in _notes(store):
        try:
            _read(path)
        except FileNotFoundError:  # it has its answer now
            continue
        except _UNREADABLE:
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
    record = read_record(path)
    if not is_time(record["began_at"]):
        raise ValueError("began_at")
    return PendingSubmission(
        path,
        str(record["script"]),
        str(record["clusters"]),
        record["began_at"],
        Process(**record["process"]),
        from_record(record["session"]),
    )
