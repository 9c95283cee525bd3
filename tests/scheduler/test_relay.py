"""The processes of a relay end together, and take their socket with them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurm_nb.errors import SchedulerError
from slurm_nb.scheduler.relay import RelayProcess, make_key
from tests.conftest import AddProgram

# As ssh does: starts its ProxyCommand, makes its socket, and leaves it behind.
SSH = 'cd "${2%/*}"; sleep 600 & echo $! >proxy; echo $$ >pid; touch socket; exec sleep 600'
HOLD = """
import os, sys, time
from pathlib import Path
from slurm_nb.scheduler.relay import RelayProcess
folder = Path(sys.argv[1])
with RelayProcess(folder / "config", "host", folder / "socket", lock=None):
    while True:
        time.sleep(1)
"""


def await_that(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lives(path: Path) -> bool:
    """Return whether the process that wrote its number there runs."""
    status = Path(f"/proc/{path.read_text().strip()}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def folder(tmp_path: Path, program: AddProgram) -> Path:
    program("ssh", SSH)
    return tmp_path


def test_ssh_and_its_proxy_end_with_the_relay(folder: Path) -> None:
    with RelayProcess(folder / "config", "host", folder / "socket", lock=None) as relay:
        await_that((folder / "socket").exists)
        ran = relay.is_running() and lives(folder / "proxy")

    assert ran
    assert not lives(folder / "pid")
    assert not lives(folder / "proxy")
    assert not (folder / "socket").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_ssh_ends_when_its_program_is_killed(folder: Path, number: int) -> None:
    """The socket is removed too, by the shell that outlives the program."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)])
    await_that((folder / "socket").exists)

    holder.send_signal(number)
    holder.wait()

    await_that(lambda: not lives(folder / "pid"))
    await_that(lambda: not (folder / "socket").exists())
    os.kill(int((folder / "proxy").read_text()), signal.SIGKILL)  # ssh itself would end it


def test_the_relay_is_over_when_ssh_is(folder: Path) -> None:
    """Its last words are on one line."""
    (folder / "bin").mkdir(exist_ok=True)
    with RelayProcess(folder / "config", "host", folder / "socket", lock=None) as relay:
        await_that((folder / "socket").exists)
        os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
        await_that(lambda: not relay.is_running())

    assert not (folder / "socket").exists()


def test_the_last_words_are_those_of_ssh(tmp_path: Path, program: AddProgram) -> None:
    program("ssh", "printf 'srun: error:\\nno such job\\n' >&2; exit 255")
    with RelayProcess(tmp_path / "config", "host", tmp_path / "socket", lock=None) as relay:
        await_that(lambda: not relay.is_running())
        words = relay.words()

    assert words == "srun: error: no such job"


def test_without_ssh_there_is_no_relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SchedulerError, match="ssh is not on PATH"):
        RelayProcess(tmp_path / "config", "host", tmp_path / "socket", lock=None)


def test_keys_are_for_the_user_only(tmp_path: Path) -> None:
    """As ssh-keygen makes them; the public one is closed as well."""
    make_key(tmp_path / "client", "slurm-nb job 7")

    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"client": 0o600, "client.pub": 0o600}
