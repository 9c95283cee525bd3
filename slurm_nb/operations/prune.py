"""Remove what is kept of sessions that have ended."""

from __future__ import annotations

import time
from dataclasses import replace

from slurm_nb.diagnosis.outcome import is_certain, is_over
from slurm_nb.job import kit
from slurm_nb.operations.listing import Listing, SessionStatus
from slurm_nb.session.pending import sweep
from slurm_nb.session.store import Store

_KEPT_S = 30 * 86400


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


def _stays_over(entry: SessionStatus, listing: Listing) -> bool:
    now_s = time.time()
    if not is_certain(entry.outcome, now_s):
        return False
    return is_over(entry.outcome, now_s) or entry.session.cluster not in listing.unanswered


def clean_up(store: Store) -> None:
    """Remove what is kept of sessions that ended long ago, kits, and what was left half-written.

    Nothing is asked of Slurm.
    """
    sweep(store)
    for session in store.all()[0]:
        outcome = store.outcome(session)
        if outcome and is_certain(outcome, time.time()) and time.time() - outcome.at > _KEPT_S:
            store.remove(session)
    kit.prune(store.folder)
