"""Cancel sessions."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from slurm_nb.errors import SchedulerError, SlurmNbError
from slurm_nb.scheduler import scheduler
from slurm_nb.scheduler.job import JobState, Phase, Scheduler
from slurm_nb.session.ending import Verdict, judge
from slurm_nb.session.session import Session
from slurm_nb.session.settle import settle
from slurm_nb.session.store import Store

# Seconds between queries for a cancelled job: KillWait is 30 s by default
# (slurm.conf(5)), and most jobs end at once.
_LOOK_AFTER_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0)
_LOOKS_AT_MISSING = 4


@dataclass(frozen=True)
class Cancelled:
    """The result of cancelling one session."""

    session: Session
    state: JobState | None
    """None if the job has not ended within a minute; UNKNOWN if Slurm does not show its end."""
    already: bool = False
    """Whether the job had ended before."""
    error: SlurmNbError | None = None
    """Why cancelling it failed."""


def cancel(sessions: Iterable[Session], *, store: Store | None = None) -> Iterator[Cancelled]:
    """Cancel sessions and remove their secrets; yield each one when it has ended."""
    store = store or Store.of_user(os.environ)
    ordered = sorted(sessions, key=lambda session: session.cluster)
    for cluster, group in groupby(ordered, key=lambda session: session.cluster):
        yield from _cancel(scheduler(cluster, store), list(group), store)


def _cancel(jobs: Scheduler, sessions: list[Session], store: Store) -> Iterator[Cancelled]:
    lasting = []
    states = jobs.states(session.job for session in sessions)
    for session in sessions:
        verdict = judge(store, session, states[session.job_id], time.time())
        state = verdict.state
        if verdict.proven or (state.id_reused and state.phase is Phase.ENDED):
            yield _over(store, session, verdict, already=True)
            continue
        if state.id_reused:  # the id belongs to another job
            yield Cancelled(session, state, error=SchedulerError(state.reason))
            continue
        try:
            jobs.cancel(session.job)
        except SlurmNbError as error:
            yield Cancelled(session, state, error=error)
            continue
        if state.phase is Phase.ENDED:
            verdict = judge(store, session, state, time.time(), cancelled=True)
            yield _over(store, session, verdict, already=True)
        else:
            lasting.append(session)
    yield from _await_end(jobs, lasting, store)


def _await_end(jobs: Scheduler, lasting: list[Session], store: Store) -> Iterator[Cancelled]:
    """Check for a minute whether cancelled jobs are gone, less long if Slurm shows none of them."""
    states: dict[str, JobState] = {}
    for looks, pause_s in enumerate((0.0, *_LOOK_AFTER_S)):
        if not lasting or (looks >= _LOOKS_AT_MISSING and _all_missing(states, lasting)):
            break
        time.sleep(pause_s)
        states = jobs.states(session.job for session in lasting)
        left = []
        for session in lasting:
            state = states[session.job_id]
            verdict = judge(store, session, state, time.time(), cancelled=True)
            if verdict.state.phase is Phase.ENDED:
                yield _over(store, session, verdict)
            else:
                left.append(session)
        lasting = left
    for session in lasting:
        state = states[session.job_id]
        yield Cancelled(session, state if state.phase is Phase.UNKNOWN else None)


def _all_missing(states: dict[str, JobState], sessions: list[Session]) -> bool:
    return all(states[session.job_id].missing for session in sessions)


def _over(store: Store, session: Session, verdict: Verdict, *, already: bool = False) -> Cancelled:
    left = settle(store, session, verdict).left
    return Cancelled(session, verdict.state, already=already, error=left[0] if left else None)
