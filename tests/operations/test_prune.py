"""What has ended is forgotten in time, and nothing that may still be there."""

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
    """A session of which it is saved that it was cancelled."""
    store.save(session(job_id))
    cancelled = JobState(Phase.ENDED, "CANCELLED")
    settle_as_proven(store, session(job_id), cancelled, now=lambda: time.time() - 3600 * hours_ago)


def test_what_ended_long_ago_is_forgotten_by_itself(store: Store) -> None:
    """With its script and output; what ended lately, or is not known to have ended, stays."""
    for number, days in (("7", 31), ("8", 29)):
        ended(store, number, hours_ago=24 * days)
        store.script_path(number).write_text("", encoding="utf-8")
    store.save(session("9"))

    clean_up(store)

    assert kept(store) == {"8", "9"}
    assert sorted(path.name for path in (store.folder / "jobs").iterdir()) == [
        "8_0_log.out", "8_submission.sh", "9_0_log.out",
    ]  # fmt: skip


def test_pruning_forgets_all_that_has_ended(
    store: Store, slurm: Callable[..., None], program: AddProgram
) -> None:
    """One that ended long ago is not even asked after."""
    ended(store, "7", hours_ago=0.5)
    ended(store, "8", hours_ago=30)
    store.save(session("9"))
    slurm({"9": "RUNNING"})

    left = prune(store, list_sessions(store))

    assert [entry.session.job_id for entry in left.entries] == ["9"]
    assert kept(store) == {"9"}
    assert calls(program, "squeue") == 1


def test_a_job_that_was_put_back_into_the_queue_is_not_forgotten(
    store: Store, slurm: Callable[..., None]
) -> None:
    """It had ended, and runs again: without its session nobody would find it."""
    ended(store, "7", hours_ago=0.5)
    slurm({"7": "RUNNING"})

    prune(store, list_sessions(store))

    assert kept(store) == {"7"}


def test_what_may_have_come_back_is_not_forgotten_while_slurm_is_silent(
    store: Store, slurm: Callable[..., None], program: AddProgram
) -> None:
    """Whether it is still over is not known; one that ended long ago is."""
    ended(store, "7", hours_ago=0.5)
    ended(store, "8", hours_ago=30)
    slurm({})
    program("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")

    prune(store, list_sessions(store))

    assert kept(store) == {"7"}
