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
from dataclasses import asdict, dataclass
from typing import Any

from slurm_nb.job.spec import Auth
from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import Job
from slurm_nb.session.records import is_text, is_text_or_none, is_time

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


def to_record(session: Session) -> dict[str, Any]:
    """Return what `session.json` holds: its keys are those of the first version."""
    record = asdict(session)
    job = record.pop("job")
    job["other_cluster"] = job.pop("needs_cluster_option")
    return {"version": 1, **job, **record}


def from_record(record: dict[str, Any]) -> Session:
    """From what `session.json` holds; raises `ValueError`, `TypeError` or `KeyError`."""
    values = dict(record)
    if values.pop("version") != 1:
        raise ValueError("version")
    ready = values.pop("ready")
    options = tuple(values.pop("options", ()))
    job = Job(
        values.pop("job_id"),
        values.pop("cluster"),
        values.pop("other_cluster", False),
        values.pop("script", None),
    )
    ready = Ready(**ready) if ready else None
    session = Session(**values, job=job, options=options, ready=ready)
    texts = (session.job_id, session.cluster, session.auth, *options)
    if not is_text(*texts) or not is_text_or_none(
        session.login_host, session.python, job.script, session.job_name
    ):
        raise TypeError("text")
    if not (session.submitted_at is None or is_time(session.submitted_at)):
        raise TypeError("time")
    ports = (session.local_port or 0, (session.ready.port or 0) if session.ready else 0)
    if not all(type(port) is int for port in ports):
        raise TypeError("port")
    return session


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
