"""Sessions on disk: how a later process finds a job, its output and its token.

STATE/                           0700; SLURM_NB_HOME, else $XDG_STATE_HOME/slurm-nb,
                                 else ~/.local/state/slurm-nb
  jobs/7_submission.sh           the job script as submitted
  jobs/7_0_log.out               the job's output (names as submitit makes them)
  submitting/                    0700, submissions without an answer yet: pending.py
  answers/CLUSTER.json           0600, the last states from Slurm: state_cache.py
  sessions/CLUSTER/7/            0700
    session.json                 0600, written by slurm-nb on the login node
    ended.json                   0600, how it ended
    witness.json                 0600, since when Slurm has said that it is over
    submission                   0600, written by the job: which submission the next three are of
    activity.json                0600, written by the job: how idle it is
    token                        0600, written by the job
    nonce                        0600, written by the job
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from slurm_nb.job.spec import Auth
from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import Job
from slurm_nb.session.records import decode, encode

_JOB_ID = re.compile(r"\d+|local-\d+", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Session:
    """One submitted job."""

    job: Job
    login_host: str | None = None
    """`HOST` or `HOST:PORT` as the laptop reaches it; None: unknown."""
    login_is_guess: bool = field(default=False, metadata={"later": True})
    """Whether ssh on the laptop may know the login node by another name."""
    local_port: int | None = None
    """The port on the laptop that the user chose; None: the job's default."""
    auth: Auth = "token"
    """Whether the URL contains the token, or Jupyter asks for the password."""
    python: str | None = None
    """The path of an interpreter on the node, which runs the audit."""
    job_name: str | None = None
    submitted_at: int | None = None
    """Seconds since the epoch."""
    submission: str | None = field(default=None, metadata={"later": True})
    """What the script, its lines in the output and its files carry, and those of no other job of
    the same id; None: submitted by hand, or by an older version."""
    output_start: int = field(default=0, metadata={"later": True})
    """Where in the output the job's own part begins: an earlier job of the same id wrote before."""
    options: tuple[str, ...] = ()
    """The words of a command line that resubmits the session: `("--time=90",)`."""
    ready: Ready | None = None

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.job.job_id

    @property
    def cluster(self) -> str:
        """The job's cluster."""
        return self.job.cluster


def is_job_id(text: str) -> bool:
    """Return whether `text` can be the id of a session: `7`, `local-7`."""
    return _JOB_ID.fullmatch(text) is not None


# The keys of the job in session.json, which is flat.
_JOB_KEYS = ("job_id", "cluster", "other_cluster", "script")


def to_record(session: Session) -> dict[str, Any]:
    """Return the object in `session.json`, with the keys of the first version."""
    record = encode(session)
    return {"version": 1, **record.pop("job"), **record}


def from_record(record: object) -> Session:
    """Return the session in `session.json`. Raises `ValueError`."""
    if not isinstance(record, dict):
        raise ValueError("no object")  # noqa: TRY004
    rest = {key: value for key, value in record.items() if key not in _JOB_KEYS}
    if rest.pop("version", None) != 1 or "ready" not in rest or "job" in rest:
        raise ValueError("version")
    job = {key: record[key] for key in _JOB_KEYS if key in record}
    return decode(Session, {**rest, "job": job})


@dataclass(frozen=True)
class Activity:
    """The job's own report in activity.json; untrusted."""

    active_at: int | None
    """When something last ran in it, in seconds since the epoch; None: now."""
    idle_stop_at: int | None = None
    """When it will stop if nothing runs until then."""
    memory_fraction: float | None = None
    """The part of its memory limit in use."""
    kernels: int = 0


def option_of(session: Session, name: str) -> str | None:
    """Return the value of an option of the session: `4G` for `mem`."""
    start = f"--{name}="
    found = [word for word in session.options if word.startswith(start)]
    return found[-1].removeprefix(start) if found else None
