"""Jobs as a scheduler sees them, and what slurm-nb asks of a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from slurm_nb.errors import SubmissionUnknown
from slurm_nb.job.spec import JobSpec
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store

LOCAL = "local"


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
    word: str
    """Slurm's own: `RUNNING`, `OUT_OF_MEMORY`."""
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
    foreign: bool = False
    """Whether what Slurm shows of this id is another job; ours is over, or was never this, or is
    on another cluster."""

    def __str__(self) -> str:
        return f"{self.word} ({self.reason})" if self.reason else self.word


class Scheduler(Protocol):
    """What slurm-nb asks of Slurm, and of this machine in its place."""

    def cluster(self) -> str:
        """The name of the cluster that `submit` submits to; nothing is submitted yet.

        Raises `SchedulerError` when there is none, or it does not answer.
        """

    def submit(  # noqa: PLR0913  all but the first three are by name
        self,
        script: str,
        spec: JobSpec,
        store: Store,
        *,
        cluster: str,
        before: Callable[[Path], None],
        tell: Callable[[list[str]], None],
        say: Callable[[str], None] = lambda _: None,
    ) -> Session:
        """Have `script` run; the caller saves the session before anything else.

        `before` is called with the path of the script, which is no other job's, when everything
        is ready but nothing is submitted yet. `tell` is given what was said beside the answer, a
        line each; `say` each line while Slurm makes sbatch try again.

        Raises `SchedulerError` when it is refused, `SubmissionUnknown` when nobody knows.
        """

    def hosts_of(self, session: Session, node: str) -> list[str]:
        """Return other names and addresses of the session's node; never raises."""

    def recover(self, lost: SubmissionUnknown, *, cluster: str) -> Session:
        """Find the job whose answer was lost; raises `lost` when it is not found in a while."""

    def states(
        self, sessions: Iterable[Session], *, unexplained: Collection[str] | None = None
    ) -> dict[str, JobState]:
        """The state of each job of one cluster, by job id; one question, however many they are.

        unexplained: ids of jobs of which is asked at once how they ended, if they have; None: of
        those that are gone.
        Never raises: who can't be asked is UNKNOWN.
        """

    def how_ended(self, states: Mapping[str, JobState], session: Session) -> dict[str, JobState]:
        """`states` of jobs that ended, with what accounting adds; `session` is any of them."""

    def cancel(self, session: Session) -> None:
        """Ask for the end of a job; one that is over is no error. Raises `SchedulerError`."""
