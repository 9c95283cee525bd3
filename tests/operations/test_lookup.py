"""You name a session by its job id, by its job name, or as the last one."""

from __future__ import annotations

import pytest

from slurm_nb.errors import UserError
from slurm_nb.operations.lookup import find_last_session, find_session, newest_first
from slurm_nb.scheduler.job import Job, JobState, Phase
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.fakes import settle_as_proven

SEVEN = Session(job=Job("7", "hpc"), job_name="analysis", submitted_at=1000)
EIGHT = Session(job=Job("8", "hpc"), job_name="fit", submitted_at=2000)
THERE = Session(job=Job("7", "big", needs_cluster_option=True), job_name="fit", submitted_at=3000)


def save(store: Store, *sessions: Session) -> None:
    for session in sessions:
        store.save(session)


def end(store: Store, session: Session) -> None:
    settle_as_proven(store, session, JobState(Phase.ENDED, "COMPLETED"))


def test_a_job_id_means_its_session(store: Store) -> None:
    """Even if another session has this name."""
    save(store, SEVEN, EIGHT, Session(job=Job("9", "hpc"), job_name="8"))

    assert find_session("8", store=store) == EIGHT


def test_a_name_means_its_session(store: Store) -> None:
    """`submit -J` sets it."""
    save(store, SEVEN, EIGHT)

    assert find_session("analysis", store=store) == SEVEN


def test_a_name_of_several_sessions_is_ambiguous(store: Store) -> None:
    """The error gives their ids, newest first, and the command to list them."""
    save(store, EIGHT, THERE)

    with pytest.raises(UserError, match="'fit' is the name of 2 sessions: 7, 8") as caught:
        find_session("fit", store=store)

    assert "slurm-nb list" in caught.value.hint


def test_an_active_session_has_priority_among_those_with_one_name(store: Store) -> None:
    """A user who runs `-J fit` every day does not mean yesterday's session."""
    save(store, EIGHT, THERE)
    end(store, EIGHT)

    assert find_session("fit", store=store) == THERE
    end(store, THERE)
    with pytest.raises(UserError):
        find_session("fit", store=store)


def test_a_long_list_is_shortened(store: Store) -> None:
    """Nobody reads forty ids."""
    save(
        store,
        *(
            Session(job=Job(str(number), "hpc"), job_name="x", submitted_at=number)
            for number in range(1, 41)
        ),
    )

    with pytest.raises(UserError, match="40 sessions: 40, 39, 38, 37, 36 and 35 more"):
        find_session("x", store=store)


def test_the_cluster_distinguishes_two_sessions_with_one_id(store: Store) -> None:
    """Without it, the error says how to give it."""
    save(store, SEVEN, THERE)

    assert find_session("7", cluster="big", store=store) == THERE
    assert find_session("analysis", cluster="hpc", store=store) == SEVEN
    with pytest.raises(UserError, match="more than one cluster") as caught:
        find_session("7", store=store)
    assert "-M big" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("9", "job 9 was not started by slurm-nb"),
        ("nothing", "'nothing' is not the job id or name of a session"),
        ("../7", "'../7' is not the job id"),
        ("*", r"'\*' is not the job id"),
        ("", "'' is not the job id"),
        ("a\nb", "control character"),
    ],
)
def test_any_other_word_is_rejected(store: Store, name: str, words: str) -> None:
    """It may be a path or a pattern."""
    save(store, SEVEN)

    with pytest.raises(UserError, match=words):
        find_session(name, store=store)


def test_the_last_session_is_the_one_submitted_last(store: Store) -> None:
    """Its id need not be the highest: ids start over, and clusters have their own."""
    save(store, SEVEN, EIGHT, THERE)

    assert find_last_session(store) == THERE
    assert find_last_session(store, cluster="hpc") == EIGHT


def test_without_sessions_there_is_no_last(store: Store) -> None:
    """The error says how to start one."""
    with pytest.raises(UserError, match="you have no sessions") as caught:
        find_last_session(store)

    assert "slurm-nb submit" in caught.value.hint


def test_sessions_without_a_time_come_last() -> None:
    """The user has submitted them with sbatch; the highest id is at their top."""
    by_hand = [Session(job=Job(number, "hpc")) for number in ("9", "10")]

    assert newest_first([*by_hand, SEVEN]) == [SEVEN, by_hand[1], by_hand[0]]
