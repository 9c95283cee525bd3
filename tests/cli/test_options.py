"""Which session a command uses, and the state directory it opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import AddProgram
from tests.fakes import GONE_WHEN_CANCELLED, NAMED, Run, calls, running, shown


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["submit", "--help"], ["list", "-h"]])
def test_help_creates_no_state_directory(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    """Reading the help writes nothing to your home."""
    monkeypatch.setenv("SLURM_NB_HOME", str(tmp_path / "none"))

    result = run(*words)

    assert result.code == 0
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize(
    "words", [["submit", "--login-host", "login"], ["url", "7"], ["cancel", "7"], ["list"]]
)
def test_a_command_opens_the_state_directory_once(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """On NFS, checking each folder above it costs a round trip."""
    running(store)
    opened = []

    def open_store(_environ: object) -> Store:
        opened.append(store)
        return store

    monkeypatch.setattr(Store, "of_user", open_store)

    assert run(*words).code == 0
    assert opened == [store]


@pytest.mark.parametrize(
    "command", ["status", "tunnel-cmd", "url", "logs", "wait", "audit", "open"]
)
@pytest.mark.parametrize("words", [["7", "--last"], ["7", "8"]])
@pytest.mark.usefixtures("slurm")
def test_only_one_session_can_be_named(run: Run, command: str, words: list[str]) -> None:
    """It is given by job id or name, or as the last one, but not both."""
    assert run(command, *words).code == 2


@pytest.mark.parametrize("words", [["7"], ["analysis"], ["--last"]])
def test_a_session_is_cancelled_by_id_name_or_as_the_last(
    run: Run, store: Store, slurm: AddProgram, words: list[str]
) -> None:
    """All three lead to the same job."""
    running(store, NAMED)
    slurm(
        "squeue", 'grep -qs 7 "${0%/*}/scancel.calls" && w=CANCELLED || w=RUNNING; ' + shown("$w")
    )

    said = run("cancel", *words)

    assert (said.code, said.err) == (0, "Cancelled job 7.\n")
    assert calls(slurm, "scancel") == ["7"]


def test_cancel_all_of_a_cluster_leaves_the_others(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """-M restricts --all to the sessions on that cluster."""
    running(store, NAMED)
    slurm("squeue", GONE_WHEN_CANCELLED)

    elsewhere, here = run("cancel", "--all", "-M", "big"), run("cancel", "--all", "-M", "hpc")

    assert (elsewhere.code, elsewhere.err) == (0, "")
    assert (here.code, here.err) == (0, "Cancelled job 7.\n")
    assert calls(slurm, "scancel") == ["7"]


@pytest.mark.parametrize("command", ["status", "tunnel-cmd", "url", "logs"])
@pytest.mark.usefixtures("slurm")
def test_without_a_job_id_the_only_active_session_is_used(
    run: Run, store: Store, command: str
) -> None:
    """Most users have one session at a time."""
    running(store, NAMED)

    assert run(command).code == 0


@pytest.mark.parametrize("command", ["status", "tunnel-cmd", "url", "open", "logs"])
def test_without_a_job_id_several_active_sessions_are_listed(
    run: Run, store: Store, slurm: AddProgram, command: str
) -> None:
    """The user then chooses by id or name."""
    running(store, NAMED)
    running(store, Session(job=Job("8", "hpc")))
    slurm("squeue", f"{shown('RUNNING')}; {shown('RUNNING', job_id='8')}")

    said = run(command)

    assert (said.code, said.out) == (1, "")
    assert "you have 2 active sessions: 7 (analysis), 8" in said.err


def test_without_a_job_id_a_session_that_has_just_ended_is_not_a_candidate(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """slurm-nb queries Slurm before it calls the choice ambiguous."""
    running(store, NAMED)
    running(store, Session(job=Job("8", "hpc")))
    slurm("squeue", f"{shown('RUNNING')}; {shown('TIMEOUT', job_id='8')}")

    assert run("status").out.startswith("Job:       7 (analysis)")


def test_without_a_session_the_hint_is_a_command_to_start_one(run: Run) -> None:
    """That is the next step."""
    said = run("status")

    assert (said.code, said.out) == (1, "")
    assert "you have no active session\n  start one: slurm-nb submit" in said.err
