"""Files that slurm-nb keeps and reads again, whatever has become of them meanwhile.

A crash, a full disk, an editor or another version may have left anything there.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

# The answers about some ten thousand sessions; all others are far smaller.
_LONGEST_BYTES = 16 << 20
# The year 5138: what is later is no time, and has no date in Python from the year 10000 on.
_LATEST_S = 1e11


def read_record(path: Path) -> Any:  # noqa: ANN401  as json has it
    """What a JSON file holds; raises `OSError`, and `ValueError` for what is no JSON of ours.

    No more than 16 MiB are read, and a pipe is not waited for.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        text = file.read(_LONGEST_BYTES + 1)
    if len(text) > _LONGEST_BYTES:
        raise ValueError("too long")
    try:
        return json.loads(text.decode())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def is_time(value: object) -> bool:
    """Whether a value can be seconds since the epoch."""
    return type(value) in {int, float} and 0 <= value < _LATEST_S  # type: ignore[operator]


def is_text(*values: object) -> bool:
    """Whether all are text."""
    return all(isinstance(value, str) for value in values)


def is_text_or_none(*values: object) -> bool:
    """Whether all are text, or missing."""
    return is_text(*(value for value in values if value is not None))
