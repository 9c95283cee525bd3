"""slurm-nb logs"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import click

from slurm_nb.cli.console import answer_json, say, visible
from slurm_nb.cli.options import json_option
from slurm_nb.cli.sessions import UserContext, pass_user, session_argument
from slurm_nb.errors import NotReady, UserError
from slurm_nb.joblog.readable import readable
from slurm_nb.joblog.tail import lines_of, problem_of, tail_of
from slurm_nb.scheduler import scheduler
from slurm_nb.scheduler.job import Phase
from slurm_nb.session.ending import judge
from slurm_nb.session.session import Session
from slurm_nb.session.settle import job_ended
from slurm_nb.session.state_cache import JobStateCache

_ASK_EVERY_S = 29.0


@click.command("logs")
@session_argument
@click.option("-f", "--follow", is_flag=True, help="Print new lines until the job ends.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), metavar="N", help="Print the last N lines."
)
@json_option
@pass_user
def command(
    user: UserContext, *, session: Session, follow: bool, lines: int | None, as_json: bool
) -> None:
    """Print a session's output: the log of Jupyter."""
    store = user.store
    path = store.log_path(session.job_id)
    shared = JobStateCache(store, scheduler(session.cluster, store), session.cluster)

    def over() -> bool:
        state = shared.state(session.job, max_age_s=_ASK_EVERY_S)
        return judge(store, session, state, time.time()).state.phase is Phase.ENDED

    if problem := problem_of(path):
        raise UserError(
            f"cannot read {path}: {problem}",
            hint=f"show its status: slurm-nb status {session.job_id}",
        )
    if _size(path) <= session.output_start:
        nothing = f"job {session.job_id} has no output yet"
        if follow:
            say(nothing)
        elif (outcome := store.outcome(session)) and outcome.proven:
            raise job_ended(store, session, outcome)
        else:
            found = "is empty" if path.exists() else "does not exist"
            raise NotReady(
                f"{nothing}: {path} {found}",
                hint=f"show its status: slurm-nb status {session.job_id}",
            )
    if as_json and follow:
        raise click.UsageError("use either --follow or --json")
    if as_json:
        shown = list(_end_of(path, lines, session.output_start))
        answer_json({"job_id": session.job_id, "cluster": session.cluster, "lines": shown})
        return
    try:
        first = session.output_start
        start = max(tail_of(path, lines) if lines is not None else 0, first)
        shown_lines = readable(lines_of(path, start, over=over)) if follow else None
        for line in shown_lines or _end_of(path, lines, first):
            click.echo(visible(line))
    except KeyboardInterrupt:
        say(f"Job {session.job_id} keeps running.")


def _end_of(path: Path, lines: int | None, start: int) -> Iterable[str]:
    """Return the last lines, or all, without the blank lines before those of the job."""
    if lines is None:
        return readable(lines_of(path, start))
    return deque(readable(lines_of(path, max(tail_of(path, 2 * lines), start))), maxlen=lines)


def _size(path: Path) -> int:
    """Return the size in bytes; 0 if there is no file."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
