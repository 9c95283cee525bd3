"""Follow a job's output file as it grows."""

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
    """The output of one job so far.

    Reads only new lines, so that a log of any size needs little memory.
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
        """Read the lines written since the last call."""
        for line in self._file.read():
            if not self._within:  # use the beginning of a long line
                self._take(line[:_LINE_BYTES].removesuffix(b"\n"))
            self._within = not line.endswith(b"\n")
        self._weigh()
        return self.progress

    @property
    def unproved(self) -> bool:
        """Whether it has lines like those of the job, but no nonce to verify them."""
        return bool(self._held) and "nonce" not in self._who

    def tail(self) -> list[str]:
        """Return the last lines of Jupyter or the shell in this run, without slurm-nb's own."""
        rest = b"" if self._within else self._file.rest[:_LINE_BYTES]
        lines = [*self._tail, *([rest] if rest.strip() and not rest.startswith(_MARK) else [])]
        return [line.decode(errors="replace") for line in lines]

    def _take(self, line: bytes) -> None:
        if line.startswith(_MARK):
            self._held.append(line.decode(errors="replace"))
            if line.startswith(_STARTED):  # an earlier run may have ended differently
                self._tail.clear()
        elif line.strip():
            self._tail.append(line)

    def _weigh(self) -> None:
        """Accept the lines of the job once its nonce can verify them."""
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
