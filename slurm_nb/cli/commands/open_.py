"""slurm-nb open"""

from __future__ import annotations

import html
import webbrowser

import click

from slurm_nb.cli.console import say, say_notices
from slurm_nb.cli.sessions import UserContext, pass_user, session_argument
from slurm_nb.errors import UserError
from slurm_nb.operations.connect import connect
from slurm_nb.scheduler.job import LOCAL
from slurm_nb.session.session import Session

_PAGE = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={url}">
<title>slurm-nb</title></head><body><a href="{url}">Jupyter</a></body></html>
"""


@click.command("open")
@session_argument
@pass_user
def command(user: UserContext, *, session: Session) -> None:
    """Open a session in the browser (only with --local)."""
    job_id = session.job_id
    if session.cluster != LOCAL:
        raise UserError(
            f"job {job_id} runs on a compute node, which a browser here cannot reach",
            hint=f"open it on your laptop: slurm-nb tunnel-cmd {job_id}",
        )
    reached = connect(session, store=user.store)
    if reached.ready.port is None:
        raise UserError(
            f"job {job_id} listens on a socket, which browsers cannot open",
            hint=f"connect through ssh: slurm-nb tunnel-cmd {job_id}",
        )
    say_notices(reached.notices)
    url = reached.tunnel.url.replace(f":{reached.tunnel.local_port}/", f":{reached.ready.port}/", 1)
    # Not the URL: every user of this machine can see the browser's arguments.
    page = user.store.save_page(session, _PAGE.format(url=html.escape(url)))
    if not webbrowser.open(page.as_uri()):
        raise UserError(
            "cannot find a browser on this machine",
            hint=f"set BROWSER, or open the URL that this prints: slurm-nb url {job_id}",
        )
    say(f"Opening job {job_id} in the browser.")
