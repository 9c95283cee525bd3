"""The output of `connect` and `submit --connect`, which hold a relay in the foreground."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from slurm_nb.cli.console import bold, link, say, say_notices, visible
from slurm_nb.cli.progress import WaitingLine
from slurm_nb.cli.sessions import UserContext
from slurm_nb.connection.connection import Connection
from slurm_nb.errors import EXIT_INTERRUPTED
from slurm_nb.operations.relay import hold_relay
from slurm_nb.scheduler.job import JobState
from slurm_nb.session.session import Session
from slurm_nb.times import duration, seconds_until

_HEARTBEAT_S = 30.0
_MINUTE_S = 60


def hold(session: Session, user: UserContext) -> int:
    """Hold a relay to `session` until Ctrl-C; return the exit code.

    Raises `JobEnded` when the session ends, and what `hold_relay` raises.
    """
    display = _Display(session)
    try:
        with _hang_up_ends_it():
            hold_relay(
                session,
                login=user.login_of(session),
                display=display,
                store=user.store,
                orphaned=_orphan_check(),
            )
    except KeyboardInterrupt:
        display.clear()
        say(
            f"The connection has ended; session {session.job_id} keeps running.\n"
            f"  Connect again:  slurm-nb connect {session.job_id}\n"
            f"  End it:         slurm-nb cancel {session.job_id}"
        )
        return EXIT_INTERRUPTED
    finally:
        display.clear()
    return 128 + signal.SIGHUP


class _Display:
    """On a terminal a line that updates itself; in a file plain lines."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting = WaitingLine(session)
        self._live = sys.stderr.isatty()
        self._shown = ""
        self._at = 0.0

    def wait(self, state: JobState | None, waited_s: float) -> None:
        """Show the state of a job that is not ready."""
        self._waiting.show(state, waited_s)

    def ready(self, reached: Connection) -> None:
        """Print the URL, which has answered."""
        self.clear()
        say_notices(reached.notices)
        click.echo(
            f"\nJupyter is ready on {reached.ready.node} (job {self._session.job_id})."
            " Open in your laptop's browser:\n\n"
            f"{link(reached.tunnel.url)}\n\n"
            f"Leave this running. {bold('Ctrl-C')} ends the connection, not the session."
        )

    def watch(self, reached: Connection) -> None:
        """Show the time left."""
        if not self._live:
            return
        left_s = seconds_until(reached.state.end_time, time.time())
        left = "" if left_s is None else f", {duration(left_s)} left"
        text = visible(f"connected to job {self._session.job_id} on {reached.ready.node}{left}")
        now = time.monotonic()
        # Written now and then even if it says the same: so a dead connection is noticed.
        if text != self._shown or now - self._at > _HEARTBEAT_S:
            self._shown, self._at = text, now
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r{text[:width]}\x1b[K")
            sys.stderr.flush()

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self.clear()
        self._waiting.note(text)

    def clear(self) -> None:
        """Erase the live line."""
        self._waiting.clear()
        if self._live and self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        self._shown = ""


@contextmanager
def _hang_up_ends_it() -> Iterator[None]:
    """Have SIGHUP and SIGTERM end the program after its relay."""

    def stop(number: int, _frame: object) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):  # the terminal is gone, and writing to it fails
            os.dup2(null, stream)
        sys.exit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _orphan_check() -> Callable[[], bool]:
    """Return what tells whether the ssh that started this program is gone.

    Without a terminal nothing signals that: sshd closes standard input, or its process is gone.
    """
    parent = os.getppid()
    reads = not sys.stdin.isatty() and not _is_at_end()

    def orphaned() -> bool:
        return os.getppid() != parent or (reads and _is_at_end())

    return orphaned


def _is_at_end() -> bool:
    """Return whether standard input has ended; throw away what it holds."""
    try:
        while select.select([0], [], [], 0)[0]:
            if not os.read(0, 65536):
                return True
    except (OSError, ValueError):
        return True
    return False
