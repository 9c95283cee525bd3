"""The wait of `submit` and `wait` as the user sees it."""

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
from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.session.session import Session
from slurm_nb.times import seconds_until

_PLAIN_EVERY_S = 60.0
_LONG_S = 300.0

wait_timeout_option = click.option(
    "--wait-timeout",
    type=click.IntRange(min=0),
    metavar="SECONDS",
    help="Give up waiting (the job goes on).",
)
notify_option = click.option(
    "--notify", is_flag=True, help="Ring the terminal's bell, and set its title, when it is ready."
)


def wait_for_connection(
    session: Session, user: UserContext, *, timeout_s: float | None, as_json: bool, notify: bool
) -> None:
    """Wait, showing what goes on, and print the way in.

    Raises `JobEnded`, or `NotReady` after `timeout_s`. A signal that ends this program ends the
    wait with how to come back.
    """
    line, login = WaitingLine(session.job_id), user.login_of(session)
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
        if as_json:
            answer_json(report(session, line.state, login=login))
        raise NotReady(str(error), hint=come_back(session)) from error
    except JobEnded:
        _notify(f"job {session.job_id} has ended", wanted=notify)
        raise
    finally:
        line.clear()
    say_notices(reached.notices)
    if as_json:
        answer_json(report(reached.session, reached.state, tunnel=reached.tunnel, login=login))
    else:
        click.echo(connection_block(reached))
    _notify(f"job {session.job_id} is ready", wanted=notify)


def come_back(session: Session) -> str:
    """How to take up the wait again, and how to be rid of the job."""
    job_id = session.job_id
    return (
        f"Job {job_id} goes on. To wait for it again: slurm-nb wait {job_id}"
        f"; the way in, once it is ready: slurm-nb tunnel-cmd {job_id}"
        f"; to cancel it: slurm-nb cancel {job_id}"
    )


@contextmanager
def _told_when_stopped(session: Session, line: WaitingLine) -> Iterator[None]:
    """Have SIGTERM and SIGHUP end the program with a word about the job."""

    def stop(number: int, _frame: object) -> None:
        words = f"{line.wipe}{visible(come_back(session))}\n"
        try:
            os.write(2, words.encode())  # not by the stream: this may come in amid a write to it
        except OSError:  # the terminal is gone
            null = os.open(os.devnull, os.O_WRONLY)
            for stream in (1, 2):  # Python ends with 120 when it can't write what is left
                os.dup2(null, stream)
        sys.exit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _notify(text: str, *, wanted: bool) -> None:
    """The bell, and the title of the window (xterm's OSC 0), on a terminal only."""
    if wanted and sys.stderr.isatty():
        sys.stderr.write(f"\x1b]0;slurm-nb: {text}\x07\a")
        sys.stderr.flush()


class WaitingLine:
    """The job's state while it is waited for: one live line, or plain ones when not a terminal."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._stream = sys.stderr
        self._live = self._stream.isatty()
        self._shown: tuple[str, int] | None = None
        self._told_of_length = self._told_of_no_start = False
        self.state: JobState | None = None
        """The last one shown."""

    def show(self, state: JobState | None, waited_s: float) -> None:
        """To be called often; writes when there is news."""
        if state and self.state and (self.state.phase, state.phase) == _BACK_IN_THE_QUEUE:
            self.note(f"job {self._job_id} was put back into the queue; it will start anew")
        self.state = state
        self._tell_of_length(state, waited_s)
        self._tell_of_no_start(state)
        text = _in_words(state, self._job_id)
        news = (text, int(waited_s // (1 if self._live else _PLAIN_EVERY_S)))
        if news == self._shown or (state is None and not self._live):
            return
        self._shown = news
        line = visible(f"job {self._job_id}: {text}, {_clock(waited_s)}")
        if self._live:  # a line that wraps could not be written over
            line = f"\r{line[: shutil.get_terminal_size().columns - 1]}\x1b[K"
        self._stream.write(line if self._live else f"{line}\n")
        self._stream.flush()

    @property
    def wipe(self) -> str:
        """What leaves no half line behind."""
        return "\r\x1b[K" if self._live and self._shown else ""

    def clear(self) -> None:
        """Leave no half line behind."""
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
                "this may take long. You can close the terminal: the job keeps its place in the"
                f" queue. To wait for it again: slurm-nb wait {self._job_id}; more about it:"
                f" slurm-nb status {self._job_id}"
            )

    def _tell_of_no_start(self, state: JobState | None) -> None:
        if state is None or state.phase is not Phase.PENDING or self._told_of_no_start:
            return
        if never_starts(state.reason):
            self._told_of_no_start = True
            job_id = self._job_id
            self.note(
                f"as it is, this job will not start by itself ({state.reason}). To cancel it:"
                f" slurm-nb cancel {job_id}; to ask for something else: slurm-nb submit"
                f" --again {job_id} with other options"
            )

    def note(self, text: str) -> None:
        """A line beside the live one."""
        self.clear()
        self._shown = None
        say_notices([text])


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
