"""slurm-nb list"""

from __future__ import annotations

import json
import time

import pytest

from slurm_nb.files import write_private
from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import AddProgram
from tests.fakes import NAMED, OVER, UNREACHABLE, Run, has_token, running, shown


@pytest.mark.usefixtures("slurm")
def test_list_shows_one_line_for_each_session(run: Run, store: Store) -> None:
    """It has job id, name, state, node and idle time; the newest session is at the top."""
    running(store, NAMED)
    record = {"active_at": int(time.time()) - 720, "kernels": 1}
    write_private(store.session_folder("hpc", "7") / "activity.json", json.dumps(record))

    said = run("list")

    assert said.code == 0
    assert [line.split() for line in said.out.splitlines()] == [
        ["JOBID", "NAME", "STATE", "NODE", "TIME", "LEFT", "IDLE"],
        ["7", "analysis", "RUNNING", "c1", "0", "s", "12", "min"],
    ]


@pytest.mark.usefixtures("slurm")
def test_list_without_sessions_says_how_to_start_one(run: Run) -> None:
    """stdout stays empty for scripts."""
    said = run("list")

    assert (said.code, said.out) == (0, "")
    assert "slurm-nb submit" in said.err


@pytest.mark.usefixtures("slurm")
def test_list_as_json(run: Run, store: Store) -> None:
    """One object has a list of sessions; times are in seconds, and unknown values are null."""
    running(store, NAMED)

    (record,) = json.loads(run("list", "--json").out)["sessions"]

    assert record == {
        "job_id": "7",
        "cluster": "hpc",
        "name": "analysis",
        "submitted_at": 1_795_000_000,
        "state": "RUNNING",
        "reason": "",
        "node": "c1",
        "start_time": None,
        "end_time": "2026-11-23T14:00:00",
        "time_left_s": 0,
        "idle_s": None,
        "idle_stop_at": None,
        "memory_fraction": None,
        "kernels": None,
        "ended": None,
        "as_of": None,
    }


def test_without_a_controller_list_says_how_old_its_data_is(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """It shows the saved state, and the exit code is 0."""
    running(store, NAMED)
    run("list")
    slurm("squeue", UNREACHABLE)

    said = run("list")

    assert said.code == 0
    assert "7      analysis  RUNNING  c1" in said.out
    assert "Unable to contact slurm controller" in said.err
    assert "The list shows the states 0 s ago, at 20" in said.err


def test_list_shows_why_a_session_ended(run: Run, store: Store, slurm: AddProgram) -> None:
    """The session's token is gone."""
    running(store, NAMED, OVER)
    slurm("squeue", shown("TIMEOUT"))

    assert "TIMEOUT (time-limit)" in run("list").out
    assert not has_token(store)


def test_prune_removes_ended_sessions(run: Run, store: Store, slurm: AddProgram) -> None:
    """Their files are gone, and they are no longer listed."""
    running(store, NAMED, OVER)
    slurm("squeue", shown("TIMEOUT"))
    run("list")

    said = run("list", "--prune")

    assert said.out == ""
    assert "Removed 1 session.\n" in said.err
    assert not store.session_folder("hpc", "7").exists()
    assert list((store.folder / "jobs").glob("7_*")) == []


def test_prune_needs_more_than_one_answer(run: Run, store: Store, slurm: AddProgram) -> None:
    """Only this one says that the session has ended."""
    running(store, NAMED)
    slurm("squeue", shown("TIMEOUT"))

    said = run("list", "--prune")

    assert "TIMEOUT (time-limit)" in said.out
    assert "Removed 0 sessions.\n" in said.err
    assert has_token(store)


def test_a_name_cannot_forge_a_line_or_control_the_terminal(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """Code in a notebook can write to session.json."""
    running(store, Session(job=Job("7", "hpc"), job_name="x\n8 y\x1b[2J"))
    slurm("squeue", shown("RUNNING"))

    said = run("list")

    assert len(said.out.splitlines()) == 2
    assert "\x1b" not in said.out
