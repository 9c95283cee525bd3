"""slurm-nb logs"""

from __future__ import annotations

from pathlib import Path

import click

from slurm_nb.cli.console import say, visible
from slurm_nb.cli.options import UserContext, pass_user, session_argument
from slurm_nb.errors import NotReady
from slurm_nb.joblog.tail import lines_of, tail_of
from slurm_nb.scheduler import scheduler
from slurm_nb.scheduler.job import Phase
from slurm_nb.session.session import Session
from slurm_nb.session.settle import job_ended
from slurm_nb.session.state_cache import JobStateCache

_ASK_EVERY_S = 29.0


@click.command("logs")
@session_argument
@click.option("-f", "--follow", is_flag=True, help="Go on as it grows, until the job has ended.")
@click.option("-n", "--lines", type=click.IntRange(min=0), metavar="N", help="The last N lines.")
@pass_user
def command(user: UserContext, *, session: Session, follow: bool, lines: int | None) -> None:
    """Print the output of a session's job: the log of its Jupyter."""
    store = user.store
    path = store.log_path(session.job_id)
    shared = JobStateCache(store, scheduler(session.cluster, store), session.cluster)

    def over() -> bool:
        return shared.state(session.job, max_age_s=_ASK_EVERY_S).phase is Phase.ENDED

    if not _size(path):
        nothing = f"job {session.job_id} has written nothing yet"
        if follow:
            say(nothing)
        elif outcome := store.outcome(session):
            raise job_ended(store, session, outcome)
        else:
            found = "is empty" if path.exists() else "is not there"
            raise NotReady(
                f"{nothing}: {path} {found}",
                hint=f"how it stands: slurm-nb status {session.job_id}",
            )
    start = tail_of(path, lines) if lines is not None else 0
    try:
        for line in lines_of(path, start, over=over if follow else None):
            click.echo(visible(line))
    except KeyboardInterrupt:
        say(f"job {session.job_id} goes on")


def _size(path: Path) -> int:
    """In bytes; 0 where there is no file."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
