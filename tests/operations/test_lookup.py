"""A session is named by its job id, by its job name, or by being the last."""

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


def test_a_job_id_is_its_session(store: Store) -> None:
    """Whatever others are called."""
    save(store, SEVEN, EIGHT, Session(job=Job("9", "hpc"), job_name="8"))

    assert find_session("8", store=store) == EIGHT


def test_a_name_is_its_session(store: Store) -> None:
    """As `submit -J` gave it."""
    save(store, SEVEN, EIGHT)

    assert find_session("analysis", store=store) == SEVEN


def test_a_name_of_several_is_not_clear(store: Store) -> None:
    """Their ids are named, the newest first, and where to look."""
    save(store, EIGHT, THERE)

    with pytest.raises(UserError, match="'fit' is the name of 2 sessions: 7, 8") as caught:
        find_session("fit", store=store)

    assert "slurm-nb list" in caught.value.hint


def test_of_a_name_the_one_that_has_not_ended_is_meant(store: Store) -> None:
    """Who runs `-J fit` every day does not mean yesterday's."""
    save(store, EIGHT, THERE)
    end(store, EIGHT)

    assert find_session("fit", store=store) == THERE
    end(store, THERE)
    with pytest.raises(UserError):
        find_session("fit", store=store)


def test_a_long_list_is_cut(store: Store) -> None:
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


def test_the_cluster_tells_two_of_one_id_apart(store: Store) -> None:
    """Without it the error says how."""
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
def test_what_is_no_session_is_said_to_be_none(store: Store, name: str, words: str) -> None:
    """No path, no pattern, nothing else."""
    save(store, SEVEN)

    with pytest.raises(UserError, match=words):
        find_session(name, store=store)


def test_the_last_one_is_that_submitted_last(store: Store) -> None:
    """Not that of the highest id: ids begin anew, and clusters have their own."""
    save(store, SEVEN, EIGHT, THERE)

    assert find_last_session(store) == THERE
    assert find_last_session(store, cluster="hpc") == EIGHT


def test_without_a_session_there_is_no_last(store: Store) -> None:
    """The error says how to get one."""
    with pytest.raises(UserError, match="you have no sessions") as caught:
        find_last_session(store)

    assert "slurm-nb submit" in caught.value.hint


def test_sessions_of_an_unknown_time_come_last() -> None:
    """Such as one that was sbatched by hand; among them the highest id first."""
    by_hand = [Session(job=Job(number, "hpc")) for number in ("9", "10")]

    assert newest_first([*by_hand, SEVEN]) == [SEVEN, by_hand[1], by_hand[0]]
