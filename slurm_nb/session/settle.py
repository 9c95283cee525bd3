"""Find out how a session ended, once, and save it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from slurm_nb.diagnosis.outcome import CANNOT_START, FORGOTTEN, Outcome
from slurm_nb.errors import JobEnded, UserError
from slurm_nb.files import user_name
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.session.ending import Verdict
from slurm_nb.session.session import Session, option_of
from slurm_nb.session.store import Store
from slurm_nb.times import seconds_since

_CLOCKS_DIFFER_S = 120


@dataclass(frozen=True)
class Settled:
    """The result for one session."""

    outcome: Outcome
    left: list[UserError]
    """Why a secret of an ended job could not be removed."""


def settle(
    store: Store, session: Session, verdict: Verdict, *, now: Callable[[], float] = time.time
) -> Settled:
    """Find out how a session ended, from Slurm and the job's output.

    Saves this, and keeps it when Slurm no longer knows the job. Removes the session's secrets once
    it is proven that the job has ended.
    """
    outcome = _find_out(store, session, verdict, int(now()))
    return Settled(outcome, store.forget_secrets(session) if verdict.proven else [])


def _find_out(store: Store, session: Session, verdict: Verdict, now_s: int) -> Outcome:
    from slurm_nb.diagnosis.explain import explain  # noqa: PLC0415  few have just ended

    earlier, state = store.outcome(session), _without_future(verdict.state, now_s)
    if earlier and earlier.slurm_state != FORGOTTEN and state.slurm_state == FORGOTTEN:
        return _kept(store, session, earlier, verdict)
    log = store.log(session)
    outcome = explain(
        session.job_id,
        state,
        log.read(),
        log.tail(),
        at=earlier.at if earlier else now_s,
        mem=option_of(session, "mem"),
        time=option_of(session, "time"),
        exclude=option_of(session, "exclude"),
        cancelled_by=_other_user(state.by_uid),
        repeatable=bool(session.options),
    )
    if earlier and _knows_more(earlier, outcome, state):
        return _kept(store, session, earlier, verdict)
    proven = verdict.proven or (earlier is not None and earlier.proven)  # by another slurm-nb
    outcome = replace(outcome, proven=proven, submission=session.submission)
    if state.phase is Phase.ENDED and outcome != earlier:
        store.save_outcome(session, outcome)
    return outcome


def _without_future(state: JobState, now_s: float) -> JobState:
    """Return `state` without an end that is to come: it is the job's time limit."""
    since_s = seconds_since(state.end_time, now_s)
    coming = since_s is not None and since_s < -_CLOCKS_DIFFER_S
    return replace(state, end_time=None) if coming else state


def _kept(store: Store, session: Session, earlier: Outcome, verdict: Verdict) -> Outcome:
    """Return the saved outcome, marked as proven if there is a proof now or was one then."""
    if verdict.proven and not earlier.proven:
        earlier = replace(earlier, proven=True)
        store.save_outcome(session, earlier)
    return earlier


def _knows_more(earlier: Outcome, outcome: Outcome, state: JobState) -> bool:
    """Return whether `earlier` has details from accounting that `outcome` does not have."""
    return (
        state.by_uid is None
        and state.end_time is not None
        and (earlier.slurm_state, earlier.end_time) == (outcome.slurm_state, outcome.end_time)
        and "unknown" not in {earlier.cause, outcome.cause}
    )


def job_ended(
    store: Store, session: Session, outcome: Outcome, *, before_ready: bool = False
) -> JobEnded:
    """Return the error with how a session ended, and what to do next."""
    reason = f" ({outcome.reason})" if outcome.reason else ""
    head = f"job {session.job_id} has ended: {outcome.slurm_state}{reason}"
    if before_ready:
        head = f"the job ended before Jupyter was ready: {outcome.slurm_state}{reason}"
    text = outcome.text
    if not (before_ready and text.startswith(CANNOT_START)):
        text = f"{head}: {text}"
    lines = [line for line in outcome.evidence.splitlines() if line not in head]
    shown = "".join(f"\n    {line}" for line in lines)
    return JobEnded(
        f"{text}{shown}",
        hint=f"{outcome.cure}\noutput: {store.log_path(session.job_id)}",
    )


def _other_user(uid: int | None) -> str | None:
    """Return the name of another user; None for this one."""
    return None if uid in {None, os.geteuid()} else user_name(uid)
