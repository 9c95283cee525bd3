"""Decides whether a session has ended. No other module does.

slurm-nb cannot undo the consequences of an end: it removes the token, and may remove the session.
Slurm's commands are sometimes wrong: wrappers print nothing, colour or truncate their lines, or say
"Invalid job id" for every job; caches lag; modules point to another cluster. So slurm-nb accepts
only these proofs of an end:

1. The job has written its `ended` line, with its nonce, and no `started` line after it, and Slurm
   does not show it in the queue or running.
2. There are two witnesses, at least `APART_S` apart, and no answer between them shows the job.
   A witness is an answer of squeue, sacct or scontrol that shows this very job as ended (by the
   path of its script, which no other job has), or another job under its id; or scontrol's "Invalid
   job id" from the job's own controller. slurm-nb keeps the first witness in the session's folder,
   so the second may come from another command. A repeated answer of squeue does not count unless
   scontrol confirms it, because a wrapper may repeat a saved answer.
3. Slurm answers without showing the job, an hour after the end that Slurm gave for it.
4. The user has just cancelled the job with slurm-nb, and Slurm shows this very job as ended.
5. Without Slurm: according to /proc, the job's process is gone.

An answer that does not show the job proves nothing by itself, and an unreadable answer does not
either. Until there is a proof, the session is UNKNOWN or in the state that Slurm reports, and its
token stays.

If Slurm shows the job in the queue or running again, no earlier answer counts any more: slurm-nb
removes the witness and the saved outcome, even a proven one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from slurm_nb.diagnosis.outcome import Outcome
from slurm_nb.scheduler.job import LOCAL, JobState, Phase
from slurm_nb.session.session import Session
from slurm_nb.session.store import APART_S, Store
from slurm_nb.times import seconds_since

_GRACE_S = 3600
_CLOCKS_DIFFER_S = 120


@dataclass(frozen=True)
class Verdict:
    """The decision about a session."""

    state: JobState
    """Slurm's state, or ENDED if there is a proof."""
    proven: bool = False
    """Whether the end is certain."""


def judge(
    store: Store, session: Session, state: JobState, now_s: float, *, cancelled: bool = False
) -> Verdict:
    """Decide whether a session has ended, and save this answer if it is a witness.

    state: Slurm's answer. cancelled: whether slurm-nb has just cancelled the job.
    """
    if state.phase in {Phase.PENDING, Phase.RUNNING}:
        store.save_witness(session, None)
        if _is_shown(session, state):
            store.forget_outcome(session)
        return Verdict(state)
    if session.cluster == LOCAL:
        return Verdict(state, proven=state.phase is Phase.ENDED)
    if _is_older_job(session, state):
        words = f"Slurm does not show job {session.job_id}"
        state = JobState(Phase.UNKNOWN, "UNKNOWN", words, missing=True, denied=state.denied)
    if not (state.missing or state.phase is Phase.ENDED):  # no answer
        return Verdict(state)
    proven = (
        _is_known(store.outcome(session), state)
        or (cancelled and state.phase is Phase.ENDED and not state.id_reused)
        or _is_past_its_end(state, now_s)
        or _is_witnessed(store, session, state, now_s)
        or store.log(session).read().exit_code is not None
    )
    if proven and state.missing:
        state = JobState(Phase.ENDED, "ENDED", "no longer known to Slurm", node=state.node)
    return Verdict(state, proven=proven)


def _is_shown(session: Session, state: JobState) -> bool:
    """Return whether Slurm shows this very job: accounting, without a script, may be behind."""
    return state.script is not None or session.job.script is None


def _is_known(earlier: Outcome | None, state: JobState) -> bool:
    """Return whether an earlier proof covers this ending."""
    if earlier is None or not earlier.proven:
        return False
    same = (earlier.slurm_state, earlier.end_time) == (state.slurm_state, state.end_time)
    return state.missing or same


def _is_witnessed(store: Store, session: Session, state: JobState, now_s: float) -> bool:
    """Return whether this answer and an earlier one are witnesses; keep the first one."""
    if state.repeated or (state.phase is not Phase.ENDED and not state.denied):
        return False
    first = store.witness(session)
    if first is None or first.at > now_s:  # the clock has been set back
        store.save_witness(session, int(now_s))
        return False
    return now_s - first.at >= APART_S


def _is_past_its_end(state: JobState, now_s: float) -> bool:
    since_s = seconds_since(state.end_time, now_s) if state.missing else None
    return since_s is not None and since_s > _GRACE_S


def _is_older_job(session: Session, state: JobState) -> bool:
    """Return whether accounting, which shows no script, has an earlier job with the same id."""
    if state.phase is not Phase.ENDED or state.script is not None or state.id_reused:
        return False
    if session.submitted_at is None:
        return False
    since_s = seconds_since(state.start_time, session.submitted_at)
    return since_s is not None and since_s > _CLOCKS_DIFFER_S


def as_saved(state: JobState, seen: JobState | None) -> JobState:
    """Return `state`; if Slurm no longer shows the job, with the end that it gave earlier."""
    if seen is None or not state.missing:
        return state
    return replace(state, end_time=seen.end_time, node=seen.node)
