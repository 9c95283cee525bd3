"""A session as `list` and `status` show it."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import datetime
from typing import Any

from slurm_nb.connection.connection import Connection
from slurm_nb.connection.login import Login
from slurm_nb.connection.tunnel import Tunnel
from slurm_nb.job.routes import route_to
from slurm_nb.job.spec import JobSpec
from slurm_nb.joblog.events import Ready
from slurm_nb.operations.listing import SessionStatus
from slurm_nb.scheduler.job import LOCAL, JobState, Phase
from slurm_nb.session.pending import PendingSubmission
from slurm_nb.session.session import Session, option_of
from slurm_nb.session.state_cache import is_no_answer
from slurm_nb.times import duration, seconds_until, time_limit_s

_HOST_KEY = """ The first time on a node, ssh asks
   whether you trust its key."""


HEADINGS = ("JOBID", "NAME", "STATE", "NODE", "TIME LEFT", "IDLE")


def row(entry: SessionStatus, now_s: float) -> tuple[str, ...]:
    """`("7", "analysis", "RUNNING", "c1", "3 h 05 min", "12 min")`, for HEADINGS."""
    session, state = entry.session, entry.state
    word = state.slurm_state if is_no_answer(state) else str(state)
    if entry.outcome:
        word = f"{state.slurm_state} ({entry.outcome.cause})"
    left_s = time_left_s(entry, now_s)
    return (
        session.job_id,
        session.job_name or "-",
        word,
        state.node or "-",
        "-" if left_s is None else duration(left_s),
        idle(entry, now_s),
    )


def record(entry: SessionStatus, now_s: float) -> dict[str, Any]:
    """The object that `--json` prints of a session."""
    session, state, activity = entry.session, entry.state, entry.activity
    return {
        "job_id": session.job_id,
        "cluster": session.cluster,
        "name": session.job_name,
        "submitted_at": session.submitted_at,
        "state": state.slurm_state,
        "reason": state.reason,
        "node": state.node,
        "start_time": state.start_time,
        "end_time": state.end_time,
        "time_left_s": time_left_s(entry, now_s),
        "idle_s": idle_s(entry, now_s),
        "idle_stop_at": activity.idle_stop_at if activity else None,
        "memory_fraction": activity.memory_fraction if activity else None,
        "kernels": activity.kernels if activity else None,
        "ended": _ended(entry),
        "as_of": int(entry.as_of) if entry.as_of else None,
    }


def time_left_s(entry: SessionStatus, now_s: float) -> int | None:
    """Until the time limit ends a job that runs."""
    if entry.state.phase is not Phase.RUNNING:
        return None
    return seconds_until(entry.state.end_time, now_s)


def idle_s(entry: SessionStatus, now_s: float) -> int | None:
    """For how long nothing happened; None where that is not known."""
    if entry.activity is None:
        return None
    return max(0, int(now_s - (entry.activity.active_at or now_s)))


def idle(entry: SessionStatus, now_s: float) -> str:
    """`active`, `12 min`, or `-`."""
    seconds = idle_s(entry, now_s)
    if seconds is None:
        return "-"
    return "active" if entry.activity and entry.activity.active_at is None else duration(seconds)


def clock_time(epoch_s: float) -> str:
    """`2026-11-23 14:00`, in this machine's time."""
    return datetime.fromtimestamp(epoch_s).strftime("%Y-%m-%d %H:%M")  # noqa: DTZ006  local


def unresolved_line(pending: PendingSubmission) -> str:
    """What to know of a submission that nobody knows the outcome of."""
    where = f"-M {pending.clusters} " if pending.clusters else ""
    return (
        f"a submission of {clock_time(pending.began_at)} was cut off, and may still become a job;"
        f" to look: squeue {where}--me -o '%i %o', for the one that runs {pending.script}"
    )


def _ended(entry: SessionStatus) -> dict[str, Any] | None:
    if entry.outcome is None:
        return None
    kept = ("cause", "text", "evidence", "cure", "at")
    return {name: value for name, value in asdict(entry.outcome).items() if name in kept}


def report(
    session: Session,
    state: JobState | None,
    *,
    tunnel: Tunnel | None = None,
    login: Login | None = None,
) -> dict[str, Any]:
    """The object that `--json` prints."""
    ready = session.ready if tunnel else None
    return {
        "job_id": session.job_id,
        "cluster": session.cluster,
        "state": state.slurm_state if state else None,
        "reason": state.reason if state else None,
        "node": ready.node if ready else None,
        "port": ready.port if ready else None,
        "socket": ready.socket if ready else None,
        "fingerprint": ready.fingerprint if ready else None,
        "local_port": tunnel.local_port if tunnel else None,
        "login_host": str(login) if login else None,
        "tunnel_command": tunnel.command if tunnel else None,
        "url": tunnel.url if tunnel else None,
    }


def connection_block(reached: Connection) -> str:
    """The lines for stdout: the command, the URL and what to know of them, and what comes next."""
    session, ready, state = reached.session, reached.ready, reached.state
    tunnel, job_id = reached.tunnel, session.job_id
    host_key = _HOST_KEY if route_to(ready.address).to_node else ""
    ends = state.end_time.replace("T", " ") if state.end_time else "when you cancel it"
    if state.phase is Phase.UNKNOWN:
        ends = "not known, Slurm does not answer now"
    return f"""
Jupyter runs on {ready.node}, job {job_id}.

1. On your laptop, run this and leave it running.{host_key}
   It prints nothing:

{tunnel.command}

2. Open in the laptop's browser:

{tunnel.url}
{_beside_the_url(session, ready)}
Ends:       {ends}{_idle_stop(session, state)}; then stop ssh (Ctrl-C)
How it is:  slurm-nb status {job_id}
See again:  slurm-nb tunnel-cmd {job_id}
Cancel:     slurm-nb cancel {job_id}"""


def _idle_stop(session: Session, state: JobState) -> str:
    """`, or after 60 min without use`; nothing where the time limit comes first.

    Nor for a session that slurm-nb has not submitted.
    """
    if session.submitted_at is None:
        return ""
    seconds = time_limit_s(option_of(session, "idle-timeout") or JobSpec.idle_timeout)
    left_s = seconds_until(state.end_time, time.time())
    if not seconds or (left_s is not None and left_s <= seconds):
        return ""
    return f", or after {duration(seconds)} without use"


def _beside_the_url(session: Session, ready: Ready) -> str:
    lines = []
    if session.auth == "password":
        lines.append("Jupyter asks for the password that you gave `slurm-nb password`.")
    exposes = route_to(ready.address).exposes
    if exposes:
        keys = "password and the token open" if session.auth == "password" else "token opens"
        lines.append(exposes.format(end=f"{ready.address}:{ready.port}"))
        leg = "." if ready.fingerprint else ". The last leg is not encrypted (--tls does that)."
        lines.append(f"only the {keys} it{leg}")
    if ready.fingerprint:
        lines.append("The browser warns of the certificate, which this job has made. Its SHA-256")
        lines.append(f"fingerprint must be {ready.fingerprint}")
    if session.cluster == LOCAL and ready.port:
        lines.append(f"(On this machine itself no tunnel is needed: same URL, port {ready.port}.)")
    return "".join(f"{line}\n" for line in lines)
