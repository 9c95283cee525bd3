"""How the commands show a session."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import datetime
from typing import Any

from slurm_nb.cli.console import bold, link
from slurm_nb.connection.connection import Connection
from slurm_nb.connection.login import Login
from slurm_nb.connection.tunnel import Tunnel
from slurm_nb.job.routes import route_to
from slurm_nb.job.spec import JobSpec
from slurm_nb.operations.listing import SessionStatus
from slurm_nb.scheduler.job import LOCAL, JobState, Phase
from slurm_nb.session.pending import PendingSubmission
from slurm_nb.session.session import Session, option_of
from slurm_nb.session.state_cache import is_no_answer
from slurm_nb.times import duration, seconds_until, time_limit_s, when

_HOST_KEY = "The first time on a node, ssh asks you to confirm its host key.\n"

HEADINGS = ("JOBID", "NAME", "STATE", "NODE", "TIME LEFT", "IDLE")


def row(entry: SessionStatus, now_s: float) -> tuple[str, ...]:
    """Return `("7", "analysis", "RUNNING", "c1", "3 h 05 min", "12 min")` for HEADINGS."""
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
    """Return the object that `list --json` and `status --json` print for a session."""
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
    """Return the time left to a running job; None if it is not running or has no limit."""
    if entry.state.phase is not Phase.RUNNING:
        return None
    return seconds_until(entry.state.end_time, now_s)


def idle_s(entry: SessionStatus, now_s: float) -> int | None:
    """Return how long the session has been idle; None if that is unknown."""
    if entry.activity is None:
        return None
    return max(0, int(now_s - (entry.activity.active_at or now_s)))


def idle(entry: SessionStatus, now_s: float) -> str:
    """Return `active`, `12 min`, or `-`."""
    seconds = idle_s(entry, now_s)
    if seconds is None:
        return "-"
    return "active" if entry.activity and entry.activity.active_at is None else duration(seconds)


def clock_time(epoch_s: float) -> str:
    """Return `2026-11-23 14:00`, in local time."""
    return datetime.fromtimestamp(epoch_s).strftime("%Y-%m-%d %H:%M")  # noqa: DTZ006  local


def unresolved_line(pending: PendingSubmission) -> str:
    """Return the message about a submission that may have created a job."""
    where = f"-M {pending.clusters} " if pending.clusters else ""
    return (
        f"A submission at {clock_time(pending.began_at)} was interrupted and may have created a"
        f" job that runs {pending.script}. Check with: squeue {where}--me -o '%i %o'"
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
    """Return the object that --json prints for a connection."""
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
        "server_url": tunnel.server_url if tunnel else None,
    }


def connection_block(reached: Connection, login: Login) -> str:
    """Return the lines for stdout: the command, the URL, when the session ends, what to do next."""
    session, tunnel, job_id = reached.session, reached.tunnel, reached.session.job_id
    to_node = session.cluster != LOCAL and route_to(reached.ready.address).to_node
    guess = f"({login_note(login)})\n" if login.is_guess else ""
    return f"""
Jupyter is running on {reached.ready.node} (job {job_id}).

In a new terminal on your laptop, leave this running until the session ends (it prints nothing):
{_HOST_KEY if to_node else ""}
{bold(tunnel.command)}
{guess}
Open in your laptop's browser, unless ssh has ended with an error:

{link(tunnel.url)}
{_below_the_url(session, reached)}
Ends:        {_ends(session, reached.state)}
Status:      slurm-nb status {job_id}
Show again:  slurm-nb tunnel-cmd {job_id}
Cancel:      slurm-nb cancel {job_id}"""


def login_note(login: Login) -> str:
    """Return that the printed login node is a guess, and what to do; empty if it is not."""
    if not login.is_guess:
        return ""
    return (
        f"{login.host} is a guess. If your ssh uses another name, set it: --login-host NAME, or"
        " login-host in your config file"
    )


def server_note(tunnel: Tunnel) -> str:
    """Return the URL for VS Code; empty if it is the browser's."""
    return "" if tunnel.server_url == tunnel.url else f"URL for VS Code: {tunnel.server_url}"


def _ends(session: Session, state: JobState) -> str:
    """Return `2026-11-23 14:00, or after 60 min without use`."""
    if state.phase is Phase.UNKNOWN:
        return f"unknown, because {state.reason if state.missing else 'Slurm does not respond'}"
    return f"{when(state.end_time) if state.end_time else 'when you cancel it'}" + _idle_stop(
        session, state
    )


def _idle_stop(session: Session, state: JobState) -> str:
    """Return `, or after 60 min without use`; empty if the time limit is earlier or unknown."""
    if session.submitted_at is None:
        return ""
    seconds = time_limit_s(option_of(session, "idle-timeout") or JobSpec.idle_timeout)
    left_s = seconds_until(state.end_time, time.time())
    if not seconds or (left_s is not None and left_s <= seconds):
        return ""
    return f", or after {duration(seconds)} without use"


def _below_the_url(session: Session, reached: Connection) -> str:
    ready, server = reached.ready, server_note(reached.tunnel)
    lines = [server] if server else []
    if session.auth == "password":
        lines.append("Jupyter asks for the password that you set with `slurm-nb password`.")
    exposes = route_to(ready.address).exposes
    if exposes:
        keys = "password and the token give" if session.auth == "password" else "token gives"
        lines.append(exposes.format(end=f"{ready.address}:{ready.port}"))
        lines.append(f"but only the {keys} access.")
        if not ready.fingerprint:
            lines.append(
                "Traffic between login node and compute node is not encrypted (use --tls)."
            )
    if ready.fingerprint:
        lines.append("The browser warns about the job's self-signed certificate. Its SHA-256")
        lines.append(f"fingerprint must be {ready.fingerprint}")
    if session.cluster == LOCAL and ready.port:
        lines.append(f"(On this machine you need no tunnel: same URL, port {ready.port}.)")
    return "".join(f"{line}\n" for line in lines)
