"""The printed line starts this slurm-nb where `ssh HOST COMMAND` has no PATH for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slurm_nb.connection import program as subject
from slurm_nb.connection.program import program
from slurm_nb.paths import state_dir

DEFAULT = state_dir({})


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the console script that runs; there is no other one."""
    path = tmp_path / "bin/slurm-nb"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(path)])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "elsewhere/python"))
    monkeypatch.setattr(subject, "_ON_PATH", (tmp_path / "usr",))
    for name in ("SLURM_NB_TRUST", "SLURM_CONF"):
        monkeypatch.delenv(name, raising=False)
    return path


def test_the_script_is_named_by_its_path(script: Path) -> None:
    assert program(DEFAULT) == (str(script),)


def test_a_script_on_everybodys_path_is_named_alone(script: Path, tmp_path: Path) -> None:
    """Only if it is this one, not that of another version."""
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr/slurm-nb").write_text("another")
    other = program(DEFAULT)
    (tmp_path / "usr/slurm-nb").unlink()
    (tmp_path / "usr/slurm-nb").symlink_to(script)

    assert (other, program(DEFAULT)) == ((str(script),), ("slurm-nb",))


def test_without_a_script_python_runs_the_package(script: Path) -> None:
    """From a program of the user's, or with `python -m`."""
    script.unlink()

    assert program(DEFAULT) == (sys.executable, "-m", "slurm_nb")


def test_settings_that_only_a_login_shell_has_go_along(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another state directory, whom the user trusts, and where Slurm's configuration is."""
    monkeypatch.setenv("SLURM_NB_TRUST", "pi,@lab")
    monkeypatch.setenv("SLURM_CONF", "/opt/slurm.conf")

    assert program(Path("/scratch/nb")) == (
        "env",
        "SLURM_NB_HOME=/scratch/nb",
        "SLURM_NB_TRUST=pi,@lab",
        "SLURM_CONF=/opt/slurm.conf",
        str(script),
    )
