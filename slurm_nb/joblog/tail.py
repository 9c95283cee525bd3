"""A job's output as text: all of it or its end, and new lines."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from slurm_nb.files import open_regular, refresh_nfs

_CHUNK_BYTES = 1 << 16
_LINE_BYTES = 1 << 16
_LOOK_EVERY_S = 0.5
_ASK_EVERY_LOOKS = 20


def tail_of(path: Path, lines: int) -> int:
    """Return the offset of the last `lines` lines; 0 if there are fewer, or no file.

    Searches at most that many times 64 KiB, because an output may have no newlines.
    """
    try:
        with open(open_regular(path), "rb") as file:
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
    """Yield lines from an offset on; with `over`, new lines too, until the job has ended.

    Splits lines longer than 64 KiB. If the file got shorter, a new run has begun, and reading
    starts again at its beginning.
    """
    file = GrowingFile(path, start)
    looks = 0
    ended = False
    while True:
        news = False
        for line in file.read():
            news = True
            yield line.removesuffix(b"\n").decode(errors="replace")
        if news:
            continue  # there may be more
        if over is None or ended:
            break
        looks += 1
        # Query before the last read, so that no line is lost in between.
        ended = looks % _ASK_EVERY_LOOKS == 1 and over()
        sleep(0 if ended else _LOOK_EVERY_S)
    if file.rest:
        yield file.rest.decode(errors="replace")


def problem_of(path: Path) -> str:
    """Return why an output cannot be read; empty if it can, or does not exist yet."""
    try:
        os.close(open_regular(path))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return ""


class GrowingFile:
    """Read each line of a growing file once.

    The file may not exist yet: NFS may show it up to a minute late.
    """

    def __init__(
        self, path: Path, start: int = 0, *, restarted: Callable[[], None] = lambda: None
    ) -> None:
        """Call `restarted` if the file got shorter, before reading it from its beginning."""
        self.path = path
        self.rest = b""
        """The beginning of an incomplete line."""
        self.problem = ""
        """Why the last read failed, unless the file does not exist."""
        self._start = self._offset = start
        self._restarted = restarted

    def rewind(self) -> None:
        """Read from the start again."""
        self._offset, self.rest = self._start, b""

    def read(self) -> Iterator[bytes]:
        """Yield the new lines, with their newlines; longer lines in pieces of 64 KiB."""
        refresh_nfs(self.path.parent)
        try:
            with open(open_regular(self.path), "rb") as file:
                self.problem = ""
                if file.seek(0, 2) < self._offset:
                    self._start = self._offset = 0
                    self.rest = b""
                    self._restarted()
                file.seek(self._offset)
                while (line := file.readline(_LINE_BYTES)).endswith(b"\n") or (
                    len(line) == _LINE_BYTES
                ):
                    self._offset += len(line)
                    yield line
                self.rest = line
        except FileNotFoundError:
            self.problem = ""
        except OSError as error:
            self.problem = error.strerror or str(error)
