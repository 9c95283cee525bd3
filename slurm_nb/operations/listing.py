"""The user's sessions and their states, with one query per cluster."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from slurm_nb.diagnosis.outcome import FORGOTTEN, Outcome, is_certain, is_over, is_proven
from slurm_nb.errors import UserError
from slurm_nb.operations.lookup import newest_first
from slurm_nb.scheduler import scheduler
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.session.ending import Verdict, judge
from slurm_nb.session.pending import PendingSubmission, recover, unreadable
from slurm_nb.session.session import Activity, Session, option_of
from slurm_nb.session.settle import settle
from slurm_nb.session.state_cache import NO_STATES, CachedStates, JobStateCache, is_no_answer
from slurm_nb.session.store import APART_S, Store

_NOT_ASKED = JobState(Phase.UNKNOWN, "UNKNOWN")


@dataclass(frozen=True)
class SessionStatus:
    """A session and its current state."""

    session: Session
    state: JobState
    outcome: Outcome | None = None
    activity: Activity | None = None
    as_of: float | None = None
    """When Slurm last reported that, if it does not respond now: seconds since the epoch."""


@dataclass(frozen=True)
class Listing:
    """All sessions, the newest first."""

    entries: list[SessionStatus]
    broken: list[UserError]
    """The errors of unreadable sessions and submissions."""
    unresolved: list[PendingSubmission]
    """Submissions that may or may not have created a job."""
    unanswered: dict[str, str]
    """Clusters that did not respond, and why."""


def list_sessions(store: Store, *, now: Callable[[], float] = time.time) -> Listing:
    """Return all sessions, after at most one query of squeue and one of sacct per cluster."""
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
    """Return a session with its state, and why Slurm did not respond (empty if it did)."""
    (entry,), problem = _of_cluster(store, session.cluster, [session], time.time, [])
    return entry, problem


def find_active_session(store: Store, *, cluster: str | None = None) -> Session:
    """Return the only active session. Raises `UserError` if there is none or several.

    Queries Slurm only if several may be active, or none but a job could have been requeued.
    """
    recover(store)
    sessions = [each for each in store.all()[0] if cluster in {None, each.cluster}]
    active = [each for each in sessions if not is_proven(store.outcome(each))]
    over = all(is_over(store.outcome(each), time.time()) for each in sessions)
    if len(active) > 1 or not (active or over):
        entries = list_sessions(store, now=time.time).entries
        entries = [each for each in entries if each.session in sessions]
        living = [each.session for each in entries if each.state.phase is not Phase.ENDED]
        unproven = [each.session for each in entries if not is_proven(each.outcome)]
        active = living or unproven
    if len(active) == 1:
        return active[0]
    if not active:
        last = "; show the last one: slurm-nb status --last" if sessions else ""
        raise UserError("you have no active session", hint=f"start one: slurm-nb submit{last}")
    names = [f"{each.job_id} ({each.job_name})" if each.job_name else each.job_id
             for each in newest_first(active)]  # fmt: skip
    raise UserError(
        f"you have {len(active)} active sessions: {', '.join(names)}",
        hint="add a JOBID, or --last for the session submitted last",
    )


def too_large_for_all_nodes(session: Session) -> str:
    """Return why no node can run the session's job, after a query; empty if one can."""
    from slurm_nb.scheduler.choices import too_large  # noqa: PLC0415  rarely needed

    return too_large(
        option_of(session, "cpus-per-task"),
        option_of(session, "mem"),
        option_of(session, "partition"),
    )


def _of_cluster(
    store: Store,
    cluster: str,
    sessions: list[Session],
    now: Callable[[], float],
    broken: list[UserError],
) -> tuple[list[SessionStatus], str]:
    """Return the sessions and why the cluster did not respond; add failed removals to `broken`."""
    known = {each.job_id: store.outcome(each) for each in sessions}
    asked = [each for each in sessions if not is_over(known[each.job_id], now())]
    shared = JobStateCache(store, scheduler(cluster, store), cluster, now=now)
    open_ended = {
        each.job_id
        for each in asked
        if _is_open(known[each.job_id], now())
        and (known[each.job_id] or not _is_just_witnessed(store, each, now()))
    }
    states = shared.ask((each.job for each in asked), unexplained=open_ended) if asked else {}
    problems = [state.reason for state in states.values() if is_no_answer(state)]
    saved = shared.load() if problems else NO_STATES
    entries = []
    for session in sessions:
        state, outcome = states.get(session.job_id), known[session.job_id]
        if state:
            verdict = judge(store, session, state, now())
            state = verdict.state
            if _is_news(verdict, outcome, now()):
                settled = settle(store, session, verdict, now=now)
                broken += settled.left
                entries.append(SessionStatus(session, state, settled.outcome))
                continue
        entries.append(_entry(store, session, state, outcome, saved))
    return entries, problems[0] if problems else ""


def _entry(
    store: Store,
    session: Session,
    state: JobState | None,
    outcome: Outcome | None,
    saved: CachedStates,
) -> SessionStatus:
    """Return a session without news about its end; `state` is None without a query."""
    as_of = None
    if state and is_no_answer(state) and session.job_id in saved.jobs:
        seen = saved.jobs[session.job_id]
        if seen.state.phase is not Phase.ENDED or is_proven(outcome):
            state, as_of = seen.state, seen.at
    state = state or _NOT_ASKED
    silent = as_of is not None or state.slurm_state == "UNKNOWN"
    if outcome and (state.phase is Phase.ENDED or (silent and outcome.proven)):
        state = JobState(Phase.ENDED, outcome.slurm_state, outcome.reason, node=outcome.node)
        return SessionStatus(session, state, outcome, as_of=as_of)
    # A job that ended and was requeued has not ended.
    activity = store.activity(session) if state.phase is Phase.RUNNING else None
    return SessionStatus(session, state, activity=activity, as_of=as_of)


def _is_open(outcome: Outcome | None, now_s: float) -> bool:
    """Return whether to query Slurm for the end of a session."""
    if outcome is None or not outcome.proven:
        return True
    return outcome.slurm_state != FORGOTTEN and not is_certain(outcome, now_s)


def _is_just_witnessed(store: Store, session: Session, now_s: float) -> bool:
    """Return whether it is too early for a second witness; other sessions have their turn."""
    witness = store.witness(session)
    return witness is not None and 0 <= now_s - witness.at < APART_S


def _is_news(verdict: Verdict, outcome: Outcome | None, now_s: float) -> bool:
    """Return whether the job's end is new, or the job was requeued since it ended."""
    state = verdict.state
    if state.phase is not Phase.ENDED:
        return False
    if outcome is None or not is_certain(outcome, now_s) or verdict.proven > outcome.proven:
        return True
    return state.slurm_state not in {FORGOTTEN, outcome.slurm_state}
