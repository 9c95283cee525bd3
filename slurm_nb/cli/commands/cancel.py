"""slurm-nb cancel"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import click

from slurm_nb.cli.console import answer_json, complain, say, say_notices, slow_noted
from slurm_nb.cli.options import clusters_option, job_ids_argument, json_option, last_option
from slurm_nb.cli.sessions import UserContext, pass_user
from slurm_nb.cli.views import unresolved_line
from slurm_nb.diagnosis.outcome import is_over
from slurm_nb.errors import SlurmNbError, UserError
from slurm_nb.operations.cancel import Cancelled, cancel
from slurm_nb.operations.lookup import find_last_session, find_session
from slurm_nb.scheduler.job import Phase
from slurm_nb.session.pending import recover, unreadable
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store

_SLOW_S = 12.0  # kernels are given 10 s to shut down


@click.command("cancel")
@job_ids_argument
@last_option
@clusters_option
@click.option("--all", "cancel_all", is_flag=True, help="Cancel all of your active sessions.")
@json_option
@pass_user
def command(
    user: UserContext,
    *,
    names: tuple[str, ...],
    last: bool,
    clusters: str | None,
    cancel_all: bool,
    as_json: bool,
) -> None:
    """Cancel sessions, by job id or job name, and remove their tokens."""
    if bool(names) + last + cancel_all != 1:
        raise click.UsageError("add the JOBIDs to cancel, --last or --all")
    failures: list[SlurmNbError] = []
    sessions, broken = (
        _all(user.store, clusters) if cancel_all else _chosen(user.store, names, clusters)
    )
    failures += broken
    with slow_noted("Waiting for the jobs to end...", after_s=_SLOW_S):
        done = list(_told(cancel(sessions, store=user.store), quiet=cancel_all))
    failures += [each.error for each in done if each.error]
    jobs = [_record(each) for each in done]
    for failure in failures[:-1]:
        complain(failure)
    if failures:
        failures[-1].record = {"jobs": jobs}
        raise failures[-1]
    if as_json:
        answer_json({"jobs": jobs})


def _record(each: Cancelled) -> dict[str, object]:
    return {
        "job_id": each.session.job_id,
        "cluster": each.session.cluster,
        "state": each.state.slurm_state if each.state else None,
        "already_ended": each.already,
        "error": str(each.error) if each.error else None,
    }


def _all(store: Store, cluster: str | None) -> tuple[list[Session], list[UserError]]:
    """Return all sessions that may be active, even if their submission was interrupted.

    cluster: only sessions on this one.
    """
    unresolved = recover(store)
    sessions, broken = store.all()
    for pending in unresolved:
        say_notices([unresolved_line(pending)])
    broken += unreadable(store)
    there = [each for each in sessions if cluster in {None, each.cluster}]
    return [each for each in there if not is_over(store.outcome(each), time.time())], broken


def _chosen(
    store: Store, names: tuple[str, ...], cluster: str | None
) -> tuple[list[Session], list[UserError]]:
    sessions: dict[str, Session] = {}
    failures = []
    for name in dict.fromkeys(names):
        try:
            session = find_session(name, cluster=cluster, store=store)
            sessions[f"{session.cluster}/{session.job_id}"] = session
        except UserError as error:
            hint = error.hint
            if name.isdigit() and "not started by slurm-nb" in str(error):
                hint = f"cancel it with: scancel {name}"
            failures.append(UserError(str(error), hint=hint))
    if not names:
        session = find_last_session(store, cluster=cluster)
        sessions[session.job_id] = session
    return list(sessions.values()), failures


def _told(every: Iterable[Cancelled], *, quiet: bool) -> Iterator[Cancelled]:
    """Print the result for each session."""
    for each in every:
        job_id = each.session.job_id
        if each.already and not quiet:
            say(f"Job {job_id} had already ended: {each.state}")
        elif each.error:
            pass
        elif each.state is None:
            say(
                f"Cancellation of job {job_id} requested, but it has not ended yet. To remove its"
                f" token, run again later: slurm-nb cancel {job_id}"
            )
        elif each.state.phase is Phase.UNKNOWN:
            say(
                f"Cancellation of job {job_id} requested, but it is unknown whether it has ended"
                f" ({each.state.reason}). To check: slurm-nb status {job_id}"
            )
        elif not each.already and not each.error:
            say(f"Cancelled job {job_id}.")
        yield each
