"""The progress line while slurm-nb waits for a job."""

from __future__ import annotations

import sys

import pytest

from slurm_nb.cli.progress import WaitingLine
from slurm_nb.scheduler.job import JobState, Phase
from tests.fakes import SEVEN

PENDING = JobState(Phase.PENDING, "PENDING", "Priority")
RUNNING = JobState(Phase.RUNNING, "RUNNING")


def test_without_a_terminal_only_changes_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    """A log of the wait has one line for each change, not one for each second."""
    line = WaitingLine(SEVEN)
    for second in range(30):
        line.show(None if second < 3 else PENDING, float(second))
    line.show(RUNNING, 30.0)
    line.show(RUNNING, 31.0)
    line.clear()

    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 2
    assert "job 7: PENDING (Priority)" in err.splitlines()[0]
    assert "job 7: RUNNING" in err.splitlines()[1]
    assert "\r" not in err
    assert "\x1b" not in err


def test_without_a_terminal_a_long_wait_still_shows_life(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In an hour of waiting a line appears now and then."""
    line = WaitingLine(SEVEN)
    for second in range(3600):
        line.show(PENDING, float(second))

    assert 10 <= len(capsys.readouterr().err.splitlines()) <= 120


class Terminal:
    """A terminal, as far as the progress line uses it."""

    def __init__(self) -> None:
        self.written = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.written += text
        return len(text)

    def flush(self) -> None:
        pass


def test_on_a_terminal_the_line_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line counts the seconds, is overwritten, and leaves nothing behind."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    line = WaitingLine(SEVEN)
    for tenth in range(30):
        line.show(PENDING, tenth / 10)
    line.clear()

    assert "\n" not in terminal.written
    assert terminal.written.count("PENDING (Priority)") == 3
    assert terminal.written.endswith("\r\x1b[K")


def test_a_reason_cannot_control_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """An admin or a job may have put control characters into it; they are shown, not executed."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    WaitingLine(SEVEN).show(JobState(Phase.PENDING, "PENDING", "a\x1b[2Jb\nc"), 1.0)

    assert "\x1b[2J" not in terminal.written
    assert "\\x1b[2J" in terminal.written
