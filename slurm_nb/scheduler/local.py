"""Jobs without Slurm: the same script as a process of this machine, in its own session.

Linux only: recognises processes by /proc (proc(5)).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from slurm_nb.errors import SchedulerError, SubmissionUnknown, UserError
from slurm_nb.files import open_regular, read_small, write_private
from slurm_nb.job.spec import JobSpec
from slurm_nb.scheduler.environment import job_environment
from slurm_nb.scheduler.job import LOCAL, Job, JobFiles, JobState, Phase
from slurm_nb.scheduler.process import Process
from slurm_nb.times import time_limit_s

_KILL_AFTER_S = 30
_POLL_S = 0.1
_LONGEST_BYTES = 1 << 16


@dataclass(frozen=True)
class _Leader(Process):
    """The leader of a local job."""

    end_time: str | None = None


class Local:
    """This machine instead of Slurm."""

    def __init__(self, files: JobFiles) -> None:
        self._files = files

    def cluster(self) -> str:
        """Return `local`."""
        return LOCAL

    def hosts_of(self, job: Job, node: str) -> list[str]:
        """Return none: it is this machine."""
        return []

    def submit(  # noqa: PLR0913  all but the first two are by name
        self,
        script: str,
        spec: JobSpec,
        *,
        cluster: str,
        before: Callable[[Path], None],
        tell: Callable[[list[str]], None],
        say: Callable[[str], None] = lambda _: None,
    ) -> Job:
        """Start `script`, which keeps running after this process and its shell have ended."""
        if spec.sbatch_options:
            raise UserError(
                f"{spec.sbatch_options[0]!r}: sbatch options have no effect with --local",
                options=("cluster", "sbatch-options"),
            )
        job = Job(self._files.claim_local_id(), cluster)
        script_path = self._files.script_path(job.job_id)
        before(script_path)
        write_private(script_path, script)
        limit_s = time_limit_s(spec.time) if spec.time else None
        argv = ["bash", str(script_path), job.job_id]
        end = datetime.now() + timedelta(seconds=limit_s) if limit_s else None  # noqa: DTZ005  local
        if end:
            end_at = str(int(end.timestamp()))  # rounded down
            argv = ["timeout", f"--kill-after={_KILL_AFTER_S}", str(limit_s), *argv, end_at]

        def lead() -> None:
            """Save a record of the job's process from inside it, so that no job runs unrecorded."""
            leader = _Leader(
                **asdict(Process.here(os.getpid())),
                end_time=end.isoformat(timespec="seconds") if end else None,
            )
            write_private(self._files.process_path(job), json.dumps(asdict(leader)))

        _start(argv, self._files.log_path(job.job_id), spec.notebook_dir, lead)
        return job

    def recover(self, lost: SubmissionUnknown, *, cluster: str) -> Job:
        """Raise `lost`; slurm-nb never loses the answer of its own child process."""
        raise lost

    def how_ended(self, states: Mapping[str, JobState], job: Job) -> dict[str, JobState]:
        """Return `states`, because there is no accounting."""
        return dict(states)

    def states(
        self, jobs: Iterable[Job], *, unexplained: Collection[str] | None = None
    ) -> dict[str, JobState]:
        """Return RUNNING while the leader exists, then ENDED; UNKNOWN on another host."""
        return {job.job_id: _state(job, self._files.process_path(job)) for job in jobs}

    def cancel(self, job: Job) -> None:
        """Send SIGTERM, and SIGKILL to the remaining processes; return when they have ended."""
        path = self._files.process_path(job)
        state = _state(job, path)
        if state.phase is Phase.UNKNOWN:
            raise SchedulerError(
                f"cannot cancel {job.job_id} from here: {state.reason}",
                hint="cancel it on the machine where it runs",
            )
        if state.phase is Phase.ENDED:
            return
        record = _record(path)
        if record and record.alive():
            _signal(os.kill, record.pid, signal.SIGTERM)
            deadline = time.monotonic() + _KILL_AFTER_S
            while record.alive() and time.monotonic() < deadline:
                time.sleep(_POLL_S)
            if record.alive():
                _signal(os.killpg, record.pid, signal.SIGKILL)
        for pid in _marked(job):  # processes that a killed leader left behind
            _signal(os.kill, pid, signal.SIGKILL)


def _start(argv: list[str], log: Path, folder: Path, lead: Callable[[], None]) -> None:
    """Start the process and call `lead` in it first; if that raises, the process ends."""

    def prepare() -> None:
        lead()
        _unblock_signals()

    environ = job_environment(os.environ, also={"TMPDIR"})  # this machine is also the job's node
    try:
        with open(open_regular(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "wb") as output:
            subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environ,
                start_new_session=True,
                preexec_fn=prepare,  # noqa: PLW1509  this program has one thread
            )
    except subprocess.SubprocessError as error:
        raise UserError(
            f"cannot write to {log.parent.parent}",
            hint="nothing was started; check whether the disk is full: df -h",
        ) from error
    except OSError as error:
        raise SchedulerError(f"cannot start {argv[0]}: {error}") from error


def _unblock_signals() -> None:
    """Unblock the signals that the caller blocks, because SIGTERM must be able to end the job."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _record(path: Path) -> _Leader | None:
    """Return the leader of a job; None if the job never started."""
    try:
        return _Leader(**json.loads(read_small(path, _LONGEST_BYTES)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"cannot read {path}", hint="remove its directory") from error


def _state(job: Job, path: Path) -> JobState:
    try:
        record = _record(path)
    except UserError as error:
        return JobState(Phase.UNKNOWN, "UNKNOWN", str(error))
    if record and record.elsewhere():
        return JobState(Phase.UNKNOWN, "UNKNOWN", f"it was started on {record.host}")
    # Even without a record: slurm-nb may have been killed before it wrote one.
    if (record and record.alive()) or _marked(job):
        return JobState(Phase.RUNNING, "RUNNING", end_time=record.end_time if record else None)
    return JobState(Phase.ENDED, "ENDED", "" if record else "it never started")


def _marked(job: Job) -> list[int]:
    """Return the user's processes that have the session's mark in their environment.

    The job script sets it. Root can read those of other users, who have sessions of the same id.
    """
    mark = f"SLURM_NB_SESSION={job.cluster}/{job.job_id}".encode()
    pids = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            ours = path.stat().st_uid == os.geteuid()
            if ours and mark in path.read_bytes().split(b"\0"):
                pids.append(int(path.parent.name))
        except OSError:
            continue
    return pids


def _signal(send: Callable[[int, int], None], pid: int, number: int) -> None:
    try:
        send(pid, number)
    except ProcessLookupError:
        return
