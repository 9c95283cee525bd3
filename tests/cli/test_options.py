"""Which session a command means, and the state directory it opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm_nb.session.store import Store
from tests.conftest import AddProgram
from tests.fakes import GONE_WHEN_CANCELLED, NAMED, Run, calls, running, shown


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["submit", "--help"], ["list", "-h"]])
def test_asking_for_help_makes_no_state_directory(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    """Who only looks what there is has nothing written to their home."""
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
    """Its checks of every folder above cost a round trip each where the home is on NFS."""
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
@pytest.mark.parametrize("words", [[], ["7", "--last"], ["7", "8"]])
@pytest.mark.usefixtures("slurm")
def test_one_session_must_be_named(run: Run, command: str, words: list[str]) -> None:
    """By its job id or name, or as the last one; not twice, and not at all is nothing."""
    assert run(command, *words).code == 2


@pytest.mark.parametrize("words", [["7"], ["analysis"], ["--last"]])
def test_a_session_is_cancelled_by_id_name_or_as_the_last(
    run: Run, store: Store, slurm: AddProgram, words: list[str]
) -> None:
    """It is the same job."""
    running(store, NAMED)
    slurm(
        "squeue", 'grep -qs 7 "${0%/*}/scancel.calls" && w=CANCELLED || w=RUNNING; ' + shown("$w")
    )

    said = run("cancel", *words)

    assert (said.code, said.err) == (0, "cancelled job 7\n")
    assert calls(slurm, "scancel") == ["7"]


def test_cancel_all_of_a_cluster_leaves_the_others(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """-M narrows --all to the sessions there."""
    running(store, NAMED)
    slurm("squeue", GONE_WHEN_CANCELLED)

    elsewhere, here = run("cancel", "--all", "-M", "big"), run("cancel", "--all", "-M", "hpc")

    assert (elsewhere.code, elsewhere.err) == (0, "")
    assert (here.code, here.err) == (0, "cancelled job 7\n")
    assert calls(slurm, "scancel") == ["7"]
