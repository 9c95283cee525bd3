"""Which session is meant: by job id, by name, or the last one."""

from __future__ import annotations

import os

from slurm_nb.errors import UserError
from slurm_nb.job.spec import refuse_control_characters
from slurm_nb.session.pending import recover
from slurm_nb.session.session import Session, is_job_id
from slurm_nb.session.store import Store

_LISTED = "they are listed by: slurm-nb list"
_MENTIONED = 5


def find_session(text: str, *, cluster: str | None = None, store: Store | None = None) -> Session:
    """Return the session of a job id (`7`, `local-7`) or of a name, as `--job-name` gave it.

    cluster: where there is one of that id on more than one. Of several with one name the only one
    that has not ended is meant. store: by default the user's. Raises `UserError` when there is
    none, when it is not clear which one is meant, or when it is not to be trusted.
    """
    store = store or Store.of_user(os.environ)
    refuse_control_characters("session", text)
    if is_job_id(text):
        if not store.has(text):
            recover(store)
        return store.load(text, cluster=cluster)
    named = [each for each in _all(store, cluster) if each.job_name == text]
    going = [each for each in named if store.outcome(each) is None]
    if not named:
        raise UserError(f"{text!r} is no job id and no session's name", hint=_LISTED)
    if len(going or named) == 1:
        return (going or named)[0]
    return _one_of(going or named, text)


def find_last_session(store: Store, *, cluster: str | None = None) -> Session:
    """The session that was submitted last. Raises `UserError` when there is none."""
    recover(store)
    sessions = _all(store, cluster)
    if not sessions:
        raise UserError("--last: there is no session", hint="start one: slurm-nb submit")
    return sessions[0]


def newest_first(sessions: list[Session]) -> list[Session]:
    """In the order in which they were submitted, the last one first."""
    return sorted(
        sessions,
        key=lambda each: (each.submitted_at or 0, int(each.job_id.rpartition("-")[2])),
        reverse=True,
    )


def _all(store: Store, cluster: str | None) -> list[Session]:
    return newest_first([each for each in store.all()[0] if cluster in {None, each.cluster}])


def _one_of(sessions: list[Session], text: str) -> Session:
    ids = [each.job_id for each in sessions]
    more = f" and {len(ids) - _MENTIONED} more" if len(ids) > _MENTIONED else ""
    raise UserError(
        f"{text!r} is the name of {len(ids)} sessions: {', '.join(ids[:_MENTIONED])}{more}",
        hint=f"say which one by its job id; {_LISTED}",
    )
