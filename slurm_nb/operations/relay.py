"""Hold a relay: carry a session to a UNIX socket of this login node until it ends."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from slurm_nb.connection.connection import Connection
from slurm_nb.connection.login import Login
from slurm_nb.connection.relay import HOST, socket_path, ssh_config, sshd_config
from slurm_nb.errors import SchedulerError, UserError
from slurm_nb.files import user_name, write_private
from slurm_nb.job import kit
from slurm_nb.joblog.events import Ready
from slurm_nb.operations.connect import wait_until_ready
from slurm_nb.scheduler.job import LOCAL, JobState
from slurm_nb.scheduler.relay import RelayProcess, make_key
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store

_POLL_S = 1.0
_FIRST_ANSWER_S = 90.0
"""srun waits for the node; an sshd of the job may be slow to start."""
_CHECK_EVERY_S = 15.0
_ANSWER_S = 10.0
_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0)
_FAILURES = len(_PAUSES_S)
"""After so many in a row, none of which was ready, the relay gives up."""


class Display(Protocol):
    """What shows a relay to its user."""

    def wait(self, state: JobState | None, waited_s: float) -> None:
        """Show the state of a job that is not ready; called often."""

    def ready(self, reached: Connection) -> None:
        """Show how to open the page, which has answered through the relay."""

    def watch(self, reached: Connection) -> None:
        """Show the time left; called every second while the relay works."""

    def note(self, text: str) -> None:
        """Show a line that stays."""


def hold_relay(
    session: Session, *, login: Login, display: Display, store: Store, orphaned: Callable[[], bool]
) -> None:
    """Carry `session` to its socket on this host until `orphaned`, over requeues and failures.

    Raises `JobEnded` when the session ends, and `SchedulerError` or `UserError` if there can be no
    relay.
    """
    if session.cluster == LOCAL:
        raise UserError(
            f"session {session.job_id} runs on this machine, without Slurm: it needs no relay",
            hint=f"slurm-nb tunnel-cmd {session.job_id}",
        )
    path = socket_path(store, session)
    failures, shown = 0, None
    while not orphaned():
        reached = wait_until_ready(
            session, login=login, show=display.wait, note=display.note, store=store
        )
        session = reached.session
        with _relay(session, reached.ready, store, path) as relay:
            if _first_answer(relay, path, reached.ready, orphaned):
                failures = 0
                if reached.ready != shown:
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
                hint="try another route: slurm-nb tunnel-cmd --route jump"
                f" {session.job_id}; the session keeps running",
            )
        display.note(f"the relay broke off{f' ({words})' if words else ''}; connecting again")
        time.sleep(_PAUSES_S[failures - 1])


@contextmanager
def _relay(session: Session, ready: Ready, store: Store, path: Path) -> Iterator[RelayProcess]:
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
    with RelayProcess(folder / "ssh_config", HOST) as relay:
        try:
            yield relay
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


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
