"""Ended sessions are removed in time, and no session that may still exist."""

from __future__ import annotations

import time
from collections.abc import Callable

from slurm_nb.operations.listing import list_sessions
from slurm_nb.operations.prune import clean_up, prune
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.session.store import Store
from tests.conftest import AddProgram
from tests.fakes import settle_as_proven
from tests.operations.test_listing import calls, session, slurm

__all__ = ["slurm"]  # a fixture, for pytest to find here


def kept(store: Store) -> set[str]:
    return {each.job_id for each in store.all()[0]}


def ended(store: Store, job_id: str, *, hours_ago: float) -> None:
    """Save a session that was cancelled so long ago."""
    store.save(session(job_id))
    cancelled = JobState(Phase.ENDED, "CANCELLED")
    settle_as_proven(store, session(job_id), cancelled, now=lambda: time.time() - 3600 * hours_ago)


def test_old_sessions_are_removed_automatically(store: Store) -> None:
    """Script and output go too; a session that ended recently, or may still run, stays."""
    for number, days in (("7", 31), ("8", 29)):
        ended(store, number, hours_ago=24 * days)
        store.script_path(number).write_text("", encoding="utf-8")
    store.save(session("9"))

    clean_up(store)

    assert kept(store) == {"8", "9"}
    assert sorted(path.name for path in (store.folder / "jobs").iterdir()) == [
        "8_0_log.out", "8_submission.sh", "9_0_log.out",
    ]  # fmt: skip


def test_prune_removes_every_ended_session(
    store: Store, slurm: Callable[..., None], program: AddProgram
) -> None:
    """A session that ended long ago needs no query."""
    ended(store, "7", hours_ago=0.5)
    ended(store, "8", hours_ago=30)
    store.save(session("9"))
    slurm({"9": "RUNNING"})

    left = prune(store, list_sessions(store))

    assert [entry.session.job_id for entry in left.entries] == ["9"]
    assert kept(store) == {"9"}
    assert calls(program, "squeue") == 1


def test_a_requeued_session_stays(store: Store, slurm: Callable[..., None]) -> None:
    """It had ended and runs again: without its files nobody would find it."""
    ended(store, "7", hours_ago=0.5)
    slurm({"7": "RUNNING"})

    prune(store, list_sessions(store))

    assert kept(store) == {"7"}


def test_a_session_that_may_have_returned_stays_without_an_answer_from_slurm(
    store: Store, slurm: Callable[..., None], program: AddProgram
) -> None:
    """Only one that ended long ago is certain to be over."""
    ended(store, "7", hours_ago=0.5)
    ended(store, "8", hours_ago=30)
    slurm({})
    program("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")

    prune(store, list_sessions(store))

    assert kept(store) == {"7"}
