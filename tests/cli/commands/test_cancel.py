"""slurm-nb cancel"""

from __future__ import annotations

import json

import pytest

from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import AddProgram
from tests.fakes import GONE_WHEN_CANCELLED, OVER, Result, Run, calls, has_token, running, shown


@pytest.mark.usefixtures("store")
def test_cancel_of_a_foreign_job_names_the_scancel_line(run: Run, slurm: AddProgram) -> None:
    """A job that slurm-nb did not start is not touched."""
    result = run("cancel", "8")

    assert result.code == 1
    assert "scancel 8" in result.err
    assert calls(slurm, "scancel") == []


def test_cancel_ends_the_job_and_removes_its_token(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """scancel is called, and once the job is gone so is its token."""
    running(store)
    slurm("squeue", GONE_WHEN_CANCELLED)

    result = run("cancel", "7")

    assert result == Result(0, "", "Cancelled job 7.\n")
    assert calls(slurm, "scancel") == ["7"]
    assert not has_token(store)


def test_cancel_of_an_ended_job_is_no_error(run: Run, slurm: AddProgram, store: Store) -> None:
    """What is over is said, its token is removed, and scancel is not called."""
    running(store, output=OVER)
    slurm("squeue", shown("TIMEOUT"))

    result = run("cancel", "7", "7")

    assert (result.code, result.out) == (0, "")
    assert result.err.count("Job 7 had already ended: TIMEOUT") == 1
    assert not has_token(store)
    assert calls(slurm, "scancel") == []


@pytest.mark.usefixtures("slurm")
def test_cancel_keeps_the_token_while_the_job_lives(run: Run, store: Store) -> None:
    """A job that takes its time to end still needs its token; the user is told to look again."""
    running(store)

    result = run("cancel", "7")

    assert result.code == 0
    assert "slurm-nb cancel 7" in result.err
    assert has_token(store)


def test_cancel_goes_on_after_one_that_failed(run: Run, slurm: AddProgram, store: Store) -> None:
    """One wrong id among several does not keep the others from being cancelled."""
    running(store)
    slurm("squeue", GONE_WHEN_CANCELLED)

    result = run("cancel", "8", "7")

    assert result.code == 1
    assert "job 8 was not started by slurm-nb" in result.err
    assert "Cancelled job 7" in result.err


def test_cancel_all_cancels_what_still_runs(run: Run, slurm: AddProgram, store: Store) -> None:
    """--all takes every session that has not ended, and is silent about the others."""
    running(store)
    store.save(Session(job=Job("6", "hpc")))
    slurm("squeue", f"{GONE_WHEN_CANCELLED}; {shown('COMPLETED', job_id='6')}")

    result = run("cancel", "--all")

    assert result == Result(0, "", "Cancelled job 7.\n")
    assert calls(slurm, "scancel") == ["6", "7"]  # 6: nothing but this answer says that it is over


def test_an_ending_that_one_answer_shows_is_made_true(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """The user wants it gone: it is cancelled all the same, and its token removed."""
    running(store)
    slurm("squeue", shown("TIMEOUT"))

    result = run("cancel", "7")

    assert result == Result(0, "", "Job 7 had already ended: TIMEOUT\n")
    assert calls(slurm, "scancel") == ["7"]
    assert not has_token(store)


def test_a_cancel_that_nobody_confirms_is_a_request(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """slurmctld took it, and has forgotten the job: whether it has ended is not known."""
    running(store)
    slurm("scancel", """cat >"${0%/*}/squeue" <<'END'\n#!/bin/bash\nEND""")

    result = run("cancel", "7")

    assert result.code == 0
    assert result.err == (
        "Cancellation of job 7 requested, but it is unknown whether it has ended (Slurm does not"
        " show job 7). To check: slurm-nb status 7\n"
    )
    assert has_token(store)


def test_cancel_all_goes_on_past_a_session_that_cannot_be_read(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """A broken session file is told of, and the other sessions are cancelled all the same."""
    running(store)
    broken = store.session_folder("hpc", "6")
    broken.mkdir()
    (broken / "session.json").write_text("{", encoding="utf-8")
    slurm("squeue", GONE_WHEN_CANCELLED)

    result = run("cancel", "--all")

    assert result.code == 1
    assert "Cancelled job 7" in result.err
    assert "scancel 6" in result.err


def test_cancel_all_without_sessions(run: Run, slurm: AddProgram) -> None:
    """Nothing to cancel is no error, and Slurm is not asked for everybody's jobs."""
    slurm("squeue", 'echo called >>"$0.calls"')

    assert run("cancel", "--all").code == 0
    assert calls(slurm, "squeue") == []


def test_a_cancel_that_slurm_refuses_keeps_the_token(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """A job that goes on needs its token; Slurm's words and the code 3 tell of it."""
    running(store)
    slurm("scancel", "echo 'scancel: error: Access/permission denied' >&2; exit 210")

    result = run("cancel", "7")

    assert result.code == 3
    assert "Access/permission denied" in result.err
    assert has_token(store)


def test_cancel_as_json(run: Run, slurm: AddProgram, store: Store) -> None:
    """One object with the result for each session, even if one of them failed."""
    running(store)
    slurm("squeue", GONE_WHEN_CANCELLED)

    result = run("cancel", "7", "8", "--json")

    answer = json.loads(result.out)
    assert answer["jobs"] == [
        {"job_id": "7", "cluster": "hpc", "state": "CANCELLED", "already_ended": False,
         "error": None}
    ]  # fmt: skip
    assert (answer["exit_code"], result.code) == (1, 1)
