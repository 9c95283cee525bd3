"""How a session ended is found out once, and never known less well afterwards."""

from __future__ import annotations

import pytest

from slurm_nb.ended import find_ended, settle
from slurm_nb.scheduler import JobState, Phase
from slurm_nb.session import Session, Store
from slurm_nb.whereabouts import follow
from tests.conftest import NONCE

SEVEN = Session(job_id="7", cluster="hpc")
CANCELLED = JobState(Phase.ENDED, "CANCELLED")
FORGOTTEN = JobState(Phase.ENDED, "ENDED", "no longer known to Slurm")
FOREIGN = JobState(Phase.ENDED, "ENDED", "7 is the id of another job now", foreign=True)


def settled(store: Store, *states: JobState) -> list[str]:
    """The causes that are found, one after the other."""
    store.save(SEVEN)
    return [settle(SEVEN, state, store, follow(SEVEN, store)).cause for state in states]


@pytest.mark.parametrize("later", [FORGOTTEN, FOREIGN])
def test_what_slurm_forgot_is_still_known(store: Store, later: JobState) -> None:
    """MinJobAge later, or after slurmctld was started anew, Slurm says no more than that it is
    over; what it had said stays, for `list` and for `submit --again`.
    """
    assert settled(store, CANCELLED, later) == ["cancelled", "cancelled"]
    saved = find_ended(store, SEVEN)
    assert saved is not None
    assert (saved.word, saved.cause) == ("CANCELLED", "cancelled")


def test_what_its_output_shows_is_learnt_after_slurm_forgot_it(store: Store) -> None:
    """Where nothing was known, the job's own word counts, however late it comes."""
    assert settled(store, FORGOTTEN) == ["unknown"]
    who = f'{{"cluster": "hpc", "job_id": "7", "nonce": "{NONCE}"'
    (store.session_folder("hpc", "7") / "nonce").write_text(NONCE)
    failed = '"text": "the environment /x is not there on c1", "cure": "make it"'
    text = f"slurm-nb started: {who}}}\nslurm-nb failed: {who}, {failed}}}\n"
    store.log_path("7").write_text(text)

    assert settled(store, FORGOTTEN) == ["environment-missing"]


def test_a_later_word_of_slurm_counts(store: Store) -> None:
    """The job was put back into the queue, and ended in another way."""
    timeout = JobState(Phase.ENDED, "TIMEOUT")

    assert settled(store, CANCELLED, timeout) == ["cancelled", "time-limit"]
