"""A job's output as text for a reader: all of it, or its end, and what comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from slurm_nb.files import refresh_nfs

_CHUNK_BYTES = 1 << 16
_LINE_BYTES = 1 << 16
_LOOK_EVERY_S = 0.5
_ASK_EVERY_LOOKS = 20


def tail_of(path: Path, lines: int) -> int:
    """The offset at which the last `lines` lines begin; 0 where there are fewer, or no file.

    No further back than as many lines of 64 KiB: a job can leave an output without a newline.
    """
    try:
        with path.open("rb") as file:
            at = size = file.seek(0, 2)
            left = lines
            least = max(0, size - lines * _LINE_BYTES)
            while at > least:
                start = max(least, at - _CHUNK_BYTES)
                file.seek(start)
                chunk = file.read(at - start)
                end = len(chunk) - (1 if at == size and chunk.endswith(b"\n") else 0)
                while left and (newline := chunk.rfind(b"\n", 0, end)) >= 0:
                    left, end = left - 1, newline
                    if not left:
                        return start + newline + 1
                at = start
            return least
    except OSError:
        return 0


def lines_of(
    path: Path,
    start: int,
    *,
    over: Callable[[], bool] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str]:
    """Lines from an offset on; with `over`, also those to come, until it says that the job ended.

    A line longer than 64 KiB is cut there. A file that got shorter is read from its beginning: a
    new run has begun.
    """
    at, rest = start, b""
    looks = 0
    ended = False
    while True:
        refresh_nfs(path.parent)
        before = at
        complete, at, rest = _read(path, at, rest)
        yield from complete
        if at != before:
            continue  # there may be more
        if over is None or ended:
            break
        looks += 1
        # Asked before the last look, so that nothing is missed that was written in between.
        ended = looks % _ASK_EVERY_LOOKS == 1 and over()
        sleep(0 if ended else _LOOK_EVERY_S)
    if rest:
        yield rest.decode(errors="replace")


def _read(path: Path, at: int, rest: bytes) -> tuple[list[str], int, bytes]:
    """Some complete lines, the offset after them, and what is no line yet."""
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) < at:
                at, rest = 0, b""
            file.seek(at)
            chunk = file.read(_CHUNK_BYTES)
    except OSError:
        return [], at, rest
    *complete, rest = (rest + chunk).split(b"\n")
    if len(rest) > _LINE_BYTES:
        complete, rest = [*complete, rest], b""
    return [line.decode(errors="replace") for line in complete], at + len(chunk), rest
