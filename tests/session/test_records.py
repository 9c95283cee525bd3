"""Files are read back with bounds, whatever has become of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slurm_nb.session.records import is_time, read_record


def test_a_record_is_read(tmp_path: Path) -> None:
    """As json has it."""
    path = tmp_path / "record.json"
    path.write_text('{"at": 5, "name": "ö"}', encoding="utf-8")

    assert read_record(path) == {"at": 5, "name": "ö"}


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff\xfe\x00", b"[" * 200_000], ids=["empty", "half", "binary", "nested"]
)
def test_what_is_no_json_is_a_value_error(tmp_path: Path, text: bytes) -> None:
    """Of every kind, so that a caller has one thing to expect."""
    path = tmp_path / "record.json"
    path.write_bytes(text)

    with pytest.raises(ValueError, match=r"."):
        read_record(path)


def test_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    """A file of that size is refused by its first part."""
    path = tmp_path / "record.json"
    path.write_bytes(b"{")
    os.truncate(path, 1 << 30)

    with pytest.raises(ValueError, match="too long"):
        read_record(path)


def test_a_directory_is_an_os_error_and_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Nobody writes to the pipe, so it is empty."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(IsADirectoryError):
        read_record(tmp_path)
    with pytest.raises(ValueError, match="Expecting value"):
        read_record(tmp_path / "pipe")


@pytest.mark.parametrize("value", [0, 0.93, 1764150000, 1764150000.5])
def test_a_time_has_a_date(value: object) -> None:
    """Whole or not."""
    assert is_time(value)


@pytest.mark.parametrize("value", [None, True, "5", -1, 10**30, float("inf"), float("nan"), []])
def test_what_has_no_date_is_no_time(value: object) -> None:
    """It would break what prints it."""
    assert not is_time(value)
