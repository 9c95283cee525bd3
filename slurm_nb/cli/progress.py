"""The output of `submit` and `wait` while they wait."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from slurm_nb.cli.console import answer_json, say_notices, visible
from slurm_nb.cli.options import UserContext
from slurm_nb.cli.views import connection_block, report
from slurm_nb.diagnosis.describe import describe
from slurm_nb.diagnosis.reasons import never_starts
from slurm_nb.errors import JobEnded, NotReady
from slurm_nb.operations.connect import wait_until_ready
from slurm_nb.operations.listing import too_large_for_all_nodes
from slurm_nb.scheduler.job import LOCAL, JobState, Phase
from slurm_nb.session.session import Session
from slurm_nb.times import seconds_until

_PLAIN_EVERY_S = 60.0
_LONG_S = 300.0

wait_timeout_option = click.option(
    "--wait-timeout",
    type=click.IntRange(min=0),
    metavar="SECONDS",
    help="Stop waiting; the job keeps running.",
)
notify_option = click.option(
    "--notify", is_flag=True, help="Ring the terminal's bell when Jupyter is ready."
)


def wait_for_connection(
    session: Session, user: UserContext, *, timeout_s: float | None, as_json: bool, notify: bool
) -> None:
    """Wait, showing the job's state, and print how to connect.

    Raises `JobEnded`, or `NotReady` after `timeout_s`. If a signal ends the program, it first
    prints how to resume waiting.
    """
    line, login = WaitingLine(session), user.login_of(session)
    try:
        with _told_when_stopped(session, line):
            reached = wait_until_ready(
                session,
                login=login,
                timeout_s=timeout_s,
                show=line.show,
                note=line.note,
                store=user.store,
            )
    except NotReady as error:
        record = report(session, line.state, login=login) if as_json else {}
        raise NotReady(str(error), hint=come_back(session), record=record) from error
    except JobEnded:
        _notify(f"job {session.job_id} has ended", wanted=notify)
        raise
    finally:
        line.clear()
    say_notices(reached.notices)
    if as_json:
        answer_json(report(reached.session, reached.state, tunnel=reached.tunnel, login=login))
    else:
        click.echo(connection_block(reached, login))
    _notify(f"job {session.job_id} is ready", wanted=notify)


def come_back(session: Session) -> str:
    """Return how to resume waiting, connect, or cancel the job, one command per line."""
    job_id = session.job_id
    return (
        f"Job {job_id} keeps running.\n"
        f"  Wait again:  slurm-nb wait {job_id}\n"
        f"  Connect:     slurm-nb tunnel-cmd {job_id}\n"
        f"  Cancel:      slurm-nb cancel {job_id}"
    )


@contextmanager
def _told_when_stopped(session: Session, line: WaitingLine) -> Iterator[None]:
    """Have SIGTERM and SIGHUP end the program with a message about the job."""

    def stop(number: int, _frame: object) -> None:
        words = f"{line.wipe}{visible(come_back(session))}\n"
        try:
            os.write(2, words.encode())  # the signal may interrupt a write to the stream
        except OSError:  # the terminal is gone
            null = os.open(os.devnull, os.O_WRONLY)
            for stream in (1, 2):  # Python would exit with 120 if it cannot flush
                os.dup2(null, stream)
        sys.exit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _notify(text: str, *, wanted: bool) -> None:
    """Ring the bell and set the window's title (xterm's OSC 0), if stderr is a terminal."""
    if wanted and sys.stderr.isatty():
        sys.stderr.write(f"\x1b]0;slurm-nb: {text}\x07\a")
        sys.stderr.flush()


class WaitingLine:
    """The job's state during the wait: a line that updates itself, or plain lines in a file."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._job_id = session.job_id
        self._stream = sys.stderr
        self._live = self._stream.isatty()
        self._shown: tuple[str, int] | None = None
        self._told_of_length = self._told_of_no_start = False
        self.state: JobState | None = None
        """The last state shown."""

    def show(self, state: JobState | None, waited_s: float) -> None:
        """Write the state if it changed; callers call this often."""
        if state and self.state and (self.state.phase, state.phase) == _BACK_IN_THE_QUEUE:
            self.note(f"job {self._job_id} was requeued and will start again")
        self.state = state
        self._tell_of_length(state, waited_s)
        self._tell_of_no_start(state)
        text = _in_words(state, self._job_id)
        news = (text, int(waited_s // (1 if self._live else _PLAIN_EVERY_S)))
        if news == self._shown or (state is None and not self._live):
            return
        self._shown = news
        line = visible(f"job {self._job_id}: {text}, {_clock(waited_s)}")
        if self._live:  # a line that wraps cannot be overwritten
            line = f"\r{line[: shutil.get_terminal_size().columns - 1]}\x1b[K"
        self._stream.write(line if self._live else f"{line}\n")
        self._stream.flush()

    @property
    def wipe(self) -> str:
        """The sequence that erases the live line."""
        return "\r\x1b[K" if self._live and self._shown else ""

    def clear(self) -> None:
        """Erase the live line."""
        if self.wipe:
            self._stream.write(self.wipe)
            self._stream.flush()

    def _tell_of_length(self, state: JobState | None, waited_s: float) -> None:
        if state is None or state.phase is not Phase.PENDING or self._told_of_length:
            return
        start_s = seconds_until(state.start_time, time.time()) or 0
        if waited_s > _LONG_S or start_s > _LONG_S:
            self._told_of_length = True
            self.note(
                "this may take a while. You can close the terminal; the job stays in the queue."
                f" Wait again with: slurm-nb wait {self._job_id}"
            )

    def _tell_of_no_start(self, state: JobState | None) -> None:
        if state is None or state.phase is not Phase.PENDING or self._told_of_no_start:
            return
        too_large = ""
        if state.reason.startswith(_MAYBE_TOO_LARGE) and self._session.cluster != LOCAL:
            self._told_of_no_start = True  # one query is enough
            too_large = too_large_for_all_nodes(self._session)
        if too_large or never_starts(state.reason):
            self._told_of_no_start = True
            job_id = self._job_id
            self.note(
                f"this job cannot start ({too_large or state.reason}). Cancel it with:"
                f" slurm-nb cancel {job_id}; then resubmit it with other options:"
                f" slurm-nb submit --again {job_id} ..."
            )

    def note(self, text: str) -> None:
        """A line beside the live one."""
        self.clear()
        self._shown = None
        say_notices([text])


# Reasons of jobs that request more than any node has, if the site lets them into the queue.
_MAYBE_TOO_LARGE = ("PartitionConfig", "PartitionNodeLimit", "BadConstraints")
_BACK_IN_THE_QUEUE = (Phase.RUNNING, Phase.PENDING)


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min"


def _in_words(state: JobState | None, job_id: str) -> str:
    if state is None:
        return "submitted"
    if state.slurm_state == "RUNNING":
        return "RUNNING, Jupyter is starting"
    return describe(state, job_id)
