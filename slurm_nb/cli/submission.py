"""Submit a job and say so; wait until Jupyter is ready, unless the user does not want to."""

from __future__ import annotations

import sys
from pathlib import Path

from slurm_nb.cli.connection_views import report
from slurm_nb.cli.console import answer_json, complain, say, say_notices, visible
from slurm_nb.cli.progress import come_back, wait_for_connection
from slurm_nb.cli.relay import hold
from slurm_nb.cli.sessions import UserContext, pass_user
from slurm_nb.connection.login import Login
from slurm_nb.errors import EXIT_INTERRUPTED, SubmissionUnknown, UserError
from slurm_nb.job.spec import JobSpec
from slurm_nb.operations.prune import clean_up
from slurm_nb.operations.submit import submit
from slurm_nb.scheduler.login_shell import find_slurm
from slurm_nb.session.session import Session


@pass_user
def submit_and_wait(
    user: UserContext,
    spec: JobSpec,
    *,
    template: str | None,
    login: Login | None,
    local_port: int | None,
    local: bool,
    notebook: Path | None,
    connect: bool,
    wait: bool,
    timeout_s: int | None,
    notify: bool,
    as_json: bool,
    site_notice: str,
) -> None:
    """Submit a job and print how to connect, or with `wait` off that it is submitted.

    connect: hold a relay instead.

    An interruption says what it leaves: a job or none.
    """
    if connect:
        find_slurm()
    if site_notice:
        say(f"Note from your site: {' '.join(visible(site_notice).split())}")
    session: Session | None = None

    def saved(new: Session) -> None:
        nonlocal session
        session = new
        say(f"Submitted job {new.job_id}. Cancel it with: slurm-nb cancel {new.job_id}")

    try:
        session = submit(
            spec,
            template=template,
            login=login,
            local_port=local_port,
            local=local,
            notebook=notebook,
            saved=saved,
            note=lambda text: say_notices([text]),
            store=user.store,
        )
        clean_up(user.store)
        if connect:
            sys.exit(hold(session, user))
        if wait:
            wait_for_connection(session, user, timeout_s=timeout_s, as_json=as_json, notify=notify)
        else:
            _answer_submitted(session, user.login_of(session), as_json=as_json)
    except OSError as error:  # of stdout: a full disk
        if session is None:
            raise
        raise UserError(
            f"cannot write the answer: {error.strerror}", hint=come_back(session)
        ) from error
    except KeyboardInterrupt as interrupt:
        doubt = interrupt.__context__
        if isinstance(doubt, SubmissionUnknown) and session is None:
            complain(doubt)
        else:
            say(come_back(session) if session else "Interrupted; nothing was submitted.")
        sys.exit(EXIT_INTERRUPTED)


def _answer_submitted(session: Session, login: Login, *, as_json: bool) -> None:
    if as_json:
        answer_json(report(session, None, login=login))
    else:
        job_id = session.job_id
        say(f"  Wait:     slurm-nb wait {job_id}\n  Connect:  slurm-nb tunnel-cmd {job_id}")
