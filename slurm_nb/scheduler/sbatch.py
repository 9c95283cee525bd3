"""Submit a job with sbatch, through submitit. The only module that uses submitit.

Facts about Slurm's commands were seen on 22.05.8 unless a man page is named.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor

from slurm_nb.errors import SchedulerError, SubmissionUnknown
from slurm_nb.files import cannot_write

# sbatch itself gives up after 10 s if the controller hangs; MessageTimeout may be longer. If Slurm
# accepts no more jobs (MaxJobCount), it tries again for 120 s (sbatch.c, MAX_RETRIES).
_SBATCH_TIMEOUT_S = 150
_TELL_AFTER_S = 2.0
_TIMED_OUT = 124  # timeout(1), coreutils 9.1
_KILLED = range(129, 193)  # 128 and a signal's number
_ANSWER = re.compile(r"(?P<job_id>\d+)(?:;(?P<cluster>[\w.-]+))?", re.ASCII)
# submitit decodes the output strictly, kills sbatch at the first byte that is not UTF-8, and drops
# stderr after a success.
_HEARD = 'exec "$@" >"$0/stdout" 2>"$0/stderr"'
# Directories with what sbatch has said. Killed submissions leave them behind (session/pending.py).
_HEARD_PREFIX = ".sbatch_"


@dataclass(frozen=True)
class Submitted:
    """The answer of sbatch."""

    job_id: str
    cluster: str
    """Empty if sbatch does not name one."""
    words: list[str]
    """Other lines from sbatch or a site's filter."""


class Sbatch(SlurmExecutor):
    """submitit's Slurm executor, which submits our script instead of its own."""

    def __init__(  # noqa: PLR0913  all but the first two are by name
        self,
        folder: Path,
        script: str,
        *,
        environ: Mapping[str, str],
        clusters: str = "",
        before: Callable[[Path], None] = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(folder)
        self._say = say
        self._script = script
        self._environ = environ
        self._clusters = clusters
        self._before = before
        self.script_path: Path | None = None

    def submit_script(self) -> Submitted:
        """Submit with `environ` as the whole environment of sbatch.

        Raises `SchedulerError` with the message of sbatch, `SubmissionUnknown`, or `UserError` if
        writing the script fails.
        """
        with self._directory() as heard, _environment(self._environ):
            self._heard = Path(heard)
            try:
                with self._told_while_it_waits():
                    job = self._submit_command("")
            except (FailedJobError, FailedSubmissionError) as error:
                raise self._failed(error) from error
            words = self._said("stderr")
        if self.script_path and self.script_path.is_symlink():  # submitit links to the new name
            self.script_path.unlink()
        lines = [line for line in words.splitlines() if line and line not in self._told]
        return Submitted(job.job_id, self._cluster, lines)

    def _directory(self) -> tempfile.TemporaryDirectory[str]:
        """Create a private directory next to the script; others may be able to change TMPDIR."""
        try:
            return tempfile.TemporaryDirectory(
                prefix=_HEARD_PREFIX, dir=self.folder, ignore_cleanup_errors=True
            )
        except OSError as error:
            raise cannot_write(self.folder, error, hint="nothing was submitted") from error

    @contextlib.contextmanager
    def _told_while_it_waits(self) -> Iterator[None]:
        """Show sbatch's messages while it tries again because Slurm accepts no more jobs."""
        done = threading.Event()
        self._told: list[str] = []

        def follow() -> None:
            while not done.wait(_TELL_AFTER_S):
                for line in self._said("stderr").splitlines()[len(self._told) :]:
                    self._told.append(line)
                    self._say(line)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    @classmethod
    def affinity(cls) -> int:
        """Return whether sbatch is on PATH; submitit checks for srun here."""
        return -1 if shutil.which("sbatch") is None else 2

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        return ""  # submitit uses the locale's encoding; see below

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        self.script_path = submission_file_path
        try:
            submission_file_path.chmod(0o600)
            submission_file_path.write_text(self._script, encoding="utf-8")
        except OSError as error:
            submission_file_path.unlink(missing_ok=True)
            raise cannot_write(submission_file_path, error, hint="nothing was submitted") from error
        self._before(submission_file_path)
        return [
            "bash", "-c", _HEARD, str(self._heard),
            "timeout", "--kill-after=5", str(_SBATCH_TIMEOUT_S),
            "sbatch", "--parsable", str(submission_file_path),
        ]  # fmt: skip

    def _get_job_id_from_submission_command(self, string: bytes | str) -> str:  # type: ignore[override]
        text = self._said("stdout")
        # A site's filter may print lines before and after the answer.
        for line in reversed(text.splitlines()):
            if match := _ANSWER.fullmatch(line.strip()):
                self._cluster = match["cluster"] or ""
                return match["job_id"]
        raise FailedSubmissionError(text)

    def _said(self, stream: str) -> str:
        """Return the output of sbatch; empty if it did not start."""
        path = self._heard / stream
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def _failed(self, error: Exception) -> SchedulerError:
        """Return the error: sbatch rejected the job, or there may or may not be one."""
        code = getattr(error.__cause__, "returncode", 0)
        said = self._said("stderr") or (str(error) if code == 0 else self._said("stdout"))
        words = _lines(said) or f" sbatch ended with exit code {code} without a message"
        killed = code < 0 or code == _TIMED_OUT or code in _KILLED
        # "Socket timed out on send/recv operation" was seen with exit code 1, and the job ran.
        if code == 0 or killed or "timed out" in words.lower():
            return SubmissionUnknown(
                f"sbatch gave no job id:{words}",
                script=str(self.script_path),
                clusters=self._clusters,
            )
        if self.script_path:
            self.script_path.unlink(missing_ok=True)
        return SchedulerError(f"sbatch rejected the job:{words}", hint="nothing was submitted")


def _lines(said: str) -> str:
    """Return a site's or sbatch's words: one line after a blank, several ones below each other."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    return ("\n  " if len(lines) > 1 else " ").join(["", *lines])


@contextlib.contextmanager
def _environment(environ: Mapping[str, str]) -> Iterator[None]:
    """Make the programs of this process inherit only `environ`.

    submitit passes its own environment on; as arguments (`env -i NAME=VALUE`) the values would
    appear in the list of processes.
    """
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
