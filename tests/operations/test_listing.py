"""All sessions in one list: Slurm's answer, the saved state, and the unknown."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from slurm_nb.files import write_private
from slurm_nb.operations.listing import find_entry, list_sessions
from slurm_nb.scheduler.job import Job, JobState, Phase
from slurm_nb.session.session import Activity, Session
from slurm_nb.session.store import Store
from tests.conftest import AddProgram
from tests.fakes import settle_as_proven, squeue_row

ENDED = JobState(Phase.ENDED, "COMPLETED")
END = "2026-11-23T14:00:00"


def session(job_id: str, submitted_at: int = 0) -> Session:
    return Session(
        job=Job(job_id, "hpc", script="/job.sh"),
        job_name=f"name{job_id}",
        submitted_at=submitted_at or int(job_id),
    )


@pytest.fixture
def slurm(program: AddProgram) -> Callable[..., None]:
    """Return a function that sets both answers: `shows(squeue={"7": "RUNNING"}, sacct=...)`."""

    def shows(squeue: dict[str, str], sacct: str = "exit 1") -> None:
        rows = "\n".join(
            f'echo "{squeue_row(*each, END, node="c1", script="/job.sh")}"'
            for each in squeue.items()
        )
        program("squeue", f'echo "asked: $*" >>"$0.calls"\n{rows}')
        program("sacct", f'echo "asked: $*" >>"$0.calls"\n{sacct}')

    program("scontrol", "echo 'ClusterName = hpc'")
    return shows


def calls(program: AddProgram, name: str) -> int:
    path = program("unused", "").with_name(f"{name}.calls")
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def test_the_list_has_every_session_newest_first(store: Store, slurm: Callable[..., None]) -> None:
    """One query gets the state of each."""
    for each in (session("7", 300), session("8", 100), session("9", 200)):
        store.save(each)
    slurm({"8": "PENDING", "7": "RUNNING", "9": "SUSPENDED"})

    listing = list_sessions(store)

    assert [(entry.session.job_id, entry.state.slurm_state) for entry in listing.entries] == [
        ("7", "RUNNING"),
        ("9", "SUSPENDED"),
        ("8", "PENDING"),
    ]
    assert (listing.broken, listing.unresolved, listing.unanswered) == ([], [], {})


def test_any_number_of_sessions_needs_one_query(
    store: Store,
    slurm: Callable[..., None],
    program: AddProgram,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One accounting query covers all that ended unseen; after the second one they are over."""
    for number in range(1, 21):
        store.save(session(str(number)))
    ended = "\n".join(f"echo '{number}|TIMEOUT|0:0'" for number in range(11, 21))
    slurm({str(number): "RUNNING" for number in range(1, 11)}, sacct=ended)

    seen = []
    for at in (1000.0, 1040.0, 1080.0):
        monkeypatch.setattr("time.time", lambda at=at: at)
        entries = list_sessions(store, now=time.time).entries
        seen.append((entries, calls(program, "squeue"), calls(program, "sacct")))
    first, second, third = seen

    assert (first[1:], second[1:], third[1:]) == ((1, 1), (2, 2), (3, 2))
    assert sum(entry.outcome is not None for entry in first[0]) == 10
    assert {entry.outcome.cause for entry in first[0] if entry.outcome} == {"time-limit"}
    assert [entry.outcome for entry in third[0]] == [entry.outcome for entry in second[0]]


def test_a_session_that_ended_long_ago_needs_no_query(
    store: Store, slurm: Callable[..., None], program: AddProgram
) -> None:
    """It can no longer be requeued."""
    store.save(session("7"))
    settle_as_proven(store, session("7"), JobState(Phase.ENDED, "TIMEOUT"),
        now=lambda: time.time() - 4000,
    )  # fmt: skip
    slurm({})

    (entry,) = list_sessions(store).entries

    assert (entry.state.slurm_state, calls(program, "squeue")) == ("TIMEOUT", 0)


def test_many_missing_sessions_are_checked_a_few_at_a_time(
    store: Store, slurm: Callable[..., None], program: AddProgram
) -> None:
    """scontrol checks about ten at a look, and each twice, so that two minutes suffice."""
    for number in range(1, 26):
        store.save(session(str(number)))
    slurm({})
    program(
        "scontrol",
        'echo "$*" >>"$0.calls"; [ "$2" = config ] && echo "ClusterName = hpc" && exit\n'
        "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1",
    )
    began = time.time()
    proven, asked = [], []
    for look in range(8):
        before = calls(program, "scontrol")
        at = began + 15 * look
        entries = list_sessions(store, now=lambda at=at: at).entries  # type: ignore[misc]
        proven.append(sum(bool(entry.outcome and entry.outcome.proven) for entry in entries))
        asked.append(calls(program, "scontrol") - before)

    assert max(asked) <= 11
    assert proven[0] == 0
    assert proven[-1] == 25


def test_a_requeued_session_has_not_ended(store: Store, slurm: Callable[..., None]) -> None:
    """`scontrol requeue` works after the end; the saved end does not hide the new state."""
    store.save(session("7"))
    settle_as_proven(store, session("7"), ENDED)
    slurm({"7": "PENDING"})

    (entry,) = list_sessions(store).entries

    assert (entry.state.slurm_state, entry.outcome) == ("PENDING", None)


def test_a_requeued_session_gets_a_new_explanation(
    store: Store, slurm: Callable[..., None]
) -> None:
    """It was cancelled, requeued, and then reached its time limit."""
    store.save(session("7"))
    settle_as_proven(store, session("7"), JobState(Phase.ENDED, "CANCELLED"))
    slurm({"7": "TIMEOUT"})

    (entry,) = list_sessions(store).entries

    assert entry.outcome
    assert (entry.state.slurm_state, entry.outcome.cause) == ("TIMEOUT", "time-limit")


def test_without_slurm_the_last_answer_is_shown_with_its_age(
    store: Store, slurm: Callable[..., None], program: AddProgram
) -> None:
    """An ended session stays ended; a session that no query has covered is unknown."""
    for number in ("7", "8"):
        store.save(session(number))
    slurm({"7": "RUNNING"}, sacct="echo '8|TIMEOUT|0:0'")
    list_sessions(store, now=lambda: 960.0)
    list_sessions(store, now=lambda: 1000.0)
    store.save(session("9"))
    program("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")

    listing = list_sessions(store, now=lambda: 1500.0)

    entries = {entry.session.job_id: entry for entry in listing.entries}
    assert [entries[each].state.slurm_state for each in "789"] == ["RUNNING", "TIMEOUT", "UNKNOWN"]
    assert [entries[each].as_of for each in "79"] == [1000.0, None]
    assert entries["8"].outcome is not None
    assert listing.unanswered == {"hpc": "Unable to contact slurm controller"}


def test_broken_sessions_do_not_hide_the_others(store: Store, slurm: Callable[..., None]) -> None:
    """The list has them separately."""
    for number in ("7", "8"):
        store.save(session(number))
    (store.session_folder("hpc", "8") / "session.json").write_text("{", encoding="utf-8")
    slurm({"7": "RUNNING"})

    listing = list_sessions(store)

    assert [entry.session.job_id for entry in listing.entries] == ["7"]
    assert "is not a session file" in str(listing.broken[0])


def test_the_list_says_how_idle_a_session_is(store: Store, slurm: Callable[..., None]) -> None:
    """The job records it; a session that does not run has no record in the list."""
    for number in ("7", "8"):
        store.save(session(number))
        record = {"active_at": 500, "idle_stop_at": 900, "memory_fraction": 0.5, "kernels": 2}
        write_private(store.session_folder("hpc", number) / "activity.json", json.dumps(record))
    slurm({"7": "RUNNING", "8": "PENDING"})

    entries = {entry.session.job_id: entry for entry in list_sessions(store).entries}

    assert entries["7"].activity == Activity(500, 900, 0.5, 2)
    assert entries["8"].activity is None


def test_a_single_session_has_its_entry(store: Store, slurm: Callable[..., None]) -> None:
    """It is the same as in the list."""
    store.save(session("7"))
    slurm({"7": "RUNNING"})

    entry, problem = find_entry(store, session("7"))

    assert (entry.session, entry.state.slurm_state, problem) == (session("7"), "RUNNING", "")
