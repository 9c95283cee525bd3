"""A job's output file, followed as it grows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

from slurm_nb.files import refresh_nfs
from slurm_nb.joblog.events import MARK, Progress, read_progress

_CHUNK_BYTES = 1 << 20
_TAIL_LINES = 15
_LINE_BYTES = 4096


class JobLog:
    """What the output of one job has said so far.

    Reads only what is new, so that a log of any size costs no memory. A log that is
    missing is one that has not appeared yet: NFS may show it up to a minute late.
    """

    def __init__(
        self, path: Path, *, cluster: str, job_id: str, nonce: Callable[[], str | None]
    ) -> None:
        self.path = path
        self.progress = Progress()
        self._who = {"cluster": cluster, "job_id": job_id}
        self._ask_nonce = nonce
        self._held: list[str] = []
        self._offset = 0
        self._rest = b""
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def read(self) -> Progress:
        """Take in what was written since the last call."""
        refresh_nfs(self.path.parent)
        try:
            with self.path.open("rb") as file:
                if file.seek(0, 2) < self._offset:  # truncated: another run began
                    self._forget()
                file.seek(self._offset)
                while chunk := file.read(_CHUNK_BYTES):
                    self._take(chunk)
                self._offset = file.tell()
        except OSError:
            pass
        self._weigh()
        return self.progress

    @property
    def unproved(self) -> bool:
        """Whether it holds lines like the job's own, and nothing to know them by."""
        return bool(self._held) and "nonce" not in self._who

    def tail(self) -> list[str]:
        """The last lines that Jupyter or the shell wrote in this run, without slurm-nb's own."""
        rest = self._rest.decode(errors="replace")
        return [*self._tail, *([rest] if rest.strip() and not rest.startswith(MARK) else [])]

    def _take(self, chunk: bytes) -> None:
        *complete, self._rest = (self._rest + chunk).split(b"\n")
        self._rest = self._rest[:_LINE_BYTES]
        lines = [line[:_LINE_BYTES].decode(errors="replace") for line in complete]
        marked = [line for line in lines if line.startswith(MARK)]
        self._held.extend(marked)
        for line in lines:
            if line.startswith(f"{MARK}started: "):  # how an earlier run ended is not how this did
                self._tail.clear()
            elif line.strip() and not line.startswith(MARK):
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
        self._offset = 0
        self._rest = b""
        self._tail.clear()
