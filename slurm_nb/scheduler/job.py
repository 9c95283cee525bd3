"""Jobs as a scheduler sees them, and what slurm-nb asks of a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from slurm_nb.errors import SubmissionUnknown
from slurm_nb.job.spec import JobSpec

LOCAL = "local"


@dataclass(frozen=True)
class Job:
    """A job, such that its scheduler can be asked about it."""

    job_id: str
    """`7`, or `local-7` without Slurm."""
    cluster: str
    """Slurm's ClusterName, or `local`."""
    needs_cluster_option: bool = False
    """Whether Slurm must be asked with `-M cluster`: it is not the login node's own."""
    script: str | None = None
    """Path that Slurm shows of the submitted script (squeue's %o): no other job's."""


class Phase(Enum):
    """How far a job is, as far as it matters here."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"
    """Nobody could say; never taken for an ending."""


@dataclass(frozen=True)
class JobState:
    """A job as its scheduler sees it."""

    phase: Phase
    slurm_state: str
    """Slurm's own word: `RUNNING`, `OUT_OF_MEMORY`."""
    reason: str = ""
    """Slurm's own: `Priority`; or why nothing is known."""
    script: str | None = None
    """Path of the job script, as Slurm shows it; no other job's."""
    user: str | None = None
    node: str | None = None
    """Where the job script runs."""
    end_time: str | None = None
    """When the time limit falls, in this machine's time: `2026-11-23T14:00:00`."""
    start_time: str | None = None
    """When it started, or when Slurm expects it to start: `2026-11-23T12:00:00`."""
    exit_code: str | None = None
    """Of a job that ended, as accounting has it: `1:0`, the exit code and the signal."""
    by_uid: int | None = None
    """Who cancelled it, where accounting knows."""
    id_reused: bool = False
    """Whether what Slurm shows of this id is another job; ours is over, or was never this, or is
    on another cluster."""

    def __str__(self) -> str:
        return f"{self.slurm_state} ({self.reason})" if self.reason else self.slurm_state


class JobFiles(Protocol):
    """Where the files of jobs are; `Store` has them in the state directory."""

    @property
    def jobs_folder(self) -> Path:
        """The folder of scripts and outputs."""

    def script_path(self, job_id: str) -> Path:
        """Return where the script of a job is kept."""

    def log_path(self, job_id: str) -> Path:
        """Return where the output of a job goes."""

    def process_path(self, job: Job) -> Path:
        """Return where the process of a job of this machine is noted."""

    def claim_local_id(self) -> str:
        """Return an id that no other job of this machine has. Raises `UserError`."""


class Scheduler(Protocol):
    """What slurm-nb asks of Slurm, and of this machine in its place."""

    def cluster(self) -> str:
        """The name of the cluster that `submit` submits to; nothing is submitted yet.

        Raises `SchedulerError` when there is none, or it does not answer.
        """

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
        """Have `script` run; the caller saves the job before anything else.

        `before` is called with the path of the script, which is no other job's, when everything
        is ready but nothing is submitted yet. `tell` is given what was said beside the answer, a
        line each; `say` each line while Slurm makes sbatch try again.

        Raises `SchedulerError` when it is refused, `SubmissionUnknown` when nobody knows.
        """

    def hosts_of(self, job: Job, node: str) -> list[str]:
        """Return other names and addresses of the job's node; never raises."""

    def recover(self, lost: SubmissionUnknown, *, cluster: str) -> Job:
        """Find the job whose answer was lost; raises `lost` when it is not found in a while."""

    def states(
        self, jobs: Iterable[Job], *, unexplained: Collection[str] | None = None
    ) -> dict[str, JobState]:
        """The state of each job of one cluster, by job id; one question, however many they are.

        unexplained: ids of jobs of which is asked at once how they ended, if they have; None: of
        those that are gone.
        Never raises: who can't be asked is UNKNOWN.
        """

    def how_ended(self, states: Mapping[str, JobState], job: Job) -> dict[str, JobState]:
        """`states` of jobs that ended, with what accounting adds; `job` is any of them."""

    def cancel(self, job: Job) -> None:
        """Ask for the end of `job`; one that is over is no error. Raises `SchedulerError`."""
