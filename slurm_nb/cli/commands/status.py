"""slurm-nb status"""

from __future__ import annotations

import time
from dataclasses import asdict, fields

import click

from slurm_nb.cli.console import answer_json, on_a_line, say_notices, slow_noted
from slurm_nb.cli.options import json_option
from slurm_nb.cli.sessions import UserContext, pass_user, session_argument
from slurm_nb.cli.views import clock_time, idle, record, time_left_s
from slurm_nb.connection.readiness import is_of_earlier_run, last_ready
from slurm_nb.diagnosis.describe import describe, stands_still
from slurm_nb.diagnosis.explain import explain
from slurm_nb.diagnosis.outcome import Outcome
from slurm_nb.joblog.events import Progress
from slurm_nb.joblog.reader import JobLog
from slurm_nb.operations.listing import SessionStatus, find_entry
from slurm_nb.scheduler import place_in_queue, resources_of
from slurm_nb.scheduler.job import JobState, Phase, Resources
from slurm_nb.session.session import Activity, Session, option_of
from slurm_nb.times import duration, when

_WIDTH = 11
_PUT_BACK = ("preempted", "node-failed")
_RESOURCES = tuple(field.name for field in fields(Resources))
_UIS = {"notebook": "Jupyter Notebook", "lab": "JupyterLab"}


@click.command("status")
@session_argument
@json_option
@pass_user
def command(user: UserContext, *, session: Session, as_json: bool) -> None:
    """Show why a session waits, when it ends, or why it ended."""
    store = user.store
    with slow_noted():
        entry, problem = find_entry(store, session)
        resources = None if _is_over(entry) else resources_of(session.job)
        partition = resources.partition if resources else None
        place = (
            place_in_queue(session.job, partition)
            if partition and _is_in_line(entry.state)
            else None
        )
    log = store.log(session)
    progress = log.read()
    now_s = time.time()
    if as_json:
        more = {
            **(asdict(resources) if resources else dict.fromkeys(_RESOURCES)),
            "directory": option_of(session, "notebook-dir"),
            "ui": option_of(session, "ui"),
            "place_in_queue": place[0] if place else None,
            "waiting_jobs": place[1] if place else None,
            "ready": last_ready(session, log) is not None
            and not is_of_earlier_run(entry.state, log)
            and entry.state.phase is Phase.RUNNING
            and entry.state.slurm_state != "COMPLETING",
            "warnings": [warning.text for warning in progress.warnings],
            "output": str(store.log_path(session.job_id)),
        }
        answer_json({**record(entry, now_s), **more})
    else:
        lines = _lines(entry, log, place, now_s)
        lines += _what_it_has(session, resources)
        if entry.state.phase is Phase.PENDING and progress.started:
            lines.append(("Before", _how_it_came_back(entry, progress, log.tail())))
        lines.append(("Output", str(store.log_path(session.job_id))))
        click.echo("\n".join(f"{name + ':':{_WIDTH}}{on_a_line(text)}" for name, text in lines))
    if problem:
        age = f". This was its state at {clock_time(entry.as_of)}" if entry.as_of else ""
        say_notices([f"Slurm does not respond ({problem}){age}"])


def _is_over(entry: SessionStatus) -> bool:
    return entry.outcome is not None or entry.state.phase not in {Phase.PENDING, Phase.RUNNING}


def _is_in_line(state: JobState) -> bool:
    """Return whether the job waits for its turn: a held job has no priority."""
    return state.phase is Phase.PENDING and not state.reason.startswith("JobHeld")


def _lines(
    entry: SessionStatus, log: JobLog, place: tuple[int, int] | None, now_s: float
) -> list[tuple[str, str]]:
    session, state = entry.session, entry.state
    name = f" ({session.job_name})" if session.job_name else ""
    lines = [("Job", f"{session.job_id}{name}, cluster {session.cluster}")]
    lines.append(("State", describe(state, session.job_id)))
    if session.submitted_at:
        lines.append(("Submitted", clock_time(session.submitted_at)))
    if place:
        lines.append(("Place", f"number {place[0]} of {place[1]} pending jobs in the partition"))
    if state.node:
        lines.append(("Node", state.node))
    if entry.outcome:
        return lines + _how_it_ended(entry.outcome)
    left_s = time_left_s(entry, now_s)
    if left_s is not None and state.end_time:
        lines.append(("Ends", f"{when(state.end_time)}, in {duration(left_s)}"))
    if state.phase is Phase.RUNNING or state.missing:
        lines += _how_it_runs(entry, log, now_s)
    return lines


def _what_it_has(session: Session, resources: Resources | None) -> list[tuple[str, str]]:
    lines = []
    if resources:
        cpus = f"{resources.cpus} CPU{'' if resources.cpus == 1 else 's'}" if resources.cpus else ""
        mem = f"{resources.mem} of memory" if resources.mem else ""
        gres = (resources.gres or "").removeprefix("gres:").removeprefix("gres/")
        lines.append(("Resources", ", ".join(filter(None, (cpus, mem, gres)))))
        places = (
            ("partition", resources.partition),
            ("account", resources.account),
            ("QOS", resources.qos),
        )
        lines.append(("Queue", ", ".join(f"{name} {each}" for name, each in places if each)))
    ui, folder = option_of(session, "ui"), option_of(session, "notebook-dir")
    if ui and folder:
        lines.append(("Directory", f"{folder} ({_UIS.get(ui, ui)})"))
    return [(name, text) for name, text in lines if text]


def _how_it_runs(entry: SessionStatus, log: JobLog, now_s: float) -> list[tuple[str, str]]:
    job_id, activity = entry.session.job_id, entry.activity
    if entry.state.slurm_state == "COMPLETING":
        return [("Jupyter", "ending; Slurm is cleaning up after the job")]
    if log.problem:
        return [("Jupyter", f"unknown; cannot read its output: {log.problem}")]
    if last_ready(entry.session, log) is None or is_of_earlier_run(entry.state, log):
        return [("Jupyter", f"starting; to wait for it: slurm-nb wait {job_id}")]
    still = stands_still(entry.state, job_id)
    lines = [("Jupyter", still[0] if still else f"ready; to connect: slurm-nb tunnel-cmd {job_id}")]
    if activity:
        lines.append(("Idle", f"{idle(entry, now_s)}{_idle_stop(entry, activity, now_s)}"))
        if activity.memory_fraction is not None:
            lines.append(("Memory", f"{activity.memory_fraction:.0%} of its limit"))
    return lines + [("Warning", warning.text) for warning in log.progress.warnings]


def _idle_stop(entry: SessionStatus, activity: Activity, now_s: float) -> str:
    """Return `; stops at 2026-11-23 14:00`, or nothing if the time limit is earlier."""
    at, left_s = activity.idle_stop_at, time_left_s(entry, now_s)
    if at is None or (left_s is not None and at > now_s + left_s):
        return ""
    return f"; stops at {clock_time(at)}"


def _how_it_came_back(entry: SessionStatus, progress: Progress, tail: list[str]) -> str:
    """Return why a pending job was requeued."""
    before = explain(entry.session.job_id, JobState(Phase.UNKNOWN, "UNKNOWN"), progress, tail)
    why = f": {before.text}" if before.cause in _PUT_BACK else ""
    return f"the job ran and was requeued{why}; it will start again"


def _how_it_ended(outcome: Outcome) -> list[tuple[str, str]]:
    lines = [("Ended", when(outcome.end_time))] if outcome.end_time else []
    lines.append(("Why", outcome.text))
    lines += [("Evidence", line) for line in outcome.evidence.splitlines()]
    return [*lines, ("Next", outcome.cure)]
