"""A new job removes only what the user's killed jobs have left on its node."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.bash import bash

SWEEP = """
SLURM_NB_SESSION=hpc/7
slurm_nb_run_dir=$base/slurm-nb.mine
slurm_nb_sweep "$base"
"""
NAME = "SLURM_NB_SESSION=$mark; SLURM_JOB_ID=$id; slurm_nb_name_run"


def left(base: Path, name: str, *, mark: str = "hpc/6", job_id: str = "6") -> Path:
    """Return a directory that job 6 created."""
    folder = base / f"slurm-nb.{name}"
    (folder / "runtime").mkdir(parents=True)
    said = bash(NAME, mark=mark, id=job_id).stdout
    (folder / "owner").write_text(said)
    return folder


def sweep(base: Path) -> None:
    bash(SWEEP, base=str(base))


def test_a_directory_without_a_process_is_removed(tmp_path: Path) -> None:
    """Its script was killed: slurmd ends jobs unknown to slurmctld at once."""
    gone, mine = left(tmp_path, "gone"), left(tmp_path, "mine", mark="hpc/7", job_id="7")

    sweep(tmp_path)

    assert not gone.exists()
    assert mine.exists()


@pytest.fixture
def alive() -> Iterator[subprocess.Popen[bytes]]:
    """Start a kernel of job 6."""
    environ = {"SLURM_NB_SESSION": "hpc/6", "SLURM_JOB_ID": "6"}
    with subprocess.Popen(["/bin/sleep", "60"], env=environ) as process:
        yield process
        process.kill()


@pytest.mark.usefixtures("alive")
def test_a_directory_with_a_process_stays(tmp_path: Path) -> None:
    """Another session of the user is running on the node."""
    theirs = left(tmp_path, "theirs")

    sweep(tmp_path)

    assert theirs.exists()


def test_a_directory_that_is_not_certainly_dead_stays(tmp_path: Path) -> None:
    """Its owner is unknown, its processes are invisible, or it is a link or a file."""
    unnamed = tmp_path / "slurm-nb.unnamed"
    unnamed.mkdir()
    hidden = left(tmp_path, "hidden")
    said = (hidden / "owner").read_text()
    (hidden / "owner").write_text(said.rpartition(" ")[0] + " pid:[1]\n")
    other = left(tmp_path / "elsewhere", "x")
    (tmp_path / "slurm-nb.link").symlink_to(other)
    (tmp_path / "slurm-nb.file").write_text("x")

    sweep(tmp_path)

    assert all(path.exists() for path in (unnamed, hidden, other, tmp_path / "slurm-nb.file"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_directory_stays(tmp_path: Path) -> None:
    """Its content does not matter."""
    theirs = left(tmp_path, "theirs")
    os.chown(theirs, 12345, 12345)

    sweep(tmp_path)

    assert theirs.exists()


def test_a_reboot_leaves_no_process_alive(tmp_path: Path) -> None:
    """/tmp may survive it."""
    old = left(tmp_path, "old")
    mark, job_id, _, space = (old / "owner").read_text().split()
    (old / "owner").write_text(f"{mark} {job_id} 0000-0000 {space}0\n")

    sweep(tmp_path)

    assert not old.exists()
