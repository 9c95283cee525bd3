"""Files are read back within bounds, however they may have changed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest

from slurm_nb.files import NotRegularError
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.session.records import decode, encode, read_record


def test_a_record_is_read(tmp_path: Path) -> None:
    """It has the values in the JSON."""
    path = tmp_path / "record.json"
    path.write_text('{"at": 5, "name": "ö"}', encoding="utf-8")

    assert read_record(path) == {"at": 5, "name": "ö"}


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff\xfe\x00", b"[" * 200_000], ids=["empty", "half", "binary", "nested"]
)
def test_text_that_is_not_json_raises_value_error(tmp_path: Path, text: bytes) -> None:
    """Every kind raises the same error, so that a caller has only one to expect."""
    path = tmp_path / "record.json"
    path.write_bytes(text)

    with pytest.raises(ValueError, match=r"."):
        read_record(path)


def test_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    """The first part is enough to reject a file of that size."""
    path = tmp_path / "record.json"
    path.write_bytes(b"{")
    os.truncate(path, 1 << 30)

    with pytest.raises(ValueError, match="too long"):
        read_record(path)


def test_a_directory_is_an_os_error_and_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Nobody writes to the pipe, and only regular files are read."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(IsADirectoryError):
        read_record(tmp_path)
    with pytest.raises(NotRegularError):
        read_record(tmp_path / "pipe")


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    """A record within a record."""

    whole: int = 5
    at: float = 0.5


@dataclass(frozen=True)
class Kind:
    """A field of each type that records have."""

    text: str
    switch: bool = True
    colour: Colour = Colour.RED
    side: Literal["left", "right"] = "left"
    maybe: str | None = None
    inner: Inner = field(default_factory=Inner)
    perhaps: Inner | None = None
    words: tuple[str, ...] = ()
    named: Mapping[str, Inner] = field(default_factory=dict)


FULL = Kind(
    "x",
    switch=False,
    side="right",
    maybe="y",
    inner=Inner(1, 2.5),
    perhaps=Inner(3, 4),
    words=("a", "b"),
    named={"z": Inner()},
)


@pytest.mark.parametrize("kept", [FULL, Kind("x")])
def test_decoding_gives_back_the_encoded_record(kept: Kind) -> None:
    """It is identical after passing through JSON."""
    assert decode(Kind, json.loads(json.dumps(encode(kept)))) == kept


def test_a_missing_field_has_its_default() -> None:
    """An older version did not write it."""
    assert decode(Kind, {"text": "x", "inner": {}}) == Kind("x")


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        "text",
        {},
        {"text": None},
        {"text": 7},
        {"text": ["x"]},
        {"text": "x", "new": 1},
        {"text": "x", "switch": 1},
        {"text": "x", "switch": None},
        {"text": "x", "colour": "blue"},
        {"text": "x", "colour": ["red"]},
        {"text": "x", "side": "up"},
        {"text": "x", "side": {}},
        {"text": "x", "maybe": 5},
        {"text": "x", "inner": None},
        {"text": "x", "inner": {"whole": "5"}},
        {"text": "x", "inner": {"new": 5}},
        {"text": "x", "perhaps": 5},
        {"text": "x", "perhaps": []},
        {"text": "x", "words": "abc"},
        {"text": "x", "words": {"a": "b"}},
        {"text": "x", "words": ["a", 5]},
        {"text": "x", "named": [["z", {}]]},
        {"text": "x", "named": {"z": 5}},
    ],
)
def test_a_field_of_the_wrong_type_raises_value_error(record: object) -> None:
    """This includes nested fields and values that Python would treat as equal."""
    with pytest.raises(ValueError, match=r"."):
        decode(Kind, record)


@pytest.mark.parametrize("value", [0, 0.93, 1764150000, 1764150000.5])
def test_a_time_has_a_date(value: object) -> None:
    """Both whole numbers and fractions are accepted."""
    assert decode(Inner, {"at": value}).at == value


NO_TIMES: list[object] = [None, True, "5", -1, 10**30, float("inf"), float("nan"), []]


@pytest.mark.parametrize("value", NO_TIMES)
def test_a_number_without_a_date_is_not_a_time(value: object) -> None:
    """It would break the code that prints it."""
    with pytest.raises(ValueError, match=r"."):
        decode(Inner, {"at": value})


@pytest.mark.parametrize("value", [*NO_TIMES, 0.5, 5.0])
def test_a_value_that_is_not_a_whole_number_is_rejected(value: object) -> None:
    """Examples of whole numbers are a port and a process id."""
    with pytest.raises(ValueError, match=r"."):
        decode(Inner, {"whole": value})


@pytest.mark.parametrize("text", [b"null", b"7", b"[]", b'"text"'])
def test_a_record_is_an_object(tmp_path: Path, text: bytes) -> None:
    """slurm-nb does not write any other JSON."""
    (tmp_path / "record.json").write_bytes(text)

    with pytest.raises(ValueError, match="in place of dict"):
        read_record(tmp_path / "record.json")


def test_a_field_with_a_new_name_has_its_old_key() -> None:
    """Files of the first version can be read, and that version can read new ones."""
    state = JobState(Phase.ENDED, "FAILED", id_reused=True)
    record = encode(state)

    assert (record["word"], record["foreign"], "slurm_state" in record) == ("FAILED", True, False)
    assert decode(JobState, record) == state
    with pytest.raises(ValueError, match="the fields of JobState"):
        decode(JobState, {"phase": "ended", "slurm_state": "FAILED"})
