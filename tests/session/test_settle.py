"""slurm-nb determines how a session ended once, saves it, and says what to do next."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from slurm_nb.diagnosis.outcome import is_certain
from slurm_nb.files import write_private
from slurm_nb.scheduler.job import Job, JobState, Phase
from slurm_nb.session.ending import Verdict
from slurm_nb.session.session import Session
from slurm_nb.session.settle import job_ended, settle
from slurm_nb.session.store import Store
from tests.conftest import NONCE
from tests.fakes import settle_as_proven

SEVEN = Session(job=Job("7", "hpc"), options=("--mem=4G", "--time=90", "--mem=8G"))
TIMEOUT = JobState(Phase.ENDED, "TIMEOUT", "TimeLimit", node="c1", end_time="2026-11-23T14:00:00")
FAILED = JobState(Phase.ENDED, "FAILED", "NonZeroExitCode")
SILENT = JobState(Phase.UNKNOWN, "UNKNOWN", "Slurm does not answer")
WHO = {"cluster": "hpc", "job_id": "7", "nonce": NONCE}


@pytest.fixture
def store(store: Store) -> Store:
    """Return a store with session 7, its token and the page that contains it."""
    store.save(SEVEN)
    folder = store.session_folder("hpc", "7")
    for name, text in (("token", "ab" * 32), ("open.html", "page"), ("nonce", NONCE)):
        write_private(folder / name, text)
    return store


def path(store: Store) -> Path:
    return store.session_folder("hpc", "7") / "ended.json"


def write(store: Store, text: str) -> None:
    store.log_path("7").write_text(text, encoding="utf-8")


def told(what: str, **record: object) -> str:
    return f"\nslurm-nb {what}: {json.dumps({**WHO, **record})}\n"


def test_an_ending_is_saved_and_its_secrets_go(store: Store) -> None:
    """A later process finds the same outcome."""
    ended = settle_as_proven(store, SEVEN, TIMEOUT, now=lambda: 1000.0).outcome

    assert (ended.slurm_state, ended.cause, ended.node, ended.at) == (
        "TIMEOUT",
        "time-limit",
        "c1",
        1000,
    )
    assert "--again 7 --time" in ended.cure
    assert store.outcome(SEVEN) == ended
    assert path(store).stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in store.session_folder("hpc", "7").iterdir()) == [
        "ended.json", "nonce", "session.json",
    ]  # fmt: skip


def test_an_answer_without_accounting_keeps_what_accounting_said(store: Store) -> None:
    """Only sacct knows that root cancelled it; an end at another time is a different ending."""
    cancelled = replace(TIMEOUT, slurm_state="CANCELLED", reason="")
    later = replace(cancelled, end_time="2026-11-23T15:00:00")
    ends_s = datetime.fromisoformat("2026-11-23T15:00:00").timestamp()
    by_root = settle_as_proven(
        store, SEVEN, replace(cancelled, by_uid=0), now=lambda: ends_s
    ).outcome
    again = settle_as_proven(store, SEVEN, cancelled, now=lambda: ends_s).outcome
    other = settle_as_proven(store, SEVEN, later, now=lambda: ends_s).outcome

    assert again == by_root
    assert by_root.end_time == "2026-11-23T14:00:00"
    assert other.end_time == "2026-11-23T15:00:00"
    assert store.outcome(SEVEN) == other


def test_an_ending_from_before_the_submission_belongs_to_another_job(store: Store) -> None:
    """Slurm reuses the number after it has lost its state."""
    settle_as_proven(store, SEVEN, TIMEOUT, now=lambda: 1000.0)

    assert store.outcome(replace(SEVEN, submitted_at=1001)) is None
    assert store.outcome(replace(SEVEN, submitted_at=1000)) is not None


def test_later_findings_are_added(store: Store) -> None:
    """The end of the output came late; the time of the end does not change."""
    first = settle_as_proven(store, SEVEN, FAILED, now=lambda: 1000.0).outcome
    write(store, told("started") + "OSError: [Errno 122] Disk quota exceeded\n")
    write(
        store, told("started") + told("failed", text="no x", cure="y") + told("ended", exit_code=1)
    )

    second = settle_as_proven(store, SEVEN, FAILED, now=lambda: 1060.0).outcome

    assert "no x" not in first.text
    assert "no x" in second.text
    assert second.at == 1000
    assert store.outcome(SEVEN) == second


def test_an_unproven_ending_is_reported_and_the_token_stays(store: Store) -> None:
    """A single answer of Slurm is saved as unproven; the token stays until the ending is proven."""
    first = settle(store, SEVEN, Verdict(TIMEOUT), now=lambda: 1000.0)
    kept = store.token(SEVEN)
    second = settle(store, SEVEN, Verdict(TIMEOUT, proven=True), now=lambda: 1060.0)

    assert (first.outcome.cause, first.outcome.proven, kept) == ("time-limit", False, "ab" * 32)
    assert (second.outcome.proven, second.outcome.at) == (True, 1000)
    assert store.token(SEVEN) is None


def test_an_ending_that_slurm_does_not_confirm_is_not_saved(store: Store) -> None:
    """The job may come back, so its token stays."""
    write(store, told("started") + told("ended", exit_code=1))

    settle_as_proven(store, SEVEN, SILENT)

    assert store.outcome(SEVEN) is None
    assert store.token(SEVEN) is not None


def test_another_job_with_the_same_id_leaves_the_token(store: Store) -> None:
    """Nothing shows that this job belongs to the session."""
    settle_as_proven(store, SEVEN, replace(TIMEOUT, id_reused=True))

    assert store.token(SEVEN) is not None


def test_a_secret_that_cannot_be_removed_is_reported(store: Store) -> None:
    """The caller of settle() gets the error without asking for it."""
    token = store.token_path(SEVEN)
    token.unlink()
    (token / "in the way").mkdir(parents=True)

    settled = settle_as_proven(store, SEVEN, TIMEOUT)

    assert [str(error).partition(": ")[0] for error in settled.left] == [f"cannot remove {token}"]
    assert settle_as_proven(store, SEVEN, replace(TIMEOUT, id_reused=True)).left == []


def test_a_full_disk_prevents_only_the_saving(store: Store) -> None:
    """The next process determines the ending again."""
    path(store).mkdir()

    assert settle_as_proven(store, SEVEN, TIMEOUT).outcome.cause == "time-limit"
    assert store.outcome(SEVEN) is None


def test_an_unknown_cause_may_become_known_later(store: Store) -> None:
    """slurm-nb waits two minutes, because NFS shows the end of the output up to one minute late."""
    write(store, told("started") + "something odd\n" + told("ended", exit_code=77))
    ended = settle_as_proven(store, SEVEN, FAILED, now=lambda: 1000.0).outcome

    assert ended.cause == "unknown"
    assert not is_certain(ended, 1060.0)
    assert is_certain(ended, 1121.0)


def test_the_error_says_why_and_what_next(store: Store) -> None:
    """It shows the state and reason from Slurm, the cause, the cure and the path of the output."""
    ended = settle_as_proven(store, SEVEN, TIMEOUT).outcome

    error = job_ended(store, SEVEN, ended)

    assert str(error) == "job 7 has ended: TIMEOUT (TimeLimit): the job reached its time limit"
    assert error.hint == f"{ended.cure}\noutput: {store.log_path('7')}"
    assert error.exit_code == 4
    assert str(job_ended(store, SEVEN, ended, before_ready=True)).startswith(
        "the job ended before Jupyter was ready: TIMEOUT (TimeLimit): the job reached"
    )


def test_the_error_names_what_the_job_found_missing(store: Store) -> None:
    """It shows the sentence and cure that the job printed instead of Slurm's state."""
    write(store, told("failed", text="no x on c1", cure="install x") + told("ended", exit_code=1))
    ended = settle_as_proven(store, SEVEN, FAILED).outcome

    error = job_ended(store, SEVEN, ended, before_ready=True)

    assert str(error) == "Jupyter cannot start: no x on c1"
    assert error.hint == f"install x\noutput: {store.log_path('7')}"


def test_the_last_lines_are_shown_if_the_cause_is_unknown(store: Store) -> None:
    """Each is on its own line."""
    write(store, told("started") + "odd\nand odder\n" + told("ended", exit_code=77))
    ended = settle_as_proven(store, SEVEN, FAILED).outcome

    assert str(job_ended(store, SEVEN, ended)).endswith("\n    odd\n    and odder")


# --- what Slurm says later ---

CANCELLED = JobState(Phase.ENDED, "CANCELLED")
FORGOTTEN = JobState(Phase.ENDED, "ENDED", "no longer known to Slurm")
FOREIGN = JobState(Phase.ENDED, "ENDED", "7 is the id of another job now", id_reused=True)


def settled(store: Store, *states: JobState) -> list[str]:
    """Settle the session with one state after the other and return the causes."""
    store.save(SEVEN)
    return [settle_as_proven(store, SEVEN, state).outcome.cause for state in states]


@pytest.mark.parametrize("later", [FORGOTTEN, FOREIGN])
def test_an_outcome_stays_known_after_slurm_has_removed_the_job(
    store: Store, later: JobState
) -> None:
    """After MinJobAge, or after a restart of slurmctld, Slurm says only that the job is over; what
    it said before stays, for `list` and for `submit --again`.
    """
    assert settled(store, CANCELLED, later) == ["cancelled", "cancelled"]
    saved = store.outcome(SEVEN)
    assert saved is not None
    assert (saved.slurm_state, saved.cause) == ("CANCELLED", "cancelled")


def test_the_output_explains_an_ending_that_slurm_no_longer_knows(store: Store) -> None:
    """If the cause is unknown, the job's explanation is used however late it arrives."""
    assert settled(store, FORGOTTEN) == ["unknown"]
    who = f'{{"cluster": "hpc", "job_id": "7", "nonce": "{NONCE}"'
    (store.session_folder("hpc", "7") / "nonce").write_text(NONCE)
    failed = '"text": "the environment /x is not there on c1", "cure": "make it"'
    text = f"slurm-nb started: {who}}}\nslurm-nb failed: {who}, {failed}}}\n"
    store.log_path("7").write_text(text)

    assert settled(store, FORGOTTEN) == ["environment-missing"]


def test_a_later_state_from_slurm_replaces_the_first(store: Store) -> None:
    """The job was put back into the queue and ended in a different way."""
    timeout = JobState(Phase.ENDED, "TIMEOUT")

    assert settled(store, CANCELLED, timeout) == ["cancelled", "time-limit"]
