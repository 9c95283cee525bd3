"""A job's output file, followed as it grows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

from slurm_nb.joblog.events import MARK, Progress, read_progress
from slurm_nb.joblog.tail import GrowingFile

_MARK = MARK.encode()
_STARTED = f"{MARK}started: ".encode()
_TAIL_LINES = 15
_LINE_BYTES = 4096


class JobLog:
    """What the output of one job has said so far.

    Reads only what is new, so that a log of any size costs no memory.
    """

    def __init__(
        self, path: Path, *, cluster: str, job_id: str, nonce: Callable[[], str | None]
    ) -> None:
        self.path = path
        self.progress = Progress()
        self._who = {"cluster": cluster, "job_id": job_id}
        self._ask_nonce = nonce
        self._held: list[str] = []
        self._file = GrowingFile(path, restarted=self._forget)
        self._within = False
        self._tail: deque[bytes] = deque(maxlen=_TAIL_LINES)

    def read(self) -> Progress:
        """Take in what was written since the last call."""
        for line in self._file.read():
            if not self._within:  # of a line that is cut the beginning counts
                self._take(line[:_LINE_BYTES].removesuffix(b"\n"))
            self._within = not line.endswith(b"\n")
        self._weigh()
        return self.progress

    @property
    def unproved(self) -> bool:
        """Whether it holds lines like the job's own, and nothing to know them by."""
        return bool(self._held) and "nonce" not in self._who

    def tail(self) -> list[str]:
        """The last lines that Jupyter or the shell wrote in this run, without slurm-nb's own."""
        rest = b"" if self._within else self._file.rest[:_LINE_BYTES]
        lines = [*self._tail, *([rest] if rest.strip() and not rest.startswith(_MARK) else [])]
        return [line.decode(errors="replace") for line in lines]

    def _take(self, line: bytes) -> None:
        if line.startswith(_MARK):
            self._held.append(line.decode(errors="replace"))
            if line.startswith(_STARTED):  # how an earlier run ended is not how this did
                self._tail.clear()
        elif line.strip():
            self._tail.append(line)

    def _weigh(self) -> None:
        """Take the job's word, once its nonce is there to know it by."""
        if self._held and "nonce" not in self._who and (nonce := self._ask_nonce()):
            self._who["nonce"] = nonce
        if "nonce" in self._who:
            self.progress = read_progress(self._held, who=self._who, so_far=self.progress)
            self._held = []

    def _forget(self) -> None:
        self.progress = Progress()
        self._held = []
        self._within = False
        self._tail.clear()
