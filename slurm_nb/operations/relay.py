"""Hold a relay: carry a session to a UNIX socket of this login node until it ends."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from slurm_nb.connection.connection import Connection, relay_of, tunnel_of
from slurm_nb.connection.login import Login
from slurm_nb.connection.relay import HOST, ssh_config, sshd_config
from slurm_nb.connection.relay_end import BusyError, End, held, prepare, user_end
from slurm_nb.connection.tunnel import relay_line
from slurm_nb.errors import SchedulerError, UserError
from slurm_nb.files import user_name, write_private
from slurm_nb.job import kit
from slurm_nb.joblog.events import Ready
from slurm_nb.operations.connect import wait_until_ready
from slurm_nb.scheduler.job import JobState
from slurm_nb.scheduler.relay import RelayProcess, make_key
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store

_POLL_S = 1.0
_FIRST_ANSWER_S = 90.0
"""srun waits for the node; an sshd of the job may be slow to start."""
_CHECK_EVERY_S = 10.0
_ANSWER_S = 10.0
_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0)
_FAILURES = len(_PAUSES_S)
"""After so many in a row, none of which was ready, the relay gives up."""


class Display(Protocol):
    """The output of a relay for its user."""

    def wait(self, state: JobState | None, waited_s: float) -> None:
        """Show the state of a job that is not ready; called often."""

    def ready(self, reached: Connection) -> None:
        """Show how to open the page, which has answered through the relay."""

    def watch(self, reached: Connection) -> None:
        """Show the time left; called every second while the relay works."""

    def note(self, text: str) -> None:
        """Show a line that stays."""


class _OrphanedError(Exception):
    """The ssh that started this program is gone."""


@dataclass(frozen=True)
class _Held:
    """The end of a relay while it is held."""

    end: End
    lock: int | None
    """The descriptor that keeps the user's end; None for another one."""


def hold_relay(  # noqa: PLR0913  all but the first are by name
    session: Session,
    *,
    login: Login,
    display: Display,
    store: Store,
    orphaned: Callable[[], bool],
    socket: Path | None = None,
    local_port: int | None = None,
) -> None:
    """Carry `session` to its end on this host until `orphaned`, over requeues and failures.

    socket: None for the user's. local_port: where the laptop reaches it, as the URL says. Raises
    `JobEnded` when the session ends, and `SchedulerError` or `UserError` if a relay is impossible.
    """
    port = local_port or session.local_port
    with _held(session, login, store, socket, port) as kept, contextlib.suppress(_OrphanedError):
        _hold(session, login, display, store, orphaned, kept)


@contextmanager
def _held(
    session: Session, login: Login, store: Store, path: Path | None, local_port: int | None
) -> Iterator[_Held]:
    end = user_end(store, local_port)
    if path:
        yield _Held(End(path, end.port), None)
        return
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(held(store, session))
        except BusyError as busy:
            port, relay = relay_of(session, store)
            line = relay_line(relay, user=user_name(), login=login, local_port=port)
            raise UserError(
                f"{busy}; a second one at the same time has its own line",
                hint=f"run this in a new terminal on your laptop:\n{line}",
            ) from busy
        yield _Held(end, lock)


def _hold(  # noqa: PLR0913, PLR0917  the parts of one relay
    session: Session,
    login: Login,
    display: Display,
    store: Store,
    orphaned: Callable[[], bool],
    kept: _Held,
) -> None:
    failures, shown, path = 0, None, kept.end.socket

    def show(state: JobState | None, waited_s: float) -> None:
        if orphaned():
            raise _OrphanedError
        display.wait(state, waited_s)

    while not orphaned():
        reached = wait_until_ready(session, login=login, show=show, note=display.note, store=store)
        here = replace(reached.session, local_port=kept.end.port)
        tunnel = tunnel_of(here, reached.ready, store, login, "relay")
        reached = replace(reached, tunnel=tunnel)
        with _relay(session, reached.ready, store, kept) as relay:
            if _first_answer(relay, path, reached.ready, orphaned):
                failures = 0
                if reached.ready != shown:
                    if shown:
                        display.note(
                            f"the job started again on {reached.ready.node}; the URL is new"
                        )
                    display.ready(reached)
                    shown = reached.ready
                else:
                    display.note("the relay works again")
                _watch(relay, reached, path, display, store, orphaned)
            words = relay.words()
        if orphaned() or store.log(session).read().ready != reached.ready:
            continue  # it ended, or it was requeued
        _check_possible(words, reached.ready)
        failures += 1
        if failures > _FAILURES:
            raise SchedulerError(
                f"no relay to {reached.ready.node}: {words or 'Jupyter did not answer'}",
                hint="the session keeps running. Try another route: slurm-nb tunnel-cmd"
                f" --route jump {session.job_id}",
            )
        display.note(f"the relay broke off{f' ({words})' if words else ''}; connecting again")
        time.sleep(_PAUSES_S[failures - 1])


@contextmanager
def _relay(session: Session, ready: Ready, store: Store, kept: _Held) -> Iterator[RelayProcess]:
    path = kept.end.socket
    prepare(path, is_new=kept.lock is None)
    folder = store.relay_folder(session)
    _make_keys(folder, session)
    write_private(folder / "sshd_config", sshd_config(folder, ready))
    config = ssh_config(
        folder,
        session.job,
        ready,
        user=user_name(),
        path=path,
        kit=kit.install(store.kits),
        log=store.log_path(session.job_id),
    )
    write_private(folder / "ssh_config", config)
    with RelayProcess(folder / "ssh_config", HOST, path, lock=kept.lock) as relay:
        yield relay


def _make_keys(folder: Path, session: Session) -> None:
    """Make the keys that live and die with the session, unless it has them."""
    if (folder / "known_hosts").exists():
        return
    for name in ("client", "host"):
        for each in (folder / name, folder / f"{name}.pub"):
            each.unlink(missing_ok=True)
        make_key(folder / name, f"slurm-nb job {session.job_id}")
    kind, key, *_ = (folder / "host.pub").read_text(encoding="ascii").split()
    write_private(folder / "known_hosts", f"{HOST} {kind} {key}\n")


def _first_answer(
    relay: RelayProcess, path: Path, ready: Ready, orphaned: Callable[[], bool]
) -> bool:
    """Return whether Jupyter answers through the relay's socket."""
    until = time.monotonic() + _FIRST_ANSWER_S
    while relay.is_running() and time.monotonic() < until and not orphaned():
        if path.exists() and answers(path, ready):
            return True
        time.sleep(0.1)
    return False


def _watch(  # noqa: PLR0913, PLR0917  the parts of one relay
    relay: RelayProcess,
    reached: Connection,
    path: Path,
    display: Display,
    store: Store,
    orphaned: Callable[[], bool],
) -> None:
    """Return when the relay or its session is no longer what was reached."""
    log = store.log(reached.session)
    checked = time.monotonic()
    told = len(log.read().warnings)
    while relay.is_running() and not orphaned():
        progress = log.read()
        if progress.ready != reached.ready:
            return
        for warning in progress.warnings[told:]:
            display.note(warning.text)
        told = len(progress.warnings)
        if time.monotonic() - checked > _CHECK_EVERY_S:
            if not answers(path, reached.ready):
                return
            checked = time.monotonic()
        display.watch(reached)
        time.sleep(_POLL_S)


def _check_possible(words: str, ready: Ready) -> None:
    """Raise `UserError` where connecting again cannot help."""
    if "there is no sshd" in words:
        raise UserError(
            f"{ready.node} has no sshd program, which the relay runs in the job",
            hint="use another route: submit --route jump, or --route direct",
        )


def answers(path: Path, ready: Ready) -> bool:
    """Return whether a Jupyter server answers through a UNIX socket (GET /api, without a token)."""
    base = ready.path.removesuffix("/").rpartition("/")[0]
    request = _SocketConnection(path)
    try:
        request.request("GET", f"{base}/api", headers={"Host": "127.0.0.1"})
        return request.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        request.close()


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("127.0.0.1", timeout=_ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_ANSWER_S)
        self.sock.connect(os.fspath(self._path))
