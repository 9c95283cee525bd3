"""slurm-nb audit"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict

import click

from slurm_nb.cli.console import answer_json, say, slow_noted, table
from slurm_nb.cli.options import json_option
from slurm_nb.cli.sessions import UserContext, pass_user, session_argument
from slurm_nb.connection.readiness import require_ready
from slurm_nb.operations.audit import audit
from slurm_nb.scheduler import scheduler
from slurm_nb.session.ending import judge
from slurm_nb.session.session import Session

_EXIT_FAILED = 1
_SLOW_S = 15.0


@click.command("audit")
@session_argument
@json_option
@pass_user
def command(user: UserContext, *, session: Session, as_json: bool) -> None:
    """Check that a session is private, and show the evidence.

    Checks its files, what Slurm shows to other users, and inside the job its
    open ports, its processes and the running server.

    \b
    Exit codes:
        0  every check passed
        1  a check failed, or the session's files are not safe
        3  cannot query Slurm or the node, so the result is unknown
        4  the job has ended
        5  not ready yet
    """  # noqa: D301  click keeps the lines after \b
    store, job_id = user.store, session.job_id
    with slow_noted("Waiting for the node to respond...", after_s=_SLOW_S):
        state = scheduler(session.cluster, store).states([session.job])[job_id]
        verdict = judge(store, session, state, time.time())
        checks = audit(session, require_ready(session, verdict, store.log(session), store), store)
    failed = [check for check in checks if not check.passed]
    if as_json:
        records = [asdict(check) for check in checks]
        answer_json({"job_id": job_id, "passed": not failed, "checks": records})
    else:
        rows = [("pass" if each.passed else "FAIL", each.name, each.evidence) for each in checks]
        click.echo(table(rows))
        say(f"{len(failed)} of {len(checks)} checks FAILED." if failed else "Every check passed.")
    if failed:
        sys.exit(_EXIT_FAILED)
