"""How idle a session is stands in a small private file, which a slow disk makes nobody wait for."""

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
        """Have it written; what stands there when the writer is done."""
        self.file.keep({**RECORD, **changes})
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and thread.daemon:
                thread.join(5)
        return json.loads(self.path.read_text()) if self.path.exists() else None


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "activity.json")


def test_the_first_record_is_written_at_once(kept: Kept) -> None:
    """Whole, and for its owner alone."""
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
def test_only_news_are_written(kept: Kept, changes: dict[str, Any], written: bool) -> None:  # noqa: FBT001
    """The file system may be the whole cluster's."""
    kept.keep()
    kept.now = 61

    assert kept.keep(**changes) == {**RECORD, **(changes if written else {})}


def test_it_is_written_once_a_minute_at_most(kept: Kept) -> None:
    """What is new meanwhile is there a minute later."""
    kept.keep()
    kept.now = 59
    assert kept.keep(kernels=5)["kernels"] == 2
    kept.now = 60

    assert kept.keep(kernels=6)["kernels"] == 6


def test_a_failed_write_is_told_once(kept: Kept) -> None:
    """A full disk, or a directory that is gone, is no harm to the session."""
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


def test_what_a_crash_left_half_made_is_not_used(kept: Kept) -> None:
    """Nor is a link followed that lies in its place."""
    elsewhere = kept.path.with_name("elsewhere")
    elsewhere.write_text("untouched")
    kept.path.with_name("activity.json.new").symlink_to(elsewhere)

    assert kept.keep() == RECORD
    assert elsewhere.read_text() == "untouched"


def test_nobody_waits_for_a_disk_that_hangs(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread hangs with it, and no second one is started."""
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
