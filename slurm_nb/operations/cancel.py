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
from slurm_nb.session.session import Session
from slurm_nb.session.settle import settle
from slurm_nb.session.store import Store

# Seconds between queries for a cancelled job: KillWait is 30 s by default
# (slurm.conf(5)), and most jobs end at once.
_LOOK_AFTER_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0)


@dataclass(frozen=True)
class Cancelled:
    """The result of cancelling one session."""

    session: Session
    state: JobState | None
    """None if the job has not ended within a minute."""
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
        state = states[session.job_id]
        if state.phase is Phase.ENDED:
            yield _over(store, session, state, already=True)
            continue
        if state.id_reused:  # the id belongs to another job
            yield Cancelled(session, state, error=SchedulerError(state.reason))
            continue
        try:
            jobs.cancel(session.job)
            lasting.append(session)
        except SlurmNbError as error:
            yield Cancelled(session, state, error=error)
    for pause_s in (0.0, *_LOOK_AFTER_S):
        if not lasting:
            return
        time.sleep(pause_s)
        states = jobs.states(session.job for session in lasting)
        for session in lasting:
            if states[session.job_id].phase is Phase.ENDED:
                yield _over(store, session, states[session.job_id])
        lasting = [each for each in lasting if states[each.job_id].phase is not Phase.ENDED]
    yield from (Cancelled(session, None) for session in lasting)


def _over(store: Store, session: Session, state: JobState, *, already: bool = False) -> Cancelled:
    left = settle(store, session, state).left
    return Cancelled(session, state, already=already, error=left[0] if left else None)
