"""Sessions on disk: what a later process needs to find a job, its output and its token.

STATE/                           0700; SLURM_NB_HOME, else $XDG_STATE_HOME/slurm-nb,
                                 else ~/.local/state/slurm-nb
  jobs/7_submission.sh           the job script as submitted
  jobs/7_0_log.out               the job's output (names as submitit makes them)
  submitting/                    0700, submissions that have no answer yet: pending.py
  answers/CLUSTER.json           0600, what Slurm said last: state_cache.py
  sessions/CLUSTER/7/            0700
    session.json                 0600, written by slurm-nb on the login node
    ended.json                   0600, how it ended, once that is known
    activity.json                0600, written by the job: how idle it is
    token                        0600, written by the job
    nonce                        0600, written by the job
"""

from __future__ import annotations

import re
from dataclasses import dataclass
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
    """`HOST` or `HOST:PORT` as the laptop reaches it; None: never found out."""
    local_port: int | None = None
    """The port that the user wants on the laptop; None: the job's own."""
    auth: Auth = "token"
    """Whether the URL carries the token, or Jupyter asks for the password."""
    python: str | None = None
    """Path of an interpreter that the node has: what looks at the session there is run by it."""
    job_name: str | None = None
    submitted_at: int | None = None
    """Seconds since the epoch."""
    options: tuple[str, ...] = ()
    """The words of a command line that submits the same again: `("--time=90",)`."""
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
    """Whether `text` can be the id of a session: `7`, `local-7`."""
    return _JOB_ID.fullmatch(text) is not None


# What session.json, which is flat, says of the job.
_JOB_KEYS = ("job_id", "cluster", "other_cluster", "script")


def to_record(session: Session) -> dict[str, Any]:
    """Return what `session.json` holds: its keys are those of the first version."""
    record = encode(session)
    return {"version": 1, **record.pop("job"), **record}


def from_record(record: object) -> Session:
    """Return the session that `session.json` holds. Raises `ValueError`."""
    if not isinstance(record, dict):
        raise ValueError("no object")  # noqa: TRY004
    rest = {key: value for key, value in record.items() if key not in _JOB_KEYS}
    if rest.pop("version", None) != 1 or "ready" not in rest or "job" in rest:
        raise ValueError("version")
    job = {key: record[key] for key in _JOB_KEYS if key in record}
    return decode(Session, {**rest, "job": job})


@dataclass(frozen=True)
class Activity:
    """What the job notes of itself in activity.json; not to be trusted."""

    active_at: int | None
    """When something last ran in it, seconds since the epoch; None: right now."""
    idle_stop_at: int | None = None
    """When it would stop for that, if nothing happens."""
    memory_fraction: float | None = None
    """Of its limit."""
    kernels: int = 0


def option_of(session: Session, name: str) -> str | None:
    """The value of an option that the session was submitted with: `4G` for `mem`."""
    start = f"--{name}="
    found = [word for word in session.options if word.startswith(start)]
    return found[-1].removeprefix(start) if found else None
