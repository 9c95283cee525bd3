"""How a session ended is found out once, saved, and told with what to do next."""

from __future__ import annotations

import json
from dataclasses import replace
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
    """With session 7, its token and the page that holds it."""
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
    """What a later process finds is what this one was told."""
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


def test_who_does_not_ask_accounting_does_not_unlearn_what_it_said(store: Store) -> None:
    """Root cancelled it, which sacct alone knows; an ending at another time is another one."""
    cancelled = replace(TIMEOUT, slurm_state="CANCELLED", reason="")
    by_root = settle_as_proven(
        store, SEVEN, replace(cancelled, by_uid=0), now=lambda: 1000.0
    ).outcome
    again = settle_as_proven(store, SEVEN, cancelled).outcome
    later = replace(cancelled, end_time="2026-11-23T15:00:00")
    other = settle_as_proven(store, SEVEN, later).outcome

    assert again == by_root
    assert by_root.end_time == "2026-11-23T14:00:00"
    assert other.end_time == "2026-11-23T15:00:00"
    assert store.outcome(SEVEN) == other


def test_an_ending_from_before_the_submission_is_another_job_s(store: Store) -> None:
    """Slurm that has lost its state gives the number again."""
    settle_as_proven(store, SEVEN, TIMEOUT, now=lambda: 1000.0)

    assert store.outcome(replace(SEVEN, submitted_at=1001)) is None
    assert store.outcome(replace(SEVEN, submitted_at=1000)) is not None


def test_what_is_learnt_later_is_added(store: Store) -> None:
    """The end of the output came late; when it was over stays as it was."""
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


def test_an_ending_that_is_not_proven_is_told_and_costs_nothing(store: Store) -> None:
    """What one answer of Slurm's says is saved as no more than that; the token stays."""
    first = settle(store, SEVEN, Verdict(TIMEOUT), now=lambda: 1000.0)
    kept = store.token(SEVEN)
    second = settle(store, SEVEN, Verdict(TIMEOUT, proven=True), now=lambda: 1060.0)

    assert (first.outcome.cause, first.outcome.proven, kept) == ("time-limit", False, "ab" * 32)
    assert (second.outcome.proven, second.outcome.at) == (True, 1000)
    assert store.token(SEVEN) is None


def test_what_slurm_does_not_confirm_is_not_saved(store: Store) -> None:
    """The job may come back; its token stays."""
    write(store, told("started") + told("ended", exit_code=1))

    settle_as_proven(store, SEVEN, SILENT)

    assert store.outcome(SEVEN) is None
    assert store.token(SEVEN) is not None


def test_another_job_under_its_id_leaves_the_token(store: Store) -> None:
    """Nothing says that this job is its own."""
    settle_as_proven(store, SEVEN, replace(TIMEOUT, id_reused=True))

    assert store.token(SEVEN) is not None


def test_a_secret_that_stays_is_told_of(store: Store) -> None:
    """Whoever settles a session hears of it without asking."""
    token = store.token_path(SEVEN)
    token.unlink()
    (token / "in the way").mkdir(parents=True)

    settled = settle_as_proven(store, SEVEN, TIMEOUT)

    assert [str(error).partition(": ")[0] for error in settled.left] == [f"cannot remove {token}"]
    assert settle_as_proven(store, SEVEN, replace(TIMEOUT, id_reused=True)).left == []


def test_a_full_disk_costs_nothing_but_the_saving(store: Store) -> None:
    """It is found out anew next time."""
    path(store).mkdir()

    assert settle_as_proven(store, SEVEN, TIMEOUT).outcome.cause == "time-limit"
    assert store.outcome(SEVEN) is None


def test_what_is_not_known_may_be_known_later(store: Store) -> None:
    """For two minutes; NFS shows the end of the output up to one minute late."""
    write(store, told("started") + "something odd\n" + told("ended", exit_code=77))
    ended = settle_as_proven(store, SEVEN, FAILED, now=lambda: 1000.0).outcome

    assert ended.cause == "unknown"
    assert not is_certain(ended, 1060.0)
    assert is_certain(ended, 1121.0)


def test_the_error_says_why_and_what_next(store: Store) -> None:
    """Slurm's word and reason, the cause, the cure, and where the output is."""
    ended = settle_as_proven(store, SEVEN, TIMEOUT).outcome

    error = job_ended(store, SEVEN, ended)

    assert str(error) == "job 7 has ended: TIMEOUT (TimeLimit): the job reached its time limit"
    assert error.hint == f"{ended.cure}\noutput: {store.log_path('7')}"
    assert error.exit_code == 4
    assert str(job_ended(store, SEVEN, ended, before_ready=True)).startswith(
        "the job ended before Jupyter was ready: TIMEOUT (TimeLimit): the job reached"
    )


def test_what_the_job_found_missing_is_the_error(store: Store) -> None:
    """The job's own sentence and cure, in place of Slurm's word."""
    write(store, told("failed", text="no x on c1", cure="install x") + told("ended", exit_code=1))
    ended = settle_as_proven(store, SEVEN, FAILED).outcome

    error = job_ended(store, SEVEN, ended, before_ready=True)

    assert str(error) == "Jupyter cannot start: no x on c1"
    assert error.hint == f"install x\noutput: {store.log_path('7')}"


def test_the_last_lines_are_shown_of_what_nobody_knows(store: Store) -> None:
    """Each on a line of its own."""
    write(store, told("started") + "odd\nand odder\n" + told("ended", exit_code=77))
    ended = settle_as_proven(store, SEVEN, FAILED).outcome

    assert str(job_ended(store, SEVEN, ended)).endswith("\n    odd\n    and odder")


# --- what Slurm says later ---

CANCELLED = JobState(Phase.ENDED, "CANCELLED")
FORGOTTEN = JobState(Phase.ENDED, "ENDED", "no longer known to Slurm")
FOREIGN = JobState(Phase.ENDED, "ENDED", "7 is the id of another job now", id_reused=True)


def settled(store: Store, *states: JobState) -> list[str]:
    """The causes that are found, one after the other."""
    store.save(SEVEN)
    return [settle_as_proven(store, SEVEN, state).outcome.cause for state in states]


@pytest.mark.parametrize("later", [FORGOTTEN, FOREIGN])
def test_what_slurm_forgot_is_still_known(store: Store, later: JobState) -> None:
    """MinJobAge later, or after slurmctld was started anew, Slurm says no more than that it is
    over; what it had said stays, for `list` and for `submit --again`.
    """
    assert settled(store, CANCELLED, later) == ["cancelled", "cancelled"]
    saved = store.outcome(SEVEN)
    assert saved is not None
    assert (saved.slurm_state, saved.cause) == ("CANCELLED", "cancelled")


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
