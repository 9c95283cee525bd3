"""The job warns 15 and 5 minutes before its time limit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_nb.kit.monitor.time_limit import TimeLimit

NOON = 1_795_694_400


class End:
    """The script's file, and a wall clock."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "end-time"
        self.now = float(NOON)
        self.limit = TimeLimit(str(self.path), lambda: self.now)

    def said(self, left_s: float) -> str | None:
        """Return the warning given with `left_s` seconds left."""
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


def test_before_the_signal_the_end_is_unknown(tmp_path: Path) -> None:
    """The script writes the file when Slurm signals it."""
    assert TimeLimit(str(tmp_path / "end-time")).look() is None


def test_there_are_two_warnings(end: End) -> None:
    """Each comes once and names the hour of the end; a signal may come a minute early."""
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
def test_a_short_job_gets_one_warning_with_the_time_left(end: End, left_s: int, shown: str) -> None:
    """This is true even if less time is left than either warning needs."""
    first = end.said(left_s)

    assert first
    assert f"ends in {shown}" in first
    assert end.said(left_s - 5) is None


def test_an_extended_limit_has_warnings_of_its_own(end: End) -> None:
    """The old end's 5 minutes are void; the new end has both warnings."""
    assert end.said(890)
    end.path.write_text(f"{NOON + 7200}\n")

    assert end.said(400 + 7200) is None
    assert end.said(899)
    assert end.said(299)


def test_an_end_that_moves_by_seconds_is_the_same_end(end: End) -> None:
    """Slurm may report it a second later each time."""
    assert end.said(890)
    end.path.write_text(f"{NOON + 2}\n")

    assert end.said(880) is None


def test_a_limit_extended_in_the_last_minutes_still_warns_5_minutes_before(end: End) -> None:
    """The job warned at 4 minutes; extended by 10, it warns again when 5 are left."""
    assert end.said(240)
    end.path.write_text(f"{NOON + 600}\n")

    assert end.said(700) is None
    assert end.said(299)


@pytest.mark.parametrize("text", ["", "soon", "12.5", "1e9", "NONE"])
def test_a_broken_file_is_an_error_and_not_a_warning(end: End, text: str) -> None:
    """The monitor logs it once."""
    end.path.write_text(text)

    with pytest.raises(ValueError, match="invalid literal"):
        end.limit.look()
