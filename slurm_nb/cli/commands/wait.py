"""slurm-nb wait"""

from __future__ import annotations

import sys

import click

from slurm_nb.cli.console import say
from slurm_nb.cli.options import json_option, notify_option, wait_timeout_option
from slurm_nb.cli.progress import come_back, wait_for_connection
from slurm_nb.cli.sessions import UserContext, pass_user, session_argument
from slurm_nb.errors import EXIT_INTERRUPTED
from slurm_nb.session.session import Session


@click.command("wait")
@session_argument
@wait_timeout_option
@notify_option
@json_option
@pass_user
def command(
    user: UserContext,
    *,
    session: Session,
    wait_timeout: int | None,
    notify: bool,
    as_json: bool,
) -> None:
    """Wait for a session and print how to connect, as submit does."""
    try:
        wait_for_connection(session, user, timeout_s=wait_timeout, as_json=as_json, notify=notify)
    except KeyboardInterrupt:
        say(come_back(session))
        sys.exit(EXIT_INTERRUPTED)
