"""The kit's files: private when written, and regular when read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slurm_nb.kit.files import read_regular


def test_a_file_is_read(tmp_path: Path) -> None:
    """Up to 64 KiB."""
    (tmp_path / "token").write_text("x" * 100_000)

    assert read_regular(str(tmp_path / "token")) == "x" * 65536


@pytest.mark.parametrize("place", ["pipe", "link to a device", "folder", "nothing"])
def test_reading_anything_but_a_file_fails_at_once(tmp_path: Path, place: str) -> None:
    """A server that waited for a pipe would neither start nor end."""
    path = tmp_path / "token"
    if place == "pipe":
        os.mkfifo(path)
    elif place == "link to a device":
        path.symlink_to("/dev/zero")
    elif place == "folder":
        path.mkdir()

    with pytest.raises(OSError):  # noqa: PT011  each has its own
        read_regular(str(path))
