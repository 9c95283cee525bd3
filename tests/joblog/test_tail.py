"""A job's output is read from any position, at any size, and followed as it grows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from slurm_nb.joblog.tail import lines_of, tail_of

TEXT = "one\ntwo\n\nthree\nfour"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "7_0_log.out"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("lines", "rest"),
    [
        (0, ""),
        (1, "four"),
        (2, "three\nfour"),
        (3, "\nthree\nfour"),
        (5, TEXT),
        (99, TEXT),
    ],
)
@pytest.mark.parametrize("end", ["", "\n"])
def test_the_last_lines_begin_in_the_right_place(
    log: Path, lines: int, rest: str, end: str
) -> None:
    """The last line may be unfinished; a request for too many lines gives all."""
    log.write_text(TEXT + end, encoding="utf-8")

    assert (TEXT + end)[tail_of(log, lines) :] == (rest + end if lines else "")


def test_the_end_of_a_large_file_is_found(log: Path) -> None:
    """It may span many of the blocks that are read at once."""
    lines = [f"{number:07}" for number in range(100_000)]
    log.write_text("\n".join(lines) + "\n", encoding="ascii")

    assert list(lines_of(log, tail_of(log, 50_000))) == lines[50_000:]


def test_a_missing_file_is_empty(tmp_path: Path) -> None:
    """It has no lines."""
    assert tail_of(tmp_path / "none", 5) == 0
    assert list(lines_of(tmp_path / "none", 0)) == []


def test_all_lines_are_read_with_an_unfinished_last_line(log: Path) -> None:
    """A killed job leaves half a line, which may be the important one."""
    assert list(lines_of(log, 0)) == ["one", "two", "", "three", "four"]


def test_an_endless_line_is_split(log: Path) -> None:
    """A gigabyte without a newline does not need a gigabyte of memory."""
    log.write_bytes(b"x" * 1_000_000)

    parts = list(lines_of(log, 0))

    assert "".join(parts) == "x" * 1_000_000
    assert max(map(len, parts)) <= 200_000


def follow(log: Path, *steps: Callable[[], object]) -> list[str]:
    """Follow a file; each pause runs one step, and after the last step the job is over."""
    left = iter(steps)
    over: list[bool] = []

    def pause(_seconds: float) -> None:
        step = next(left, None)
        over.append(step is None)
        if step:
            step()

    return list(lines_of(log, 0, over=lambda: bool(over and over[-1]), sleep=pause))


def test_a_growing_file_is_followed_to_the_end(log: Path) -> None:
    """Half a line is shown once it is complete, and the last output is not lost."""

    def more() -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(" and a half\nfive\n")

    assert follow(log, more) == ["one", "two", "", "three", "four and a half", "five"]


def test_a_new_run_is_read_from_its_beginning(log: Path) -> None:
    """A requeued job without --open-mode=append truncates its file."""
    assert follow(log, lambda: log.write_text("new\n", encoding="utf-8")) == [
        "one", "two", "", "three", "new",
    ]  # fmt: skip


def test_an_ended_job_causes_no_wait(log: Path) -> None:
    """Its log is printed, and the command ends."""
    pauses: list[float] = []

    list(lines_of(log, 0, over=lambda: True, sleep=pauses.append))

    assert sum(pauses) == 0


def test_a_file_that_appears_later_is_followed(tmp_path: Path) -> None:
    """A pending job has none yet."""
    log = tmp_path / "7_0_log.out"

    assert follow(log, lambda: log.write_text("here\n", encoding="utf-8")) == ["here"]


def test_the_end_of_an_output_without_a_newline_is_short(tmp_path: Path) -> None:
    """A gibibyte of zeros, as a broken disk leaves, is neither searched nor shown in full."""
    path = tmp_path / "log"
    path.write_bytes(b"first\n")
    os.truncate(path, 1 << 30)

    assert tail_of(path, 2) == (1 << 30) - 2 * (1 << 16)
