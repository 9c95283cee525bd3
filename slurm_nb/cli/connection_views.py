"""How the commands show the way to a session that is ready."""

from __future__ import annotations

import time
from typing import Any

from slurm_nb.cli.console import bold, link, on_a_line
from slurm_nb.connection.connection import Connection
from slurm_nb.connection.login import Login
from slurm_nb.connection.tunnel import Tunnel
from slurm_nb.job.routes import ROUTES, route_to
from slurm_nb.job.spec import JobSpec
from slurm_nb.scheduler.job import LOCAL, JobState, Phase
from slurm_nb.session.session import Session, option_of
from slurm_nb.times import duration, seconds_until, time_limit_s, when

_LEAVE = (
    "In a new terminal on your laptop, leave this running until the session ends (it prints"
    " nothing):"
)
_TUNNEL = (
    _LEAVE,
    "Open in your laptop's browser, unless ssh has ended with an error:",
)
_RELAY = (
    "Run this in a new terminal on your laptop. It prints the URL when the page answers:",
    "The URL:",
)
_HOST_KEY = "The first time on a node, ssh asks you to confirm its host key.\n"


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


def connection_block(reached: Connection, login: Login, *, help_at: str = "") -> str:
    """Return the lines for stdout: the command, the URL, when the session ends, what to do next.

    help_at: where the site's users get help.
    """
    session, tunnel, job_id = reached.session, reached.tunnel, reached.session.job_id
    first, then = _RELAY if tunnel.route == "relay" else _TUNNEL
    guess = f"({login_note(login)})\n" if login.is_guess else ""
    return f"""
Jupyter is running on {reached.ready.node} (job {job_id}).

{first}
{_HOST_KEY if ROUTES[tunnel.route].to_node else ""}
{bold(tunnel.command)}
{guess}
{then}

{link(tunnel.url)}
{_below_the_url(session, reached)}
Ends:        {_ends(session, reached.state)}
Status:      slurm-nb status {job_id}
Show again:  slurm-nb tunnel-cmd {job_id}
Cancel:      slurm-nb cancel {job_id}{_help(help_at)}"""


def _help(help_at: str) -> str:
    return f"\nHelp:        {on_a_line(help_at)}" if help_at else ""


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
    exposes = ROUTES[route_to(ready.address)].exposes
    if exposes:
        keys = "password and the token give" if session.auth == "password" else "token gives"
        lines.append(exposes.format(end=f"{ready.address}:{ready.port}"))
        lines.append(f"but only the {keys} access.")
        if not ready.fingerprint and reached.tunnel.route == "direct":
            lines.append(
                "Traffic between login node and compute node is not encrypted (use --tls)."
            )
    if ready.fingerprint:
        lines.append("The browser warns about the job's self-signed certificate. Its SHA-256")
        lines.append(f"fingerprint must be {ready.fingerprint}")
    if session.cluster == LOCAL and ready.port:
        lines.append(f"(On this machine you need no tunnel: same URL, port {ready.port}.)")
    return "".join(f"{line}\n" for line in lines)
