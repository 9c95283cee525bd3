"""Jobs in Slurm: submitted through submitit, watched with squeue and sacct, ended with scancel.

Facts about Slurm's commands were seen on 22.05.8 unless a man page is named.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor

from slurm_nb.errors import SchedulerError
from slurm_nb.scheduler import JobState, Phase
from slurm_nb.scheduler.command import Answer, ask, unset_for_sbatch
from slurm_nb.session import Session, Store
from slurm_nb.spec import JobSpec

# squeue(1) and sacct(1), "JOB STATE CODES"; a word that is not here is UNKNOWN. A job that is
# COMPLETING may be on its way back into the queue (requeue), so it has not ended yet.
PHASES: dict[str, Phase] = (
    dict.fromkeys(
        ["PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD",
         "SPECIAL_EXIT"],
        Phase.PENDING,
    )
    | dict.fromkeys(
        ["RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT"],
        Phase.RUNNING,
    )
    | dict.fromkeys(
        ["COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL",
         "DEADLINE", "OUT_OF_MEMORY", "LAUNCH_FAILED", "RECONFIG_FAIL", "REVOKED"],
        Phase.ENDED,
    )
)  # fmt: skip

# sbatch and squeue give up after 10 to 20 s by themselves when the controller hangs.
_SBATCH_TIMEOUT_S = 90
_QUERY_TIMEOUT_S = 25
_TIMED_OUT = 124  # timeout(1), coreutils 9.1
_ANSWER = re.compile(r"(?P<job_id>\d+)(?:;(?P<cluster>[\w.-]+))?", re.ASCII)
_LOOK_AGAIN_S = 2.0
_LOOKS = 5


class Slurm:
    """The cluster whose commands are on PATH."""

    def submit(self, script: str, spec: JobSpec, store: Store) -> Session:
        """Submit `script` with sbatch.

        When sbatch gives no answer the job may exist all the same, so it is looked for.
        Raises `SchedulerError`, with sbatch's own words, when there is no job.
        """
        if shutil.which("sbatch") is None:
            raise SchedulerError(
                "sbatch is not on PATH, so there is no Slurm here",
                hint="log in to a login node of your cluster, or run Jupyter on this machine"
                " with `slurm-nb submit --cluster local`",
            )
        own_cluster = _cluster_name()
        options = [*spec.sbatch_options, *spec.directives()]
        if spec.job_name == JobSpec.job_name:  # not asked for: SBATCH_JOB_NAME may say another
            options.remove(f"--job-name={spec.job_name}")
        executor = _Executor(store.folder / "jobs", script, unset_for_sbatch(os.environ, options))
        job_id, cluster = executor.submit_script()
        return Session(
            job_id=job_id,
            cluster=cluster or own_cluster,
            other_cluster=cluster not in {"", own_cluster},
        )

    def states(self, sessions: Iterable[Session]) -> dict[str, JobState]:
        """One squeue for all, then one sacct for those that squeue no longer knows."""
        by_cluster: dict[str | None, list[str]] = {}
        for session in sessions:
            cluster = session.cluster if session.other_cluster else None
            by_cluster.setdefault(cluster, []).append(session.job_id)
        states: dict[str, JobState] = {}
        for cluster, job_ids in by_cluster.items():
            states |= _states(job_ids, ["-M", cluster] if cluster else [])
        return states

    def cancel(self, session: Session) -> None:
        """Have Slurm end the job with scancel; one that is over is no error."""
        where = ["-M", session.cluster] if session.other_cluster else []
        answer = ask(["scancel", *where, session.job_id], timeout_s=_QUERY_TIMEOUT_S)
        if answer.exit_code and "Invalid job id" not in answer.stderr:
            raise SchedulerError(
                f"scancel {session.job_id}: {_words(answer)}",
                hint=f"try again later: slurm-nb cancel {session.job_id}",
            )


class _Executor(SlurmExecutor):
    """submitit's Slurm executor, submitting our script in place of its own."""

    def __init__(self, folder: Path, script: str, unset: list[str]) -> None:
        super().__init__(folder)
        self._script = script
        self._unset = unset
        self._file: Path | None = None

    def submit_script(self) -> tuple[str, str]:
        """The new job's id and, where sbatch names it, its cluster (else empty)."""
        heard = io.StringIO()
        try:
            with contextlib.redirect_stderr(heard):  # submitit prints what it also raises
                job = self._submit_command("")
        except (FailedJobError, FailedSubmissionError) as error:
            return self._failed(error)
        return job.job_id, self._cluster

    @classmethod
    def affinity(cls) -> int:
        """submitit asks for srun here; what this needs is sbatch."""
        return -1 if shutil.which("sbatch") is None else 2

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        return self._script

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        submission_file_path.chmod(0o600)
        self._file = submission_file_path
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

    def _failed(self, error: Exception) -> tuple[str, str]:
        """Find the job that sbatch did not tell of, or raise `SchedulerError`."""
        code = getattr(error.__cause__, "returncode", 0)
        words = " ".join(str(error).split())
        # "Socket timed out on send/recv operation" was seen with exit code 1, and the job ran.
        answer_lost = code in {0, _TIMED_OUT} or "timed out" in words.lower()
        file = self._file
        job_id = _find(str(file)) if answer_lost and file else None
        if job_id:
            return job_id, ""
        if file and not answer_lost:
            file.unlink(missing_ok=True)
        said = words or f"sbatch did not answer within {_SBATCH_TIMEOUT_S} s"
        if answer_lost:
            raise SchedulerError(
                f"sbatch gave no job id: {said}",
                hint="a job may exist all the same: look for it with"
                f" `squeue --me -o '%i %j %o'` (the one that runs {file}) before you try again",
            ) from error
        raise SchedulerError(f"sbatch refused the job: {said}") from error


def _cluster_name() -> str:
    """ClusterName of this login node's Slurm, for `SLURM_CLUSTER_NAME` in its jobs is the same."""
    answer = ask(["scontrol", "show", "config"], timeout_s=_QUERY_TIMEOUT_S)
    match = re.search(r"^ClusterName\s*=\s*([\w.-]+)\s*$", answer.stdout, re.MULTILINE)
    if answer.exit_code or match is None:
        raise SchedulerError(
            f"Slurm can't be reached: {_words(answer)}", hint="nothing was submitted; try later"
        )
    return match[1]


def _states(job_ids: list[str], where: list[str]) -> dict[str, JobState]:
    unknown = dict.fromkeys(job_ids, JobState(Phase.UNKNOWN, "UNKNOWN", "Slurm does not answer"))
    try:
        # -t all: also jobs that ended within MinJobAge (slurm.conf(5)).
        answer = ask(
            ["squeue", *where, "-h", "-t", "all", "-j", ",".join(job_ids), "-o", "%i|%T|%e|%r"],
            timeout_s=_QUERY_TIMEOUT_S,
        )
        if answer.exit_code and "Invalid job id" not in answer.stderr:
            reason = _words(answer)
            return dict.fromkeys(job_ids, JobState(Phase.UNKNOWN, "UNKNOWN", reason))
        found = parse_squeue(answer.stdout)
        gone = [job_id for job_id in job_ids if job_id not in found]
        return unknown | found | (_ended(gone, where) if gone else {})
    except SchedulerError as error:
        return dict.fromkeys(job_ids, JobState(Phase.UNKNOWN, "UNKNOWN", str(error)))


def parse_squeue(text: str) -> dict[str, JobState]:
    """From lines of `squeue -o '%i|%T|%e|%r'`: `7|RUNNING|2026-11-23T14:00:00|None`."""
    states = {}
    for line in text.splitlines():
        job_id, *values = line.strip().split("|", 3)
        if job_id.isascii() and job_id.isdigit() and len(values) == 3:
            word, end_time, reason = values
            states[job_id] = JobState(
                PHASES.get(word, Phase.UNKNOWN),
                word,
                "" if reason == "None" else reason,
                end_time if end_time[:1].isdigit() else None,
            )
    return states


def parse_sacct(text: str) -> dict[str, JobState]:
    """From lines of `sacct -n -P -X -o JobID,State`: `7|CANCELLED by 1000`."""
    states = {}
    for line in text.splitlines():
        job_id, _, state = line.strip().partition("|")
        word = state.partition(" ")[0]
        if job_id.isascii() and job_id.isdigit() and word:
            states[job_id] = JobState(PHASES.get(word, Phase.UNKNOWN), word)
    return states


def _ended(job_ids: list[str], where: list[str]) -> dict[str, JobState]:
    """How jobs ended that squeue no longer knows; without accounting, only that they did."""
    states = dict.fromkeys(job_ids, JobState(Phase.ENDED, "ENDED", "no longer known to Slurm"))
    with contextlib.suppress(SchedulerError):
        answer = ask(
            ["sacct", *where, "-n", "-P", "-X", "-o", "JobID,State", "-j", ",".join(job_ids)],
            timeout_s=_QUERY_TIMEOUT_S,
        )
        states |= parse_sacct(answer.stdout)
    return states


def _find(script: str) -> str | None:
    """The id of the user's job that runs `script`: its path is unlike any other's."""
    for look in range(_LOOKS):
        if look:
            time.sleep(_LOOK_AGAIN_S)
        with contextlib.suppress(SchedulerError):
            answer = ask(
                ["squeue", "--me", "-h", "-t", "all", "-o", "%i|%o"], timeout_s=_QUERY_TIMEOUT_S
            )
            for line in answer.stdout.splitlines():
                job_id, _, command = line.strip().partition("|")
                if command == script and job_id.isdigit():
                    return job_id
    return None


def _words(answer: Answer) -> str:
    return " ".join((answer.stderr or answer.stdout).split()) or f"exit code {answer.exit_code}"
