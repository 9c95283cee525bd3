"""slurm-nb cancel"""

from __future__ import annotations

import os
import time
from itertools import groupby

import click

from slurm_nb.commands.options import job_ids_argument
from slurm_nb.commands.screen import complain, say, slow_noted
from slurm_nb.errors import BadValue, SlurmNbError
from slurm_nb.scheduler import JobState, Phase, Scheduler, scheduler
from slurm_nb.session import Session, Store

# Seconds between looks whether a cancelled job is gone: KillWait is 30 s by default
# (slurm.conf(5)), and most jobs go at once.
_LOOK_AFTER_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0)


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
    sessions.sort(key=lambda session: session.cluster)
    with slow_noted():
        for cluster, group in groupby(sessions, key=lambda session: session.cluster):
            failures += _cancel(scheduler(cluster), list(group), store, quiet=cancel_all)
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


def _cancel(
    jobs: Scheduler, sessions: list[Session], store: Store, *, quiet: bool
) -> list[SlurmNbError]:
    failures: list[SlurmNbError] = []
    cancelled = []
    for session, state in _with_states(jobs, sessions):
        if state.phase is Phase.ENDED:
            if not state.foreign:
                store.forget_secrets(session)
            if not quiet:
                say(f"job {session.job_id} had ended already: {state}")
            continue
        try:
            jobs.cancel(session)
            cancelled.append(session)
        except SlurmNbError as error:
            failures.append(error)
    _await_end(jobs, cancelled, store)
    return failures


def _await_end(jobs: Scheduler, cancelled: list[Session], store: Store) -> None:
    """See each job gone and remove its secrets; say which of them take their time."""
    for pause_s in (0.0, *_LOOK_AFTER_S):
        time.sleep(pause_s)
        lasting = []
        for session, state in _with_states(jobs, cancelled):
            if state.phase is Phase.ENDED:
                store.forget_secrets(session)
                say(f"cancelled job {session.job_id}")
            else:
                lasting.append(session)
        cancelled = lasting
        if not cancelled:
            return
    for session in cancelled:
        say(
            f"cancelled job {session.job_id}, but Slurm has not ended it yet;"
            f" to see to it that its token is removed: slurm-nb cancel {session.job_id}"
        )


def _with_states(jobs: Scheduler, sessions: list[Session]) -> list[tuple[Session, JobState]]:
    states = jobs.states(sessions) if sessions else {}
    return [(session, states[session.job_id]) for session in sessions]
