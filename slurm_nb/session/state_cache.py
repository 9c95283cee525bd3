"""A cache of job states, so that all waiting terminals of a user share one query.

STATE/answers/CLUSTER.json, 0600:
`{"jobs": {"7": {"state": {"phase": "pending", ...}, "at": 1764150000.0}}, "failed_at": null, ...}`
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from slurm_nb.errors import UserError
from slurm_nb.files import open_regular, write_private
from slurm_nb.scheduler.job import Job, JobState, Phase, Scheduler
from slurm_nb.scheduler.process import is_stopped, this_process
from slurm_nb.session.ending import as_saved
from slurm_nb.session.records import decode, encode, read_record
from slurm_nb.session.store import Store

_TURN_S = 40.0
_KEPT_S = 30 * 86400.0
_TRY_EVERY_S = 0.1
_HOLDER_BYTES = 512


@dataclass(frozen=True)
class CachedState:
    """The state of a job at some time."""

    state: JobState
    at: float
    """Seconds since the epoch."""
    script: str | None = field(default=None, metadata={"later": True})
    """Of the job that was asked about: Slurm gives an id again."""

    def is_of(self, job: Job) -> bool:
        """Return whether it is about this job, not about another of the same id."""
        return self.script == job.script


@dataclass(frozen=True)
class CachedStates:
    """The last known states of a cluster's jobs."""

    jobs: Mapping[str, CachedState]
    """By job id."""
    failed_at: float | None
    """When Slurm last did not respond, if that was later; seconds since the epoch."""
    failure: str


NO_STATES = CachedStates({}, None, "")


class JobStateCache:
    """The cached states of one cluster's jobs, for one user."""

    def __init__(
        self,
        store: Store,
        scheduler: Scheduler,
        cluster: str,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._scheduler = scheduler
        self._cluster = cluster
        self._now = now
        self._path = store.folder / "answers" / f"{cluster}.json"

    def state(self, job: Job, *, max_age_s: float) -> JobState:
        """Return the state of `job`, from the cache if that is young enough.

        A query includes all jobs that other processes are waiting for.
        """
        with self._turn():
            saved = self.load()
            if self._is_young(saved.failed_at, max_age_s):
                return JobState(Phase.UNKNOWN, "UNKNOWN", saved.failure)
            seen = saved.jobs.get(job.job_id)
            if seen and seen.is_of(job) and self._is_young(seen.at, max_age_s):
                return seen.state
            return self._ask([job, *self._others(saved, job)], saved)[job.job_id]

    def ask(
        self, jobs: Iterable[Job], *, unexplained: Collection[str] | None = None
    ) -> dict[str, JobState]:
        """Return the current states of `jobs` with one query, and cache them.

        unexplained: ids of jobs to look up in accounting if they have ended.
        """
        with self._turn():
            return self._ask(list(jobs), self.load(), unexplained)

    def load(self) -> CachedStates:
        """Read the cache; empty if it is not readable."""
        try:
            return decode(CachedStates, read_record(self._path))
        except (OSError, ValueError):
            return NO_STATES

    def _ask(
        self,
        jobs: list[Job],
        saved: CachedStates,
        unexplained: Collection[str] | None = None,
    ) -> dict[str, JobState]:
        asked = self._scheduler.states(jobs, unexplained=unexplained)
        seen = {
            job.job_id: saved.jobs[job.job_id].state
            for job in jobs
            if job.job_id in saved.jobs and saved.jobs[job.job_id].is_of(job)
        }
        states = {job_id: as_saved(state, seen.get(job_id)) for job_id, state in asked.items()}
        unknown = [state for state in states.values() if is_no_answer(state)]
        if unknown:
            new = replace(saved, failed_at=self._now(), failure=unknown[0].reason)
        else:
            at = self._now()
            kept = {
                job_id: seen
                for job_id, seen in saved.jobs.items()
                if self._is_young(seen.at, _KEPT_S)
            }
            scripts = {job.job_id: job.script for job in jobs}
            fresh = {
                job_id: CachedState(state, at, scripts[job_id]) for job_id, state in states.items()
            }
            new = CachedStates({**kept, **fresh}, failed_at=None, failure="")
        with contextlib.suppress(UserError):  # a full disk: then nothing is cached
            write_private(self._path, json.dumps(encode(new)))
        return states

    def _others(self, saved: CachedStates, asked: Job) -> Iterator[Job]:
        """Yield the jobs that another process queried recently and that have not ended."""
        for job_id, seen in saved.jobs.items():
            waited_for = self._is_young(seen.at, _TURN_S) and seen.state.phase is not Phase.ENDED
            if job_id != asked.job_id and waited_for:
                with contextlib.suppress(UserError):
                    job = self._store.load(job_id, cluster=self._cluster).job
                    if seen.is_of(job):
                        yield job

    def _is_young(self, at: float | None, max_age_s: float) -> bool:
        # A time in the future comes from a clock that has been set back since.
        return at is not None and 0 <= self._now() - at <= max_age_s

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the lock of the cache, or go ahead if the file system has no locks."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                file = stack.enter_context(_opened(self._path.with_suffix(".lock")))
                _lock(file)
            yield


def is_no_answer(state: JobState) -> bool:
    """Return whether Slurm did not respond; it never reports `UNKNOWN` itself."""
    return state.phase is Phase.UNKNOWN and state.slurm_state == "UNKNOWN" and not state.missing


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    try:
        yield handle
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    """Lock the file and write into it who has the lock. Raises `OSError` if locking fails.

    Gives up after a while, or if the process with the lock was stopped (Ctrl-Z).
    """
    deadline = time.monotonic() + _TURN_S
    while time.monotonic() < deadline:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if is_stopped(os.pread(handle, _HOLDER_BYTES, 0).decode(errors="replace")):
                return
            time.sleep(_TRY_EVERY_S)
        else:
            os.ftruncate(handle, 0)
            os.pwrite(handle, this_process().encode(), 0)
            return
