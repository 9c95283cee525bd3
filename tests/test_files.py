"""Private files are complete or absent, and never take the place of another user's."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from slurm_nb.errors import UserError
from slurm_nb.files import cannot_write, refresh_nfs, write_private


def test_a_file_that_cannot_be_written_keeps_its_old_text(tmp_path: Path) -> None:
    """A write that the disk refuses leaves the file unchanged, and no partial file next to it."""
    folder = tmp_path / "taken"
    folder.mkdir()
    (folder / "in the way").mkdir()

    with pytest.raises(UserError, match="cannot write"):
        write_private(folder / "in the way", "text")
    with pytest.raises(UserError, match="cannot write"):
        write_private(folder / "missing" / "file", "text")

    assert [path.name for path in folder.iterdir()] == ["in the way"]


def test_a_private_file_does_not_follow_a_link(tmp_path: Path) -> None:
    """It replaces a link with the file, and does not touch the target."""
    target = tmp_path / "target"
    target.write_text("untouched", encoding="utf-8")
    (tmp_path / "file").symlink_to(target)

    write_private(tmp_path / "file", "secret")

    assert target.read_text(encoding="utf-8") == "untouched"
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_text(encoding="utf-8") == "secret"


def test_refreshing_a_missing_folder_is_not_an_error(tmp_path: Path) -> None:
    """The folder of a job may appear later."""
    refresh_nfs(tmp_path / "missing")

    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_the_message_about_a_full_home_is_plain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The user needs space, not the path of a temporary file."""
    monkeypatch.setenv("HOME", str(tmp_path))

    home = str(cannot_write(tmp_path / "x.new", OSError(number, "")))
    other = str(cannot_write(Path("/scratch/x"), OSError(number, "")))

    assert home == "your home directory is full, or you have reached your quota"
    assert other == "the disk of /scratch is full, or you have reached your quota"


def test_a_limit_of_the_shell_is_named() -> None:
    """Freeing space does not help."""
    error = cannot_write(Path("/x"), OSError(errno.EFBIG, "File too large"))

    assert "ulimit -f" in str(error)
    assert error.hint == "raise the limit: ulimit -S -f unlimited"
