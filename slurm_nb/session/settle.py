"""How a session ended: found out once, and saved beside it.

STATE/sessions/CLUSTER/7/ended.json, 0600: `{"word": "TIMEOUT", "cause": "time-limit", ...}`
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from slurm_nb.diagnosis.explain import explain
from slurm_nb.diagnosis.outcome import FORGOTTEN, Ended
from slurm_nb.errors import JobEnded
from slurm_nb.files import user_name
from slurm_nb.joblog.reader import JobLog
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.session.session import Session, option_of
from slurm_nb.session.store import Store


def settle(
    session: Session,
    state: JobState,
    store: Store,
    log: JobLog,
    *,
    now: Callable[[], float] = time.time,
) -> Ended:
    """Why the job of a session ended, by Slurm's words and its output.

    Once Slurm says that it is over, this is saved, and the token removed, unless Slurm shows
    another job under its id. What Slurm has said of it stays when Slurm knows it no longer.
    """
    earlier = store.outcome(session)
    if earlier and earlier.word != FORGOTTEN and state.slurm_state == FORGOTTEN:
        if not state.id_reused:
            store.forget_secrets(session)
        return earlier
    progress = log.read()
    mem, limit, exclude = (option_of(session, name) for name in ("mem", "time", "exclude"))
    ending = explain(
        session.job_id,
        state,
        progress,
        log.tail(),
        mem=mem,
        time=limit,
        exclude=exclude,
        cancelled_by=_other_user(state.by_uid),
        repeatable=bool(session.options),
    )
    ended = Ended(
        state.slurm_state,
        state.reason,
        ending.cause,
        ending.text,
        ending.evidence,
        ending.cure,
        earlier.at if earlier else int(now()),
        state.end_time,
        state.node,
    )
    if earlier and _knows_more(earlier, ended, state):
        ended = earlier
    if state.phase is Phase.ENDED:
        if not state.id_reused:
            store.forget_secrets(session)
        if ended != earlier:
            store.save_outcome(session, ended)
    return ended


def _knows_more(earlier: Ended, ended: Ended, state: JobState) -> bool:
    """Whether accounting was asked about the same ending then, and not now."""
    return (
        state.by_uid is None
        and state.end_time is not None
        and (earlier.word, earlier.end_time) == (ended.word, ended.end_time)
        and "unknown" not in {earlier.cause, ended.cause}
    )


def job_ended(
    ended: Ended, session: Session, store: Store, *, before_ready: bool = False
) -> JobEnded:
    """The error that says how a session ended, and what to do next."""
    reason = f" ({ended.reason})" if ended.reason else ""
    head = f"job {session.job_id} has ended: {ended.word}{reason}"
    if before_ready:
        head = f"the job ended before Jupyter was ready: {ended.word}{reason}"
    text = ended.text
    if not (before_ready and text.startswith("Jupyter can't be started")):
        text = f"{head}: {text}"
    lines = [line for line in ended.evidence.splitlines() if line not in head]
    shown = "".join(f"\n    {line}" for line in lines)
    return JobEnded(
        f"{text}{shown}",
        hint=f"{ended.cure}\n  its output: {store.log_path(session.job_id)}",
    )


def _other_user(uid: int | None) -> str | None:
    """The name of somebody else."""
    return None if uid in {None, os.geteuid()} else user_name(uid)
