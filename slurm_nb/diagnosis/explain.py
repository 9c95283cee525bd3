"""How a job ended, in words: the cause, what shows it, and what to do next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from slurm_nb.diagnosis.causes import CAUSES, NAMING, SHARED, Cause
from slurm_nb.diagnosis.outcome import FORGOTTEN, Outcome
from slurm_nb.errors import UserError
from slurm_nb.joblog.events import Progress
from slurm_nb.joblog.nodes import is_node
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.times import time_limit_s

_CHARS = 500
_LAST_LINES = 15
_MEM = re.compile(r"([1-9]\d{0,14})([KMGT]?B?)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class _Job:
    """A job that has ended, and what Slurm and its output say about it."""

    job_id: str
    state: JobState
    progress: Progress
    tail: Sequence[str]
    cancelled_by: str | None

    @property
    def unsure(self) -> bool:
        """Whether Slurm does not (yet) say how the job ended."""
        return self.state.phase is not Phase.ENDED or self.state.slurm_state == FORGOTTEN


def explain(  # noqa: PLR0913  one keyword per requested resource
    job_id: str,
    state: JobState,
    progress: Progress,
    tail: Sequence[str],
    *,
    at: int = 0,
    mem: str | None = None,
    time: str | None = None,
    exclude: str | None = None,
    cancelled_by: str | None = None,
    repeatable: bool = True,
) -> Outcome:
    """Return why the job ended, from Slurm's state, the job's reports and its last lines.

    at: when slurm-nb noticed the end, in seconds since the epoch; 0: unknown. mem, time, exclude:
    the values passed to sbatch: `8G`, `2:00:00`, `c[3-5]`. cancelled_by: the user who cancelled
    it, if another one: `root`. repeatable: whether `--again` knows its options, which it does not
    if the user ran sbatch directly.
    """
    job = _Job(job_id, state, progress, [line.rstrip("\r") for line in tail], cancelled_by)
    values = {
        "again": f"slurm-nb submit --again {job_id}" if repeatable else "slurm-nb submit",
        "mem": _twice_mem(mem),
        "time": _twice_time(time),
        "who": _short(cancelled_by or ""),
        "node": _node(job) or "its node",
        "exclude": _exclude(_node(job), exclude),
        "exit_code": str(progress.exit_code),
        "cure": _short(progress.failure.cure if progress.failure else ""),
    }
    outcome = partial(
        Outcome, state.slurm_state, state.reason, at=at, end_time=state.end_time, node=state.node
    )
    for cause in CAUSES:
        line = _last_match(cause.line, job) if cause.line else ""
        if not _fits(cause, job, line):
            continue
        text = cause.text.format(found=_word(cause, progress), **values)
        cure = cause.cure.format(**values)
        if cause.failed and not line and progress.failure and not progress.failure.known:
            return outcome(cause=cause.word, text=text, evidence=_last(tail), cure=cure)
        if line and state.slurm_state not in NAMING:  # a notebook can print such a line
            text = f"according to its output, {text}"
        said = "" if cause.stopping or cause.failed else _said(state, progress)
        return outcome(cause=cause.word, text=text, evidence=_short(line) or said, cure=cure)
    if not progress.started and not tail and state.slurm_state in {"FAILED", "COMPLETED"}:
        return outcome(
            cause="unknown",
            text="the job ran, but its output did not reach this host",
            evidence=_said(state, progress),
            cure=f"look again in a minute; {values['node']} may have another file system at the"
            f" state directory: {SHARED}",
        )
    return outcome(
        cause="unknown",
        text=f"the cause is unknown: {_said(state, progress)}",
        evidence=_last(tail),
        cure=f"read the job's output: `slurm-nb logs {job_id}`; then run `{values['again']}`",
    )


def _fits(cause: Cause, job: _Job, line: str) -> bool:
    """Return whether every condition of the row holds; `line`: the matching line of the output."""
    state, progress = job.state, job.progress
    said = state.slurm_state in cause.states
    by_itself = bool(cause.line or cause.exit_codes)
    failure = progress.failure.text if progress.failure else ""
    return (
        (not cause.states or said or (job.unsure and by_itself))
        and (not cause.line or line != "" or (said and state.slurm_state in NAMING))
        and (not cause.reason or not state.reason or _is(cause.reason, state.reason))
        and (not cause.exit_codes or progress.exit_code in cause.exit_codes)
        and (cause.started is None or progress.started is cause.started)
        and (not cause.pending or (not progress.started and state.node is None))
        and (not cause.silent or not job.tail)
        and (not cause.by_other or job.cancelled_by is not None)
        and (not cause.stopping or (progress.stopping and progress.stopping.kind) == cause.stopping)
        and (not cause.failed or (failure != "" and _is(cause.failed, failure)))
    )


def _last_match(pattern: str, job: _Job) -> str:
    """Return the last line that matches and names no other job; empty without one."""
    for line in reversed(job.tail):
        match = re.fullmatch(pattern, line)
        if match and {*match.groupdict().values()} <= {job.job_id, None}:
            return line
    return ""


def _word(cause: Cause, progress: Progress) -> str:
    """Return the text that the session or the job printed."""
    if cause.stopping and progress.stopping:
        return _short(progress.stopping.text)
    return _short(progress.failure.text) if cause.failed and progress.failure else ""


def _is(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text) is not None


def _said(state: JobState, progress: Progress) -> str:
    """Return Slurm's state and the exit code that the job script reported."""
    code = f", exit code {progress.exit_code}" if progress.exit_code is not None else ""
    return _short(f"{state}{code}")


def _node(job: _Job) -> str | None:
    return job.state.node if job.state.node and is_node(job.state.node) else None


def _exclude(node: str | None, already: str | None) -> str:
    """Return ` --exclude c1` with the nodes excluded before: --again uses the last value only."""
    nodes = ",".join(filter(None, (already, node)))
    return f" --exclude {shlex.quote(nodes)}" if node else ""


def _twice_mem(mem: str | None) -> str:
    match = _MEM.fullmatch(mem or "")
    return f"{2 * int(match[1])}{match[2]}" if match else "SIZE"


def _twice_time(time: str | None) -> str:
    try:
        seconds = time_limit_s(time) if time else None
    except UserError:
        seconds = None
    if seconds is None:
        return "TIME"
    days, rest = divmod(2 * seconds, 86400)
    clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock


def _last(tail: Iterable[str]) -> str:
    return "\n".join(_short(line) for line in list(tail)[-_LAST_LINES:])


def _short(text: str) -> str:
    """Return the text on one line, cut to a readable length."""
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= _CHARS else f"{text[: _CHARS - 3]}..."
