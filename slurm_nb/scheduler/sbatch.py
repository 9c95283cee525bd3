"""One submission with sbatch, through submitit. The only user of submitit.

Facts about Slurm's commands were seen on 22.05.8 unless a man page is named.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from pathlib import Path

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor

from slurm_nb.errors import AnswerLost, SchedulerError

# sbatch gives up after 10 s by itself when the controller hangs; MessageTimeout may be longer.
_SBATCH_TIMEOUT_S = 90
_TIMED_OUT = 124  # timeout(1), coreutils 9.1
_KILLED = range(129, 193)  # 128 and a signal's number
_ANSWER = re.compile(r"(?P<job_id>\d+)(?:;(?P<cluster>[\w.-]+))?", re.ASCII)


class Sbatch(SlurmExecutor):
    """submitit's Slurm executor, submitting our script in place of its own."""

    def __init__(self, folder: Path, script: str, unset: list[str]) -> None:
        super().__init__(folder)
        self._script = script
        self._unset = unset
        self.script_path: Path | None = None

    def submit_script(self) -> tuple[str, str]:
        """The new job's id and, where sbatch names it, its cluster (else empty).

        Raises `SchedulerError` with sbatch's own words, or `AnswerLost`.
        """
        heard = io.StringIO()
        try:
            with contextlib.redirect_stderr(heard):  # submitit prints what it also raises
                job = self._submit_command("")
        except (FailedJobError, FailedSubmissionError) as error:
            raise self._failed(error) from error
        if (
            self.script_path and self.script_path.is_symlink()
        ):  # submitit's, to the script's new name
            self.script_path.unlink()
        return job.job_id, self._cluster

    @classmethod
    def affinity(cls) -> int:
        """submitit asks for srun here; what this needs is sbatch."""
        return -1 if shutil.which("sbatch") is None else 2

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        return self._script

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        submission_file_path.chmod(0o600)
        self.script_path = submission_file_path
        unset = [word for name in self._unset for word in ("-u", name)]
        return [
            "timeout", "--kill-after=5", str(_SBATCH_TIMEOUT_S),
            "env", *unset, "sbatch", "--parsable", str(submission_file_path),
        ]  # fmt: skip

    def _get_job_id_from_submission_command(self, string: bytes | str) -> str:  # type: ignore[override]
        text = string if isinstance(string, str) else string.decode(errors="replace")
        match = _ANSWER.fullmatch(text.splitlines()[-1].strip()) if text.strip() else None
        if match is None:
            raise FailedSubmissionError(text)
        self._cluster = match["cluster"] or ""
        return match["job_id"]

    def _failed(self, error: Exception) -> SchedulerError:
        """What to raise: that sbatch refused, or that nobody knows whether there is a job."""
        code = getattr(error.__cause__, "returncode", 0)
        words = " ".join(str(error).split()) or f"sbatch ended with {code} and without a word"
        killed = code < 0 or code == _TIMED_OUT or code in _KILLED
        # "Socket timed out on send/recv operation" was seen with exit code 1, and the job ran.
        if code == 0 or killed or "timed out" in words.lower():
            return AnswerLost(f"sbatch gave no job id: {words}", script=str(self.script_path))
        if self.script_path:
            self.script_path.unlink(missing_ok=True)
        return SchedulerError(f"sbatch refused the job: {words}", hint="nothing was submitted")
