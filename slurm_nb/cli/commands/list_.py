"""slurm-nb list"""

from __future__ import annotations

import time

import click

from slurm_nb.cli.console import answer_json, complain, say, say_notices, slow_noted, table
from slurm_nb.cli.options import json_option
from slurm_nb.cli.sessions import UserContext, pass_user
from slurm_nb.cli.views import HEADINGS, clock_time, record, row, unresolved_line
from slurm_nb.operations.listing import Listing, list_sessions
from slurm_nb.operations.prune import clean_up, prune
from slurm_nb.times import duration


@click.command("list")
@click.option(
    "--prune", "pruned", is_flag=True, help="Remove the sessions that have ended, with their logs."
)
@json_option
@pass_user
def command(user: UserContext, *, pruned: bool, as_json: bool) -> None:
    """List your sessions, the newest first.

    IDLE is the time since something last ran in a session or a browser was
    connected. Sessions that ended more than 30 days ago are removed together
    with their logs; --prune removes all that have ended.
    """
    with slow_noted():
        listing = list_sessions(user.store)
    clean_up(user.store)
    if pruned:
        kept = prune(user.store, listing)
        removed = len(listing.entries) - len(kept.entries)
        listing = kept
        say(f"Removed {removed} session{'' if removed == 1 else 's'}.")
    now_s = time.time()
    if as_json:
        answer_json({"sessions": [record(entry, now_s) for entry in listing.entries]})
    elif listing.entries:
        click.echo(table([HEADINGS, *(row(entry, now_s) for entry in listing.entries)]))
    else:
        say("You have no sessions. Start one with: slurm-nb submit")
    _tell_what_is_missing(listing, now_s)


def _tell_what_is_missing(listing: Listing, now_s: float) -> None:
    for cluster, problem in listing.unanswered.items():
        times = [
            entry.as_of
            for entry in listing.entries
            if entry.session.cluster == cluster and entry.as_of
        ]
        say_notices([f"Slurm does not respond ({problem}). {_age(times, now_s)}"])
    say_notices(unresolved_line(pending) for pending in listing.unresolved)
    for error in listing.broken:
        complain(error)


def _age(times: list[float], now_s: float) -> str:
    """Return how old the states in the list are."""
    if not times:
        return "The states of its sessions are unknown."
    at = clock_time(max(times))
    if max(times) > now_s:
        return f"The list shows the states at {at}; the clock has been set back since."
    return f"The list shows the states {duration(now_s - max(times))} ago, at {at}."
