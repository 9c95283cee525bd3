"""All of the user's sessions, with what Slurm says of them in one question."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from slurm_nb.diagnosis.outcome import FORGOTTEN, Outcome, is_certain, is_over
from slurm_nb.errors import UserError
from slurm_nb.operations.lookup import newest_first
from slurm_nb.scheduler import scheduler
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.session.pending import PendingSubmission, recover, unreadable
from slurm_nb.session.session import Activity, Session
from slurm_nb.session.settle import settle
from slurm_nb.session.state_cache import NO_STATES, CachedStates, JobStateCache, is_no_answer
from slurm_nb.session.store import Store

_NOT_ASKED = JobState(Phase.UNKNOWN, "UNKNOWN")


@dataclass(frozen=True)
class SessionStatus:
    """One session, as it stands."""

    session: Session
    state: JobState
    outcome: Outcome | None = None
    activity: Activity | None = None
    as_of: float | None = None
    """When Slurm last said that, if it does not answer now: seconds since the epoch."""


@dataclass(frozen=True)
class Listing:
    """Every session, the newest first."""

    entries: list[SessionStatus]
    broken: list[UserError]
    """What is wrong with sessions and submissions that can't be read."""
    unresolved: list[PendingSubmission]
    """Submissions of which nobody knows yet whether there is a job."""
    unanswered: dict[str, str]
    """Clusters that did not answer, and why."""


def list_sessions(store: Store, *, now: Callable[[], float] = time.time) -> Listing:
    """All sessions; each cluster is asked once, and its accounting once, if at all."""
    unresolved = recover(store)
    sessions, broken = store.all()
    entries: list[SessionStatus] = []
    unanswered: dict[str, str] = {}
    ordered = sorted(sessions, key=lambda each: each.cluster)
    for cluster, group in groupby(ordered, key=lambda each: each.cluster):
        found, problem = _of_cluster(store, cluster, list(group), now, broken)
        entries += found
        if problem:
            unanswered[cluster] = problem
    order = [(each.cluster, each.job_id) for each in newest_first(sessions)]
    place = {key: at for at, key in enumerate(order)}
    entries.sort(key=lambda entry: place[entry.session.cluster, entry.session.job_id])
    return Listing(entries, broken + unreadable(store), unresolved, unanswered)


def find_entry(store: Store, session: Session) -> tuple[SessionStatus, str]:
    """One session as it stands, and why Slurm did not answer (empty when it did)."""
    (entry,), problem = _of_cluster(store, session.cluster, [session], time.time, [])
    return entry, problem


def _of_cluster(
    store: Store,
    cluster: str,
    sessions: list[Session],
    now: Callable[[], float],
    broken: list[UserError],
) -> tuple[list[SessionStatus], str]:
    """The entries, and why the cluster did not answer; to `broken` what could not be removed."""
    known = {each.job_id: store.outcome(each) for each in sessions}
    asked = [each for each in sessions if not is_over(known[each.job_id], now())]
    shared = JobStateCache(store, scheduler(cluster, store), cluster, now=now)
    open_ended = {each.job_id for each in asked if not is_certain(known[each.job_id], now())}
    states = shared.ask((each.job for each in asked), unexplained=open_ended) if asked else {}
    fresh = {job_id for job_id, state in states.items() if _is_news(state, known[job_id], now())}
    problems = [state.reason for state in states.values() if is_no_answer(state)]
    saved = shared.load() if problems else NO_STATES
    entries = []
    for session in sessions:
        state = states.get(session.job_id)
        if state and session.job_id in fresh:
            settled = settle(store, session, state)
            broken += settled.left
            entries.append(SessionStatus(session, state, settled.outcome))
        else:
            entries.append(_entry(store, session, state, known[session.job_id], saved))
    return entries, problems[0] if problems else ""


def _entry(
    store: Store,
    session: Session,
    state: JobState | None,
    outcome: Outcome | None,
    saved: CachedStates,
) -> SessionStatus:
    """A session of which no new ending is known. state: None where Slurm was not asked."""
    as_of = None
    if state and is_no_answer(state) and session.job_id in saved.jobs:
        seen = saved.jobs[session.job_id]
        state, as_of = seen.state, seen.at
    state = state or _NOT_ASKED
    if outcome and (as_of or is_no_answer(state) or state.phase is Phase.ENDED):
        state = JobState(Phase.ENDED, outcome.slurm_state, outcome.reason, node=outcome.node)
        return SessionStatus(session, state, outcome, as_of=as_of)
    # One that had ended, and was put back into the queue, has not ended.
    activity = store.activity(session) if state.phase is Phase.RUNNING else None
    return SessionStatus(session, state, activity=activity, as_of=as_of)


def _is_news(state: JobState, outcome: Outcome | None, now_s: float) -> bool:
    """Return whether a job ended in a way not known yet: it may have been requeued since."""
    if state.phase is not Phase.ENDED:
        return False
    if outcome is None or not is_certain(outcome, now_s):
        return True
    return state.slurm_state not in {FORGOTTEN, outcome.slurm_state}
