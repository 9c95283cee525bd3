"""Find a session by job id or name, or the last one."""

from __future__ import annotations

import os

from slurm_nb.diagnosis.outcome import is_proven
from slurm_nb.errors import UserError
from slurm_nb.job.text import refuse_control_characters
from slurm_nb.session.pending import recover
from slurm_nb.session.session import Session, is_job_id
from slurm_nb.session.store import Store

_LISTED = "list your sessions: slurm-nb list"
_MENTIONED = 5


def find_session(text: str, *, cluster: str | None = None, store: Store | None = None) -> Session:
    """Return the session with a job id (`7`, `local-7`) or a name (`--job-name`).

    cluster: the session's cluster, if several have this id. Among sessions with the same name it
    prefers the only active one. store: by default the user's. Raises `UserError` if there is no
    such session, if several match, or if its files are not safe.
    """
    store = store or Store.of_user(os.environ)
    refuse_control_characters("session", text)
    if is_job_id(text):
        if not store.has(text):
            recover(store)
        return store.load(text, cluster=cluster)
    named = [each for each in _all(store, cluster) if each.job_name == text]
    going = [each for each in named if not is_proven(store.outcome(each))]
    if not named:
        raise UserError(f"{text!r} is not the job id or name of a session", hint=_LISTED)
    if len(going or named) == 1:
        return (going or named)[0]
    return _one_of(going or named, text)


def find_last_session(store: Store, *, cluster: str | None = None) -> Session:
    """Return the session submitted last. Raises `UserError` if there are no sessions."""
    recover(store)
    sessions = _all(store, cluster)
    if not sessions:
        raise UserError("--last: you have no sessions", hint="start one: slurm-nb submit")
    return sessions[0]


def newest_first(sessions: list[Session]) -> list[Session]:
    """Return the sessions in order of submission, the last one first."""
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
        hint=f"use a job id; {_LISTED}",
    )
