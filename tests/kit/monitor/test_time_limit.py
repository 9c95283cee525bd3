"""The job warns when 15 and when 5 minutes are left, as long as its limit is what it was."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_nb.kit.monitor.time_limit import TimeLimit

NOON = 1_795_694_400


class End:
    """The script's file, and the clock on the wall."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "end-time"
        self.now = float(NOON)
        self.limit = TimeLimit(str(self.path), lambda: self.now)

    def said(self, left_s: float) -> str | None:
        """What is said when so much is left."""
        self.now = int(self.path.read_text()) - left_s
        return self.limit.look()


@pytest.fixture
def end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[End]:
    monkeypatch.setenv("TZ", "Etc/GMT-1")
    time.tzset()
    end = End(tmp_path)
    end.path.write_text(f"{NOON}\n")
    yield end
    monkeypatch.undo()
    time.tzset()


def test_nothing_is_known_yet(tmp_path: Path) -> None:
    """Until Slurm has signalled the script, there is no file."""
    assert TimeLimit(str(tmp_path / "end-time")).look() is None


def test_the_two_warnings(end: End) -> None:
    """Each once, with the hour at which the session ends; a signal may come a minute early."""
    said = [end.said(left_s) for left_s in (950, 901, 899, 600, 301, 300, 299, 10, -5)]

    assert [each is not None for each in said] == [
        False, False, True, False, False, True, False, False, False
    ]  # fmt: skip
    assert said[2] == "this session ends in 15 minutes, at 13:00 (time limit): save your work"
    assert said[5]
    assert said[5].startswith("this session ends in 5 minutes, at 13:00 ")


@pytest.mark.parametrize(
    ("left_s", "shown"), [(540, "9 minutes"), (200, "3 minutes"), (95, "2 minutes"), (39, "39 sec")]
)
def test_a_short_job_is_warned_once_of_what_is_left(end: End, left_s: int, shown: str) -> None:
    """Also when that is less than both."""
    first = end.said(left_s)

    assert first
    assert f"ends in {shown}" in first
    assert end.said(left_s - 5) is None


def test_an_extended_limit_is_warned_of_anew(end: End) -> None:
    """The 5 minutes of the old end are no longer true, and the new end has its two warnings."""
    assert end.said(890)
    end.path.write_text(f"{NOON + 7200}\n")

    assert end.said(400 + 7200) is None
    assert end.said(899)
    assert end.said(299)


def test_an_end_that_moves_little_is_the_same_end(end: End) -> None:
    """Slurm may tell it a second later each time it is asked."""
    assert end.said(890)
    end.path.write_text(f"{NOON + 2}\n")

    assert end.said(880) is None


def test_a_limit_extended_within_the_last_minutes_keeps_its_5_minutes(end: End) -> None:
    """Of 4 minutes it was told; with 10 more, it is told again when 5 are left."""
    assert end.said(240)
    end.path.write_text(f"{NOON + 600}\n")

    assert end.said(700) is None
    assert end.said(299)


@pytest.mark.parametrize("text", ["", "soon", "12.5", "1e9", "NONE"])
def test_a_broken_file_is_an_error_and_no_warning(end: End, text: str) -> None:
    """The watch tells of it once in the log."""
    end.path.write_text(text)

    with pytest.raises(ValueError, match="invalid literal"):
        end.limit.look()
