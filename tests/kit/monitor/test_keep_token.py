"""The token of a session that runs is there again soon after it was removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm_nb.kit.monitor.keep_token import restore

SUBMISSION = "c0" * 16


@pytest.mark.parametrize("submission", [SUBMISSION, ""])
def test_a_token_that_is_gone_is_written_again(tmp_path: Path, submission: str) -> None:
    """A job that was submitted by hand has no submission."""
    if submission:
        (tmp_path / "submission").write_text(submission)

    restore(str(tmp_path), submission, "ab")

    assert (tmp_path / "token").read_text() == "ab"
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


def test_a_token_that_is_there_is_left_alone(tmp_path: Path) -> None:
    """It may be that of a later run, on another node."""
    (tmp_path / "token").write_text("theirs")

    restore(str(tmp_path), "", "ab")

    assert (tmp_path / "token").read_text() == "theirs"


def test_the_folder_of_another_submission_is_left_alone(tmp_path: Path) -> None:
    """Slurm gives an id again."""
    (tmp_path / "submission").write_text("d1" * 16)

    restore(str(tmp_path), SUBMISSION, "ab")

    assert not (tmp_path / "token").exists()


def test_a_folder_that_is_gone_stays_gone(tmp_path: Path) -> None:
    """The session was forgotten."""
    restore(str(tmp_path / "gone"), "", "ab")

    assert list(tmp_path.iterdir()) == []
