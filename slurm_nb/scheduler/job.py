"""Jobs, their states, and the interface of a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from slurm_nb.errors import SubmissionUnknown

if TYPE_CHECKING:  # only `submit` needs it
    from slurm_nb.job.spec import JobSpec

LOCAL = "local"


@dataclass(frozen=True)
class Job:
    """A job, with everything needed to query its scheduler."""

    job_id: str
    """`7`, or `local-7` without Slurm."""
    cluster: str
    """Slurm's ClusterName, or `local`."""
    needs_cluster_option: bool = False
    """Whether queries need `-M cluster`, because it is not the login node's own."""
    script: str | None = None
    """The path of the submitted script in Slurm (squeue's %o), which is unique."""


class Phase(Enum):
    """The phase of a job."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"
    """The query failed; never treated as the end of the job."""


@dataclass(frozen=True)
class JobState:
    """The state of a job in its scheduler."""

    phase: Phase
    slurm_state: str
    """The state in Slurm: `RUNNING`, `OUT_OF_MEMORY`."""
    reason: str = ""
    """The reason in Slurm: `Priority`; or why the state is unknown."""
    script: str | None = None
    """The path of the job script in Slurm, which is unique."""
    user: str | None = None
    node: str | None = None
    """The node that runs the job script."""
    end_time: str | None = None
    """When the time limit ends the job, in local time: `2026-11-23T14:00:00`."""
    start_time: str | None = None
    """When it started, or when Slurm expects it to start: `2026-11-23T12:00:00`."""
    exit_code: str | None = None
    """From accounting, after the end: `1:0`, the exit code and the signal."""
    by_uid: int | None = None
    """The user who cancelled it, if accounting knows."""
    id_reused: bool = False
    """Whether Slurm shows another job with this id: ours has ended, or is on another cluster."""
    missing: bool = field(default=False, metadata={"later": True})
    """Whether Slurm answered without showing the job, which proves nothing."""
    repeated: bool = field(default=False, metadata={"later": True})
    """Whether only squeue shows the end, as it did before: a wrapper may repeat a saved answer."""
    denied: bool = field(default=False, metadata={"later": True})
    """Whether the controller of the job's cluster has answered that the job does not exist."""

    def __str__(self) -> str:
        return f"{self.slurm_state} ({self.reason})" if self.reason else self.slurm_state


@dataclass(frozen=True)
class Resources:
    """The resources of a job, or those it requests while it is pending; None: unknown."""

    partition: str | None
    account: str | None
    qos: str | None
    cpus: int | None
    mem: str | None
    """Per node: `8G`."""
    gres: str | None
    """`gres:gpu:1`."""


class JobFiles(Protocol):
    """The locations of job files; `Store` keeps them in the state directory."""

    @property
    def jobs_folder(self) -> Path:
        """The folder of scripts and outputs."""

    def script_path(self, job_id: str) -> Path:
        """Return the path of a job's script."""

    def log_path(self, job_id: str) -> Path:
        """Return the path of a job's output."""

    def process_path(self, job: Job) -> Path:
        """Return the path of the process record of a job on this machine."""

    def needs_second_witness(self, job: Job) -> bool:
        """Return whether the next answer that shows a job as ended would prove its end."""

    def claim_local_id(self) -> str:
        """Return an id that no other job on this machine has. Raises `UserError`."""


class Scheduler(Protocol):
    """The interface to Slurm, or to this machine in its place."""

    def cluster(self) -> str:
        """Return the name of the cluster that `submit` submits to, without submitting anything.

        Raises `SchedulerError` if there is no cluster, or it does not respond.
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
        """Submit `script`; the caller saves the job before anything else.

        before: called with the unique path of the script, just before the submission. tell: called
        with the messages of the scheduler, one per line; say: with each line while Slurm makes
        sbatch try again.

        Raises `SchedulerError` if the scheduler rejects the job, `SubmissionUnknown` if there may
        or may not be a job.
        """

    def hosts_of(self, job: Job, node: str) -> list[str]:
        """Return other names and addresses of the job's node; never raises."""

    def recover(self, lost: SubmissionUnknown, *, cluster: str) -> Job:
        """Find the job of a lost answer; raise `lost` if it does not appear in a while."""

    def states(
        self, jobs: Iterable[Job], *, unexplained: Collection[str] | None = None
    ) -> dict[str, JobState]:
        """Return the state of each job of one cluster, by job id, with a single query.

        unexplained: ids of jobs to look up in accounting if they have ended; None: those that
        squeue no longer shows. Never raises: after a failed query the states are UNKNOWN.
        """

    def how_ended(self, states: Mapping[str, JobState], job: Job) -> dict[str, JobState]:
        """Complete the `states` of ended jobs from accounting; `job` is any of them."""

    def cancel(self, job: Job) -> None:
        """Cancel `job`, unless it has ended. Raises `SchedulerError`."""
