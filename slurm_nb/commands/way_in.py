"""What submit prints when Jupyter is ready."""

from __future__ import annotations

import time

from slurm_nb.connection.connection import WayIn
from slurm_nb.job.spec import JobSpec
from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import LOCAL, JobState, Phase
from slurm_nb.session.session import Session, option_of
from slurm_nb.times import duration, seconds_until, time_limit_s

_HOST_KEY = """ The first time on a node, ssh asks
   whether you trust its key."""


def way_in(reached: WayIn) -> str:
    """The lines for stdout: the command, the URL and what to know of them, and what comes next."""
    session, ready, state = reached.session, reached.ready, reached.state
    connection, job_id = reached.connection, session.job_id
    host_key = "" if ready.address else _HOST_KEY
    ends = state.end_time.replace("T", " ") if state.end_time else "when you cancel it"
    if state.phase is Phase.UNKNOWN:
        ends = "not known, Slurm does not answer now"
    return f"""
Jupyter runs on {ready.node}, job {job_id}.

1. On your laptop, run this and leave it running.{host_key}
   It prints nothing:

{connection.command}

2. Open in the laptop's browser:

{connection.url}
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
    if ready.address:
        keys = "password and the token open" if session.auth == "password" else "token opens"
        lines.append(f"Anybody on the cluster's network can knock at {ready.address}:{ready.port};")
        leg = "." if ready.fingerprint else ". The last leg is not encrypted (--tls does that)."
        lines.append(f"only the {keys} it{leg}")
    if ready.fingerprint:
        lines.append("The browser warns of the certificate, which this job has made. Its SHA-256")
        lines.append(f"fingerprint must be {ready.fingerprint}")
    if session.cluster == LOCAL and ready.port:
        lines.append(f"(On this machine itself no tunnel is needed: same URL, port {ready.port}.)")
    return "".join(f"{line}\n" for line in lines)
