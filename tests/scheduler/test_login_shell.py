"""Slurm's commands are found where ssh started slurm-nb without a login shell."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slurm_nb.errors import SchedulerError
from slurm_nb.scheduler import login_shell as subject
from slurm_nb.scheduler.login_shell import find_slurm


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with Slurm's commands; PATH has none of them."""
    for name in ("squeue", "srun"):
        path = tmp_path / "slurm" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", "/nonexistent")
    return tmp_path / "slurm"


def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path = tmp_path / "shell"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    monkeypatch.setattr(subject, "_shell", lambda: str(path))


def test_path_is_taken_from_the_login_shell(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it greets its user before and after."""
    shell(tmp_path, monkeypatch, f'echo hello; PATH={slurm}:/x; eval "$2"; echo bye')

    find_slurm()

    assert os.environ["PATH"] == f"{slurm}:/x"


@pytest.mark.parametrize("text", ["exit 1", "echo 'slurm-nb PATH=/nothing'", "exec /bin/sleep 60"])
def test_without_slurm_there_the_user_learns_what_to_do(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A shell that hangs is given up."""
    monkeypatch.setattr(subject, "_LIMIT_S", 0.5)
    shell(tmp_path, monkeypatch, text)

    with pytest.raises(SchedulerError, match="neither here nor in your login shell") as raised:
        find_slurm()

    assert slurm.exists()
    assert "bashrc" in raised.value.hint


def test_a_complete_path_stays(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(slurm))
    monkeypatch.setattr(subject, "_shell", lambda: "/nonexistent")

    find_slurm()

    assert os.environ["PATH"] == str(slurm)
