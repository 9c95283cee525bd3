"""The login node's /tmp loses the leftovers of killed submissions, and nothing else."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from slurm_nb.scheduler.sbatch import sweep_heard
from tests.fakes import Run, run, slurm

__all__ = ["run", "slurm"]

LONG_AGO = time.time() - 700


@pytest.fixture
def tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left(tmp: Path, name: str, *files: str, at: float = LONG_AGO) -> Path:
    folder = tmp / name
    folder.mkdir()
    for each in files:
        (folder / each).write_text("x")
    os.utime(folder, (at, at))
    return folder


def test_an_old_directory_of_a_submission_is_removed(tmp: Path) -> None:
    """Its sbatch was given up long ago."""
    gone = left(tmp, "slurm-nb-a1b2", "stdout", "stderr")

    sweep_heard()

    assert not gone.exists()


def test_a_directory_that_may_be_in_use_or_is_not_a_submissions_stays(tmp: Path) -> None:
    """It may be recent, hold other files, be a link or have another name."""
    young = left(tmp, "slurm-nb-young", "stdout", at=time.time())
    other = left(tmp, "slurm-nb-other", "data.csv")
    linked = left(tmp, "linked", "stdout")
    (tmp / "slurm-nb-link").symlink_to(linked)

    sweep_heard()

    assert (young / "stdout").exists()
    assert (other / "data.csv").exists()
    assert (linked / "stdout").exists()


@pytest.mark.usefixtures("slurm")
def test_the_next_submission_removes_it(run: Run, tmp: Path) -> None:
    """A list does not look for it: /tmp of a login node may be large."""
    gone = left(tmp, "slurm-nb-a1b2", "stdout", "stderr")
    assert run("list").code == 0
    assert gone.exists()

    assert run("submit", "--no-wait").code == 0

    assert not gone.exists()
