"""The socket of a relay is the user's alone, has a path that ssh can name, and stays the same."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from slurm_nb.connection.relay_end import (
    BusyError,
    held,
    holder,
    own_end,
    prepare,
    user_end,
)
from slurm_nb.errors import UserError
from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store

SEVEN, EIGHT = Session(job=Job("7", "hpc")), Session(job=Job("8", "hpc"))


def short(tmp_path: Path) -> Store:
    """Return a state directory whose path has room for a socket."""
    return Store.of_user({"SLURM_NB_HOME": str(tmp_path / "s")})


def test_a_user_has_one_end_for_all_sessions(tmp_path: Path) -> None:
    """The browser's cache and the laptop's ssh configuration outlive a session."""
    store = short(tmp_path)

    ends = {user_end(store) for _ in range(3)}

    (end,) = ends
    assert end.socket == store.folder / "relay/socket"
    assert 12_000 <= end.port < 32_000
    assert (store.folder / "relay/secret").stat().st_mode & 0o777 == 0o600


def test_the_port_differs_from_user_to_user(tmp_path: Path) -> None:
    """It follows from a secret, so that nobody takes it in advance."""
    ports = {user_end(short(tmp_path / str(number))).port for number in range(20)}

    assert len(ports) > 15


def test_a_damaged_secret_is_replaced(tmp_path: Path) -> None:
    store = short(tmp_path)
    user_end(store)
    (store.relays / "secret").write_text("x" * 32)

    first = user_end(store)

    assert first == user_end(store)


def test_two_sessions_at_once_have_two_ends(tmp_path: Path) -> None:
    """While one relay is held, others see whose it is; afterwards nobody has it."""
    store = short(tmp_path)

    with held(store, SEVEN):
        seen = holder(store)

    assert (seen, holder(store)) == ("7", None)
    assert own_end(store, EIGHT).socket != user_end(store).socket
    assert own_end(store, EIGHT).port != user_end(store).port
    assert own_end(store, EIGHT) == own_end(store, EIGHT)


def test_the_end_of_another_relay_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slurm_nb.connection.relay_end._LOCK_S", 0.2)
    store = short(tmp_path)

    with (
        held(store, SEVEN),
        pytest.raises(BusyError, match="your relay already carries session 7"),
        held(store, EIGHT),
    ):
        pass


def test_a_killed_relay_gives_its_end_back(tmp_path: Path) -> None:
    """The lock ends with its process; its text means nothing without it."""
    store = short(tmp_path)
    code = (
        "import os, sys\nfrom slurm_nb.connection.relay_end import held\n"
        "from slurm_nb.session.store import Store\nfrom slurm_nb.session.session import Session\n"
        "from slurm_nb.scheduler.job import Job\nstore = Store.of_user(os.environ)\n"
        "with held(store, Session(job=Job('7', 'hpc'))): os.kill(os.getpid(), 9)\n"
    )
    environ = {**os.environ, "SLURM_NB_HOME": str(store.folder)}
    subprocess.run([sys.executable, "-c", code], env=environ, check=False, timeout=30)

    assert holder(store) is None
    with held(store, EIGHT):
        assert holder(store) == "8"


@pytest.mark.parametrize("folder", ["x" * 100, "50%", "a:b", "$HOME", "it's"])
def test_a_path_that_a_socket_or_ssh_cannot_have_is_replaced(tmp_path: Path, folder: str) -> None:
    """The other one is in /tmp, with a name that nobody can guess, and always the same."""
    store = Store.of_user({"SLURM_NB_HOME": str(tmp_path / folder)})

    end = user_end(store)

    assert end == user_end(store)
    assert end.socket.parent.parent == Path("/tmp")
    assert len(end.socket.parent.name) > 32
    assert not end.socket.parent.exists()


def test_a_file_system_without_sockets_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(socket.socket):
        def bind(self, _address: object) -> None:
            raise PermissionError

    monkeypatch.setattr(socket, "socket", Refusing)

    assert user_end(short(tmp_path)).socket.parent.parent == Path("/tmp")


def test_a_new_directory_is_private(tmp_path: Path) -> None:
    prepare(tmp_path / "new/s", is_new=True)

    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("planted", ["open directory", "another user's", "link", "file", "socket"])
def test_a_planted_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    """No relay begins if another user could put the socket, or has put something there."""
    path = tmp_path / "end/s"
    if planted == "link":
        (tmp_path / "end").symlink_to(tmp_path)
    elif planted == "file":
        (tmp_path / "end").write_text("")
    else:
        (tmp_path / "end").mkdir(mode=0o700)
    if planted == "open directory":
        (tmp_path / "end").chmod(0o777)
    if planted == "another user's":
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    if planted == "socket":
        path.symlink_to("/nowhere")

    with pytest.raises(UserError, match="exists" if planted == "socket" else "others? "):
        prepare(path, is_new=True)


@pytest.mark.parametrize("name", ["x" * 108, "a%b", "a:b", "a\nb", "${HOME}"])
def test_a_path_that_ssh_would_read_otherwise_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="must be an absolute path"):
        prepare(tmp_path / name, is_new=False)
