"""slurm-nb cancel"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import click

from slurm_nb.api import Cancelled, cancel
from slurm_nb.commands.options import job_ids_argument
from slurm_nb.commands.screen import complain, say, slow_noted
from slurm_nb.errors import BadValue, SlurmNbError
from slurm_nb.session import Session, Store


@click.command("cancel")
@job_ids_argument
@click.option(
    "--all", "cancel_all", is_flag=True, help="Every session of yours that has not ended."
)
def command(job_ids: list[str], *, cancel_all: bool) -> None:
    """Cancel sessions and remove their tokens."""
    if bool(job_ids) == cancel_all:
        raise click.UsageError("name the JOBIDs to cancel, or give --all")
    store = Store.of_user(os.environ)
    failures: list[SlurmNbError] = []
    sessions, unreadable = store.all() if cancel_all else _load(store, job_ids)
    failures += unreadable
    with slow_noted():
        told = _told(cancel(sessions), quiet=cancel_all)
        failures += [each.error for each in told if each.error]
    for failure in failures[:-1]:
        complain(failure)
    if failures:
        raise failures[-1]


def _load(store: Store, job_ids: list[str]) -> tuple[list[Session], list[BadValue]]:
    sessions, failures = [], []
    for job_id in job_ids:
        try:
            sessions.append(store.load(job_id))
        except BadValue as error:
            hint = error.hint
            if job_id.isdigit() and "not started by slurm-nb" in str(error):
                hint = f"to cancel it all the same: scancel {job_id}"
            failures.append(BadValue(str(error), hint=hint))
    return sessions, failures


def _told(every: Iterable[Cancelled], *, quiet: bool) -> Iterator[Cancelled]:
    """Say what became of each."""
    for each in every:
        job_id = each.session.job_id
        if each.already and not quiet:
            say(f"job {job_id} had ended already: {each.state}")
        elif each.state is None:
            say(
                f"cancelled job {job_id}, but Slurm has not ended it yet;"
                f" to see to it that its token is removed: slurm-nb cancel {job_id}"
            )
        elif not each.already and not each.error:
            say(f"cancelled job {job_id}")
        yield each
