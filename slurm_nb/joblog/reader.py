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

    It reads only new lines and keeps only the last few, so that a log of any size needs little
    memory. The nonce identifies the lines of the job. If there is a `submission`, they must contain
    it too, because an earlier job with the same id may have written to the same file.
    """

    def __init__(  # noqa: PLR0913  all but the first are by name
        self,
        path: Path,
        *,
        cluster: str,
        job_id: str,
        nonce: Callable[[], str | None],
        submission: str | None = None,
        start: int = 0,
    ) -> None:
        """start: the offset at which this job's output begins."""
        self.path = path
        self.job_id = job_id
        self.progress = Progress()
        self._who = {"cluster": cluster, "job_id": job_id}
        if submission is not None:
            self._who["submission"] = submission
        self._ask_nonce = nonce
        self._nonce = b""
        self._marked = False
        self._file = GrowingFile(path, start, restarted=self._forget)
        self._within = False
        self._tail: deque[bytes] = deque(maxlen=_TAIL_LINES)

    def read(self) -> Progress:
        """Read the lines written since the last call."""
        self._take_new()
        if self._marked and not self._nonce and (nonce := self._ask_nonce()):
            self._who["nonce"], self._nonce = nonce, nonce.encode()
            self._file.rewind()  # for the lines before the nonce was known
            self._forget()
            self._take_new()
        return self.progress

    @property
    def unproved(self) -> bool:
        """Whether it has lines like those of the job, but no nonce to verify them."""
        return self._marked and not self._nonce

    @property
    def problem(self) -> str:
        """Why the output cannot be read; empty if it can, or does not exist yet."""
        return self._file.problem

    def tail(self) -> list[str]:
        """Return the last lines of Jupyter or the shell in this run, without slurm-nb's own."""
        rest = b"" if self._within else self._file.rest[:_LINE_BYTES]
        lines = [*self._tail, *([rest] if rest.strip() and not rest.startswith(_MARK) else [])]
        return [line.decode(errors="replace") for line in lines]

    def _take_new(self) -> None:
        for line in self._file.read():
            if not self._within:  # use the beginning of a long line
                self._take(line[:_LINE_BYTES].removesuffix(b"\n"))
            self._within = not line.endswith(b"\n")

    def _take(self, line: bytes) -> None:
        if line.startswith(_MARK):
            self._marked = True
            if line.startswith(_STARTED):  # an earlier run may have ended differently
                self._tail.clear()
            if self._nonce and self._nonce in line:
                text = line.decode(errors="replace")
                self.progress = read_progress([text], who=self._who, so_far=self.progress)
        elif line.strip():
            self._tail.append(line)

    def _forget(self) -> None:
        self.progress = Progress()
        self._within = self._marked = False
        self._tail.clear()
