"""slurm-nb audit"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict

import click

from slurm_nb.cli.console import answer_json, on_a_line, say
from slurm_nb.cli.options import json_option, session_argument
from slurm_nb.connection.readiness import require_ready
from slurm_nb.operations.audit import Check, audit
from slurm_nb.scheduler import scheduler
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store, follow

_EXIT_FAILED = 1


@click.command("audit")
@session_argument
@json_option
def command(*, session: Session, as_json: bool) -> None:
    """Check that nobody else gets into a session, and show what was seen.

    Looks at files, at what Slurm shows, and inside the job at what listens there, at its
    processes, and at the running server.

    \b
    Exit codes:
        0  every check passed
        1  a check failed, or the session is not to be trusted
        3  Slurm or the node can't be asked, so nothing is known
        4  the job has ended
        5  not ready yet
    """  # noqa: D301  click keeps the lines after \b
    store, job_id = Store.of_user(os.environ), session.job_id
    state = scheduler(session.cluster).states([session])[job_id]
    checks = audit(session, require_ready(session, state, follow(session, store), store), store)
    failed = [check for check in checks if not check.passed]
    if as_json:
        records = [asdict(check) for check in checks]
        answer_json({"job_id": job_id, "passed": not failed, "checks": records})
    else:
        click.echo("\n".join(_table(checks)))
        say(f"{len(failed)} of {len(checks)} checks FAILED" if failed else "Every check passed.")
    if failed:
        sys.exit(_EXIT_FAILED)


def _table(checks: list[Check]) -> list[str]:
    """`pass  what  evidence`, in columns; each check on a line that it can't leave."""
    width = max(len(check.name) for check in checks)
    return [
        f"{'pass' if check.passed else 'FAIL'}  {check.name:{width}}  {on_a_line(check.evidence)}"
        for check in checks
    ]
