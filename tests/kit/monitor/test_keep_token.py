"""A running session soon writes its token again after somebody removed it."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm_nb.kit.monitor.keep_token import restore

SUBMISSION = "c0" * 16


@pytest.mark.parametrize("submission", [SUBMISSION, ""])
def test_a_removed_token_is_written_again(tmp_path: Path, submission: str) -> None:
    """A job that the user submitted with sbatch has no submission id."""
    if submission:
        (tmp_path / "submission").write_text(submission)

    restore(str(tmp_path), submission, "ab")

    assert (tmp_path / "token").read_text() == "ab"
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


def test_an_existing_token_is_never_changed(tmp_path: Path) -> None:
    """It may belong to a later run on another node."""
    (tmp_path / "token").write_text("theirs")

    restore(str(tmp_path), "", "ab")

    assert (tmp_path / "token").read_text() == "theirs"


def test_the_folder_of_another_submission_is_never_changed(tmp_path: Path) -> None:
    """Slurm reuses job ids."""
    (tmp_path / "submission").write_text("d1" * 16)

    restore(str(tmp_path), SUBMISSION, "ab")

    assert not (tmp_path / "token").exists()


def test_a_removed_folder_stays_removed(tmp_path: Path) -> None:
    """The user removed the session."""
    restore(str(tmp_path / "gone"), "", "ab")

    assert list(tmp_path.iterdir()) == []
