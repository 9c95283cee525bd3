"""All waiting processes share the answers of Slurm, and nobody gets one that is too old."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slurm_nb.scheduler.job import Job, JobState, Phase
from slurm_nb.scheduler.local import Local
from slurm_nb.session.session import Session
from slurm_nb.session.state_cache import NO_STATES, JobStateCache
from slurm_nb.session.store import Store

SEVEN = Job("7", "hpc")
EIGHT = Job("8", "hpc")
PENDING = JobState(Phase.PENDING, "PENDING", "Priority", start_time="2026-11-23T14:00:00")
RUNNING = JobState(Phase.RUNNING, "RUNNING", node="c1")
SILENT = JobState(Phase.UNKNOWN, "UNKNOWN", "Slurm does not answer")


@dataclass
class Slurm(Local):
    """Counts what it is asked."""

    store: Store
    answers: dict[str, JobState] = field(default_factory=lambda: {"7": PENDING, "8": RUNNING})
    asked: list[list[str]] = field(default_factory=list)

    def states(
        self, jobs: Iterable[Job], *, unexplained: Collection[str] | None = None
    ) -> dict[str, JobState]:
        self.asked.append([job.job_id for job in jobs])
        return {job_id: self.answers[job_id] for job_id in self.asked[-1]}


@dataclass
class Terminals:
    """Several slurm-nb of one user."""

    store: Store
    slurm: Slurm
    time: float = 1_000_000.0

    def open(self) -> JobStateCache:
        return JobStateCache(self.store, self.slurm, "hpc", now=lambda: self.time)


@pytest.fixture
def terminals(store: Store) -> Terminals:
    for job in (SEVEN, EIGHT):
        store.save(Session(job=job))
    return Terminals(store, Slurm(store))


def path(store: Store) -> Path:
    return store.folder / "answers/hpc.json"


def test_a_young_answer_serves_another_terminal(terminals: Terminals) -> None:
    """The state is identical, and Slurm is not queried again."""
    first = terminals.open().state(SEVEN, max_age_s=29)
    terminals.time += 28
    second = terminals.open().state(SEVEN, max_age_s=29)

    assert first == second == PENDING
    assert terminals.slurm.asked == [["7"]]


@pytest.mark.parametrize("later_s", [29.5, -1, -100_000])
def test_an_answer_that_is_too_old_or_from_the_future_is_queried_again(
    terminals: Terminals, later_s: float
) -> None:
    """A clock that was set back must not keep an answer for hours."""
    terminals.open().state(SEVEN, max_age_s=29)
    terminals.time += later_s
    terminals.slurm.answers["7"] = RUNNING

    assert terminals.open().state(SEVEN, max_age_s=29) == RUNNING


def test_one_process_queries_for_all_that_wait(terminals: Terminals) -> None:
    """One query then serves all; a job that has ended is left out."""
    terminals.open().state(SEVEN, max_age_s=29)
    terminals.open().state(EIGHT, max_age_s=29)
    terminals.time += 30
    terminals.open().state(SEVEN, max_age_s=29)
    terminals.open().state(EIGHT, max_age_s=29)
    terminals.slurm.answers["8"] = JobState(Phase.ENDED, "COMPLETED")
    terminals.time += 30
    terminals.open().state(SEVEN, max_age_s=29)
    terminals.time += 30
    terminals.open().state(SEVEN, max_age_s=29)

    assert terminals.slurm.asked == [["7"], ["8", "7"], ["7", "8"], ["7", "8"], ["7"]]


def test_nobody_queries_a_silent_slurm_again(terminals: Terminals) -> None:
    """One process waits for its timeout and the others learn about it; earlier states are kept."""
    terminals.open().ask([SEVEN])
    terminals.slurm.answers["7"] = SILENT
    terminals.time += 30

    states = [terminals.open().state(SEVEN, max_age_s=29) for _ in range(3)]

    assert states == [SILENT] * 3
    assert len(terminals.slurm.asked) == 2
    assert terminals.open().load().jobs["7"].state == PENDING


def test_an_answer_ends_a_silence(terminals: Terminals) -> None:
    """The earlier failure is no longer shown."""
    terminals.slurm.answers["7"] = SILENT
    terminals.open().ask([SEVEN])
    terminals.slurm.answers["7"] = RUNNING

    terminals.open().ask([SEVEN])

    assert terminals.open().load().failed_at is None


def test_an_answer_about_one_job_keeps_the_states_of_the_others(terminals: Terminals) -> None:
    """list shows all of them while the controller is down."""
    terminals.open().ask([SEVEN, EIGHT])
    terminals.time += 5

    terminals.open().ask([SEVEN])

    jobs = terminals.open().load().jobs
    assert {job_id: seen.at for job_id, seen in jobs.items()} == {
        "7": 1_000_005.0,
        "8": 1_000_000.0,
    }


WHOLE: dict[str, object] = {"jobs": {}, "failed_at": None, "failure": ""}
STATE = {"phase": "running", "word": "RUNNING"}


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {},
        {**WHOLE, "jobs": []},
        {**WHOLE, "jobs": {"7": {}}},
        {**WHOLE, "jobs": {"7": {"state": {**STATE, "phase": "x"}, "at": 1}}},
        {**WHOLE, "jobs": {"7": {"state": {**STATE, "new": 1}, "at": 1}}},
        {**WHOLE, "jobs": {"7": {"state": STATE, "at": "x"}}},
        {**WHOLE, "failed_at": "x"},
    ],
)
@pytest.mark.parametrize("cut", [0, 1])
def test_a_broken_file_is_ignored(terminals: Terminals, record: object, cut: int) -> None:
    """slurm-nb queries Slurm as if nothing had been saved, and the file is whole again."""
    text = json.dumps(record)
    path(terminals.store).write_text(text[: len(text) - cut], encoding="utf-8")

    assert terminals.open().load() == NO_STATES
    assert terminals.open().state(SEVEN, max_age_s=1e9) == PENDING
    assert json.loads(path(terminals.store).read_text())["jobs"]["7"]["state"]["word"] == "PENDING"


def test_an_answer_that_cannot_be_saved_is_still_returned(terminals: Terminals) -> None:
    """A full disk prevents the sharing, not the answer."""
    path(terminals.store).mkdir()

    assert terminals.open().state(SEVEN, max_age_s=29) == PENDING


def test_only_the_user_can_read_the_answers(terminals: Terminals) -> None:
    """They name jobs, nodes and paths."""
    terminals.open().ask([SEVEN])

    assert path(terminals.store).stat().st_mode & 0o777 == 0o600


def test_the_second_process_waits_for_the_first(terminals: Terminals) -> None:
    """While one queries Slurm, another takes its answer instead of querying at the same time."""
    handle = os.open(path(terminals.store).with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    states: list[JobState] = []
    second = threading.Thread(
        target=lambda: states.append(terminals.open().state(SEVEN, max_age_s=29))
    )
    second.start()
    second.join(0.3)
    waited = not states

    os.close(handle)
    second.join(20)

    assert waited
    assert states == [PENDING]
