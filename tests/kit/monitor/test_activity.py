"""The kit records how idle a session is in a small private file, and never waits for the disk."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from slurm_nb.kit.monitor.activity import ActivityFile

RECORD: dict[str, Any] = {
    "active_at": 1_795_667_137,
    "idle_stop_at": 1_795_670_737,
    "memory_fraction": 0.42,
    "kernels": 2,
}


class Kept:
    """The file, the clock and the log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 0.0
        self.logged: list[str] = []
        self.file = ActivityFile(str(path), self.logged.append, lambda: self.now)

    def keep(self, **changes: Any) -> Any:
        """Keep a changed record; return the file's content once the writer is done."""
        self.file.keep({**RECORD, **changes})
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and thread.daemon:
                thread.join(5)
        return json.loads(self.path.read_text()) if self.path.exists() else None


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "activity.json")


def test_the_first_record_is_written_at_once(kept: Kept) -> None:
    """The file is complete, and only its owner can read it."""
    assert kept.keep() == RECORD
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    assert [path.name for path in kept.path.parent.iterdir()] == ["activity.json"]


@pytest.mark.parametrize(
    ("changes", "written"),
    [
        ({}, False),
        ({"active_at": None, "idle_stop_at": None}, True),
        ({"active_at": 1_795_667_140, "idle_stop_at": 1_795_670_740}, False),
        ({"active_at": 1_795_667_200, "idle_stop_at": 1_795_670_800}, True),
        ({"memory_fraction": 0.43}, False),
        ({"memory_fraction": 0.5}, True),
        ({"memory_fraction": None}, True),
        ({"kernels": 1}, True),
    ],
)
def test_only_changes_are_written(kept: Kept, changes: dict[str, Any], written: bool) -> None:  # noqa: FBT001
    """The whole cluster may share the file system."""
    kept.keep()
    kept.now = 61

    assert kept.keep(**changes) == {**RECORD, **(changes if written else {})}


def test_the_record_is_written_at_most_once_a_minute(kept: Kept) -> None:
    """Changes made in between appear a minute later."""
    kept.keep()
    kept.now = 59
    assert kept.keep(kernels=5)["kernels"] == 2
    kept.now = 60

    assert kept.keep(kernels=6)["kernels"] == 6


def test_a_failed_write_is_logged_once(kept: Kept) -> None:
    """A full disk or a missing directory does not harm the session."""
    folder = kept.path.parent / "gone"
    kept.file = ActivityFile(str(folder / "activity.json"), kept.logged.append, lambda: kept.now)
    for minute in range(3):
        kept.now = 60.0 * minute
        kept.keep(kernels=minute)

    assert kept.logged == [f"cannot write {folder}/activity.json: No such file or directory"]
    folder.mkdir()
    kept.now = 600
    kept.keep(kernels=9)
    assert json.loads((folder / "activity.json").read_text())["kernels"] == 9


def test_an_unfinished_file_from_a_crash_is_ignored(kept: Kept) -> None:
    """The writer does not follow a link that has taken its place."""
    elsewhere = kept.path.with_name("elsewhere")
    elsewhere.write_text("untouched")
    kept.path.with_name("activity.json.new").symlink_to(elsewhere)

    assert kept.keep() == RECORD
    assert elsewhere.read_text() == "untouched"


def test_a_hanging_disk_blocks_nobody(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread hangs with the disk; the kit starts no second one."""
    released, opened = threading.Event(), []
    original = os.open

    def hang(path: str, *arguments: Any) -> int:
        opened.append(path)
        released.wait(10)
        return original(path, *arguments)

    monkeypatch.setattr(os, "open", hang)
    for minute in range(3):
        kept.now = 60.0 * minute
        kept.file.keep({**RECORD, "kernels": minute})
    released.set()

    assert kept.keep(kernels=0)["kernels"] == 0
    assert len(opened) == 1
