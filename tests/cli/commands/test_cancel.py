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
    """slurm-nb never touches a job that it did not start."""
    result = run("cancel", "8")

    assert result.code == 1
    assert "scancel 8" in result.err
    assert calls(slurm, "scancel") == []


def test_cancel_ends_the_job_and_removes_its_token(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """The command calls scancel, and removes the token once the job is gone."""
    running(store)
    slurm("squeue", GONE_WHEN_CANCELLED)

    result = run("cancel", "7")

    assert result == Result(0, "", "Cancelled job 7.\n")
    assert calls(slurm, "scancel") == ["7"]
    assert not has_token(store)


def test_cancel_of_an_ended_job_is_not_an_error(run: Run, slurm: AddProgram, store: Store) -> None:
    """The command says that the job has ended and removes its token, without scancel."""
    running(store, output=OVER)
    slurm("squeue", shown("TIMEOUT"))

    result = run("cancel", "7", "7")

    assert (result.code, result.out) == (0, "")
    assert result.err.count("Job 7 had already ended: TIMEOUT") == 1
    assert not has_token(store)
    assert calls(slurm, "scancel") == []


@pytest.mark.usefixtures("slurm")
def test_cancel_keeps_the_token_while_the_job_lives(run: Run, store: Store) -> None:
    """A job that is slow to end still needs its token; the user learns how to check again."""
    running(store)

    result = run("cancel", "7")

    assert result.code == 0
    assert "slurm-nb cancel 7" in result.err
    assert has_token(store)


def test_cancel_continues_after_a_failure(run: Run, slurm: AddProgram, store: Store) -> None:
    """One wrong id among several does not stop the others from being cancelled."""
    running(store)
    slurm("squeue", GONE_WHEN_CANCELLED)

    result = run("cancel", "8", "7")

    assert result.code == 1
    assert "job 8 was not started by slurm-nb" in result.err
    assert "Cancelled job 7" in result.err


def test_cancel_all_cancels_every_running_session(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """--all takes every session that has not ended and does not mention the others."""
    running(store)
    store.save(Session(job=Job("6", "hpc")))
    slurm("squeue", f"{GONE_WHEN_CANCELLED}; {shown('COMPLETED', job_id='6')}")

    result = run("cancel", "--all")

    assert result == Result(0, "", "Cancelled job 7.\n")
    assert calls(slurm, "scancel") == ["6", "7"]  # only this answer says that 6 has ended


def test_cancel_ends_a_job_that_a_single_answer_calls_ended(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """The user wants it gone, so scancel runs anyway and the token is removed."""
    running(store)
    slurm("squeue", shown("TIMEOUT"))

    result = run("cancel", "7")

    assert result == Result(0, "", "Job 7 had already ended: TIMEOUT\n")
    assert calls(slurm, "scancel") == ["7"]
    assert not has_token(store)


def test_an_unconfirmed_cancel_is_reported_as_a_request(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """slurmctld accepted it and no longer knows the job, so nobody knows whether it has ended."""
    running(store)
    slurm("scancel", """cat >"${0%/*}/squeue" <<'END'\n#!/bin/bash\nEND""")

    result = run("cancel", "7")

    assert result.code == 0
    assert result.err == (
        "Cancellation of job 7 requested, but it is unknown whether it has ended (Slurm does not"
        " show job 7). To check: slurm-nb status 7\n"
    )
    assert has_token(store)


def test_cancel_all_continues_after_an_unreadable_session(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """The command reports the broken session file and cancels the other sessions."""
    running(store)
    broken = store.session_folder("hpc", "6")
    broken.mkdir()
    (broken / "session.json").write_text("{", encoding="utf-8")
    slurm("squeue", GONE_WHEN_CANCELLED)

    result = run("cancel", "--all")

    assert result.code == 1
    assert "Cancelled job 7" in result.err
    assert "scancel 6" in result.err


def test_cancel_all_without_sessions_succeeds(run: Run, slurm: AddProgram) -> None:
    """The command must not query Slurm then, which would list everybody's jobs."""
    slurm("squeue", 'echo called >>"$0.calls"')

    assert run("cancel", "--all").code == 0
    assert calls(slurm, "squeue") == []


def test_a_cancel_that_slurm_refuses_keeps_the_token(
    run: Run, slurm: AddProgram, store: Store
) -> None:
    """The job still runs and needs its token; Slurm's message and exit code 3 say so."""
    running(store)
    slurm("scancel", "echo 'scancel: error: Access/permission denied' >&2; exit 210")

    result = run("cancel", "7")

    assert result.code == 3
    assert "Access/permission denied" in result.err
    assert has_token(store)


def test_cancel_as_json(run: Run, slurm: AddProgram, store: Store) -> None:
    """One object has the result for each session, even if one of them failed."""
    running(store)
    slurm("squeue", GONE_WHEN_CANCELLED)

    result = run("cancel", "7", "8", "--json")

    answer = json.loads(result.out)
    assert answer["jobs"] == [
        {"job_id": "7", "cluster": "hpc", "state": "CANCELLED", "already_ended": False,
         "error": None}
    ]  # fmt: skip
    assert (answer["exit_code"], result.code) == (1, 1)
