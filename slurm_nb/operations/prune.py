"""Remove sessions that have ended."""

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
    """Remove the sessions of `listing` that have ended, and return the rest.

    Removes only sessions that have certainly ended and cannot be requeued.
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
    if entry.outcome is None or not entry.outcome.proven or not is_certain(entry.outcome, now_s):
        return False
    return is_over(entry.outcome, now_s) or entry.session.cluster not in listing.unanswered


def clean_up(store: Store) -> None:
    """Remove sessions that ended long ago, unused kits and incomplete files.

    Does not query Slurm.
    """
    sweep(store)
    store.sweep()
    for session in store.all()[0]:
        outcome = store.outcome(session)
        if outcome and is_over(outcome, time.time()) and time.time() - outcome.at > _KEPT_S:
            store.remove(session)
    kit.prune(store.folder)
