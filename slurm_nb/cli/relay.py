"""The output of `connect` and `submit --connect`, which hold a relay in the foreground."""

from __future__ import annotations

import functools
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from slurm_nb.cli.console import bold, link, say, say_notices, visible
from slurm_nb.cli.progress import WaitingLine
from slurm_nb.cli.sessions import UserContext
from slurm_nb.connection.connection import Connection
from slurm_nb.connection.ssh_connection import ends_of, is_retransmitting
from slurm_nb.errors import EXIT_INTERRUPTED
from slurm_nb.operations.relay import hold_relay
from slurm_nb.scheduler.job import JobState
from slurm_nb.scheduler.login_shell import find_slurm
from slurm_nb.session.session import Session
from slurm_nb.times import duration, seconds_until

_Function = TypeVar("_Function", bound=Callable[..., Any])
# Together with what follows less than the 60 s after which nothing is left.
_HEARTBEAT_S = 8.0
_SILENT_S = 40.0
"""A shorter gap in the network does no harm. The laptop's ssh itself gives up after 90 s."""


def with_slurm(function: _Function) -> _Function:
    """Have a command find Slurm's programs where `ssh HOST COMMAND` has no PATH for them."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  the command's own
        find_slurm()
        return function(*args, **kwargs)

    return wrapped  # type: ignore[return-value]


def hold(
    session: Session,
    user: UserContext,
    *,
    socket: Path | None = None,
    local_port: int | None = None,
) -> int:
    """Hold a relay to `session` until Ctrl-C; return the exit code.

    socket, local_port: see `hold_relay`, which also says what is raised.
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
                socket=socket,
                local_port=local_port,
            )
    except KeyboardInterrupt:
        display.clear()
        say(
            f"The connection has ended; session {session.job_id} keeps running.\n"
            f"  Connect again:  slurm-nb connect {session.job_id}\n"
            f"  Cancel:         slurm-nb cancel {session.job_id}"
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

    Without a terminal nothing signals that: sshd closes standard input, or its process is gone. If
    the network is gone, even sshd does not know for two hours, but the kernel sends the live line
    again and again.
    """
    parent, ends = os.getppid(), ends_of(os.environ)
    reads = not sys.stdin.isatty() and not _is_at_end()
    heard_at = time.monotonic()

    def orphaned() -> bool:
        nonlocal heard_at
        now = time.monotonic()
        if ends is None or not is_retransmitting(ends):
            heard_at = now
        gone = now - heard_at > _SILENT_S
        return gone or os.getppid() != parent or (reads and _is_at_end())

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
