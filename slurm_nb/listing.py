"""All of the user's sessions, with what Slurm says of them in one question."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby

from slurm_nb.choose import newest_first
from slurm_nb.ended import FORGOTTEN, Ended, find_ended, is_certain, settle
from slurm_nb.errors import BadValue
from slurm_nb.intents import Intent, adopt, sweep, unreadable
from slurm_nb.job import kit
from slurm_nb.records import is_time, read_record
from slurm_nb.scheduler import JobState, Phase, scheduler
from slurm_nb.session import Session, Store
from slurm_nb.shared import Answers, SharedAnswers, is_no_answer
from slurm_nb.whereabouts import follow

_KEPT_S = 30 * 86400
_NOT_ASKED = JobState(Phase.UNKNOWN, "UNKNOWN")
# A job that ended can be put back into the queue by hand for as long as Slurm knows it.
_REQUEUED_WITHIN_S = 3600


@dataclass(frozen=True)
class Activity:
    """What the job notes of itself in activity.json; not to be trusted."""

    active_at: int | None
    """When something last ran in it, seconds since the epoch; None: right now."""
    idle_stop_at: int | None = None
    """When it would stop for that, if nothing happens."""
    memory_fraction: float | None = None
    """Of its limit."""
    kernels: int = 0


@dataclass(frozen=True)
class Entry:
    """One session, as it stands."""

    session: Session
    state: JobState
    ended: Ended | None = None
    activity: Activity | None = None
    as_of: float | None = None
    """When Slurm last said that, if it does not answer now: seconds since the epoch."""


@dataclass(frozen=True)
class Listing:
    """Every session, the newest first."""

    entries: list[Entry]
    broken: list[BadValue]
    """What is wrong with sessions and submissions that can't be read."""
    doubtful: list[Intent]
    """Submissions of which nobody knows yet whether there is a job."""
    unanswered: dict[str, str]
    """Clusters that did not answer, and why."""


def list_sessions(store: Store, *, now: Callable[[], float] = time.time) -> Listing:
    """All sessions; each cluster is asked once, and its accounting once, if at all."""
    doubtful = adopt(store)
    sessions, broken = store.all()
    entries: list[Entry] = []
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
    return Listing(entries, broken + unreadable(store), doubtful, unanswered)


def find_entry(store: Store, session: Session) -> tuple[Entry, str]:
    """One session as it stands, and why Slurm did not answer (empty when it did)."""
    (entry,), problem = _of_cluster(store, session.cluster, [session], time.time, [])
    return entry, problem


def _of_cluster(
    store: Store,
    cluster: str,
    sessions: list[Session],
    now: Callable[[], float],
    broken: list[BadValue],
) -> tuple[list[Entry], str]:
    """The entries, and why the cluster did not answer; to `broken` what could not be removed."""
    known = {each.job_id: find_ended(store, each) for each in sessions}
    asked = [each for each in sessions if not is_over(known[each.job_id], now=now)]
    shared = SharedAnswers(store, scheduler(cluster), cluster, now=now)
    open_ended = {each.job_id for each in asked if not _is_certain(known[each.job_id])}
    states = shared.ask(asked, unexplained=open_ended) if asked else {}
    fresh = {job_id for job_id, state in states.items() if _is_news(state, known[job_id])}
    problems = [state.reason for state in states.values() if is_no_answer(state)]
    saved = shared.load() if problems else Answers()
    entries = []
    for session in sessions:
        state, ended = states.get(session.job_id), known[session.job_id]
        if state and session.job_id in fresh:
            ended = settle(session, state, store, follow(session, store))
            broken += [] if state.foreign else store.forget_secrets(session)
            entries.append(Entry(session, state, ended))
        else:
            entries.append(_entry(store, session, state, ended, saved))
    return entries, problems[0] if problems else ""


def _entry(
    store: Store, session: Session, state: JobState | None, ended: Ended | None, saved: Answers
) -> Entry:
    """A session of which no new ending is known. state: None where Slurm was not asked."""
    as_of = None
    if state and is_no_answer(state) and session.job_id in saved.jobs:
        seen = saved.jobs[session.job_id]
        state, as_of = seen.state, seen.at
    state = state or _NOT_ASKED
    if ended and (as_of or is_no_answer(state) or state.phase is Phase.ENDED):
        state = JobState(Phase.ENDED, ended.word, ended.reason, node=ended.node)
        return Entry(session, state, ended, as_of=as_of)
    # One that had ended, and was put back into the queue, has not ended.
    activity = find_activity(store, session) if state.phase is Phase.RUNNING else None
    return Entry(session, state, activity=activity, as_of=as_of)


def _is_news(state: JobState, ended: Ended | None) -> bool:
    """Whether a job ended in a way that is not known yet: it may have been requeued since."""
    if state.phase is not Phase.ENDED:
        return False
    return not _is_certain(ended) or (
        ended is not None and state.word not in {FORGOTTEN, ended.word}
    )


def _is_certain(ended: Ended | None) -> bool:
    return ended is not None and is_certain(ended)


def is_over(ended: Ended | None, *, now: Callable[[], float] = time.time) -> bool:
    """Whether a session need not be asked after: it can't be put back into the queue any more."""
    return _is_certain(ended) and ended is not None and now() - ended.at > _REQUEUED_WITHIN_S


def find_activity(store: Store, session: Session) -> Activity | None:
    """What the job of a session has noted; None where there is nothing, or nothing sound."""
    path = store.session_folder(session.cluster, session.job_id) / "activity.json"
    try:
        activity = Activity(**read_record(path))
    except (OSError, ValueError, TypeError):
        return None
    whole = (activity.active_at, activity.idle_stop_at, activity.kernels)
    numbers = (*whole, activity.memory_fraction)
    sound = all(each is None or is_time(each) for each in numbers)
    return activity if sound and all(each is None or type(each) is int for each in whole) else None


def prune(store: Store, listing: Listing) -> Listing:
    """Remove what is kept of all sessions of `listing` that have ended; what is left of it.

    Only those are removed of which it is certain that they are over, and that they stay so.
    """
    return replace(
        listing,
        entries=[
            entry
            for entry in listing.entries
            if not (_stays_over(entry, listing) and store.remove(entry.session))
        ],
    )


def _stays_over(entry: Entry, listing: Listing) -> bool:
    if entry.ended is None or not is_certain(entry.ended):
        return False
    return is_over(entry.ended) or entry.session.cluster not in listing.unanswered


def clean_up(store: Store) -> None:
    """Remove what is kept of sessions that ended long ago, kits, and what was left half-written.

    Nothing is asked of Slurm.
    """
    sweep(store)
    for session in store.all()[0]:
        ended = find_ended(store, session)
        if ended and is_certain(ended) and time.time() - ended.at > _KEPT_S:
            store.remove(session)
    kit.prune(store.folder)
