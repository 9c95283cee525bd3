"""slurm-nb status"""

from __future__ import annotations

import time

import click

from slurm_nb.cli.console import answer_json, on_a_line, say_notices, slow_noted
from slurm_nb.cli.options import UserContext, json_option, pass_user, session_argument
from slurm_nb.cli.views import clock_time, idle, record, time_left_s
from slurm_nb.diagnosis.describe import describe, stands_still
from slurm_nb.diagnosis.explain import explain
from slurm_nb.diagnosis.outcome import Outcome
from slurm_nb.joblog.events import Progress
from slurm_nb.operations.listing import SessionStatus, find_entry
from slurm_nb.scheduler import place_in_queue
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.session.session import Activity, Session
from slurm_nb.times import duration, when

_WIDTH = 11
_PUT_BACK = ("preempted", "node-failed")


@click.command("status")
@session_argument
@json_option
@pass_user
def command(user: UserContext, *, session: Session, as_json: bool) -> None:
    """Say how a session stands: why it waits, when it ends, how idle it is, or why it ended."""
    store = user.store
    with slow_noted():
        entry, problem = find_entry(store, session)
        place = place_in_queue(session.job) if _is_in_line(entry.state) else None
    log = store.log(session)
    progress = log.read()
    now_s = time.time()
    if as_json:
        more = {
            "place_in_queue": place[0] if place else None,
            "waiting_jobs": place[1] if place else None,
            "ready": progress.ready is not None
            and entry.state.phase is Phase.RUNNING
            and entry.state.slurm_state != "COMPLETING",
            "warnings": [warning.text for warning in progress.warnings],
            "output": str(store.log_path(session.job_id)),
        }
        answer_json({**record(entry, now_s), **more})
    else:
        lines = _lines(entry, progress, place, now_s)
        if entry.state.phase is Phase.PENDING and progress.started:
            lines.append(("Before", _how_it_came_back(entry, progress, log.tail())))
        lines.append(("Output", str(store.log_path(session.job_id))))
        click.echo("\n".join(f"{name + ':':{_WIDTH}}{on_a_line(text)}" for name, text in lines))
    if problem:
        age = f"; shown is what it said at {clock_time(entry.as_of)}" if entry.as_of else ""
        say_notices([f"Slurm does not answer ({problem}){age}"])


def _is_in_line(state: JobState) -> bool:
    """Whether it waits for its turn: a job that is held has no priority."""
    return state.phase is Phase.PENDING and not state.reason.startswith("JobHeld")


def _lines(
    entry: SessionStatus, progress: Progress, place: tuple[int, int] | None, now_s: float
) -> list[tuple[str, str]]:
    session, state = entry.session, entry.state
    name = f" ({session.job_name})" if session.job_name else ""
    lines = [("Job", f"{session.job_id}{name}, cluster {session.cluster}")]
    lines.append(("State", describe(state, session.job_id)))
    if session.submitted_at:
        lines.append(("Submitted", clock_time(session.submitted_at)))
    if place:
        lines.append(("Queue", f"number {place[0]} of the {place[1]} jobs that wait there"))
    if state.node:
        lines.append(("Node", state.node))
    if entry.outcome:
        return lines + _how_it_ended(entry.outcome)
    left_s = time_left_s(entry, now_s)
    if left_s is not None and state.end_time:
        lines.append(("Ends", f"{when(state.end_time)}, in {duration(left_s)}"))
    if state.phase is Phase.RUNNING:
        lines += _how_it_runs(entry, progress, now_s)
    return lines


def _how_it_runs(entry: SessionStatus, progress: Progress, now_s: float) -> list[tuple[str, str]]:
    job_id, activity = entry.session.job_id, entry.activity
    if entry.state.slurm_state == "COMPLETING":
        return [("Jupyter", f"ending; what became of it: slurm-nb status {job_id}")]
    if progress.ready is None:
        return [("Jupyter", f"not ready; to wait for it: slurm-nb wait {job_id}")]
    still = stands_still(entry.state, job_id)
    lines = [("Jupyter", still[0] if still else f"ready; the way in: slurm-nb tunnel-cmd {job_id}")]
    if activity:
        lines.append(("Idle", f"{idle(entry, now_s)}{_idle_stop(entry, activity, now_s)}"))
        if activity.memory_fraction is not None:
            lines.append(("Memory", f"{activity.memory_fraction:.0%} of its limit"))
    return lines + [("Warning", warning.text) for warning in progress.warnings]


def _idle_stop(entry: SessionStatus, activity: Activity, now_s: float) -> str:
    """`; stops at 2026-11-23 14:00`, unless the time limit is before."""
    at, left_s = activity.idle_stop_at, time_left_s(entry, now_s)
    if at is None or (left_s is not None and at > now_s + left_s):
        return ""
    return f"; stops at {clock_time(at)}"


def _how_it_came_back(entry: SessionStatus, progress: Progress, tail: list[str]) -> str:
    """Of a job that waits, and has run before."""
    before = explain(entry.session.job_id, JobState(Phase.UNKNOWN, "UNKNOWN"), progress, tail)
    why = f": {before.text}" if before.cause in _PUT_BACK else ""
    return f"it ran, and was put back in the queue{why}; it will start anew"


def _how_it_ended(outcome: Outcome) -> list[tuple[str, str]]:
    lines = [("Ended", when(outcome.end_time))] if outcome.end_time else []
    lines.append(("Why", outcome.text))
    lines += [("Evidence", line) for line in outcome.evidence.splitlines()]
    return [*lines, ("Next", outcome.cure)]
