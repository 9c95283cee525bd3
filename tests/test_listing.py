"""The list of sessions forgets only what is certain to be over."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from slurm_nb import listing
from slurm_nb.ended import Ended
from slurm_nb.listing import list_sessions, prune
from slurm_nb.private import write_private
from slurm_nb.scheduler import JobState, Phase
from slurm_nb.session import Session, Store

RUNNING = JobState(Phase.RUNNING, "RUNNING")
CANCELLED = JobState(Phase.ENDED, "CANCELLED")
NO_ANSWER = JobState(Phase.UNKNOWN, "UNKNOWN", "Slurm does not answer")


@dataclass
class Fake:
    """A Slurm that says the same of every job."""

    state: JobState
    asked: list[list[str]] = field(default_factory=list)

    def states(self, sessions: list[Session], *, unexplained: set[str]) -> dict[str, JobState]:
        assert unexplained <= {session.job_id for session in sessions}
        self.asked.append([session.job_id for session in sessions])
        return {session.job_id: self.state for session in sessions}


def ended(store: Store, job_id: str, *, hours_ago: float) -> None:
    """A session of which it is saved that it was cancelled."""
    session = Session(job_id=job_id, cluster="hpc")
    store.save(session)
    at = int(time.time() - 3600 * hours_ago)
    record = Ended("CANCELLED", "", "cancelled", "it was cancelled", "", "start another", at)
    path = store.session_folder("hpc", job_id) / "ended.json"
    write_private(path, json.dumps(asdict(record)))


def pruned(
    store: Store, state: JobState, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], list[list[str]]]:
    """The ids that `list --prune` leaves, and what was asked."""
    fake = Fake(state)
    monkeypatch.setattr(listing, "scheduler", lambda _: fake)
    left = prune(store, list_sessions(store), older_than_days=0)
    kept = [entry.session.job_id for entry in left.entries]
    assert sorted(kept) == sorted(session.job_id for session in store.all()[0])
    return kept, fake.asked


def test_what_has_ended_is_forgotten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ended long ago is not even asked after; its folder and its output go."""
    ended(store, "7", hours_ago=0.5)
    ended(store, "8", hours_ago=30)

    assert pruned(store, CANCELLED, monkeypatch) == ([], [["7"]])
    assert list(Path(store.folder, "jobs").iterdir()) == []


def test_a_job_that_was_put_back_into_the_queue_is_not_forgotten(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had ended, and runs again: without its session nobody would find it."""
    ended(store, "7", hours_ago=0.5)

    assert pruned(store, RUNNING, monkeypatch)[0] == ["7"]


def test_what_may_have_come_back_is_not_forgotten_while_slurm_is_silent(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is still over is not known; one that ended long ago is."""
    ended(store, "7", hours_ago=0.5)
    ended(store, "8", hours_ago=30)

    assert pruned(store, NO_ANSWER, monkeypatch)[0] == ["7"]
