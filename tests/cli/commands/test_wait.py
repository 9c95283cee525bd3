"""slurm-nb wait"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime

import pytest

from slurm_nb.session.store import Store
from tests.conftest import AddProgram
from tests.fakes import NAMED, TOKEN, Run, running, shown


@pytest.mark.usefixtures("slurm")
def test_wait_prints_how_to_connect(run: Run, store: Store) -> None:
    """The output is the same as submit's."""
    running(store, NAMED)

    said = run("wait", "7")

    assert said.code == 0
    assert "Jupyter is running on c1 (job 7)." in said.out
    assert f"?token={TOKEN}" in said.out


@pytest.mark.parametrize(("left_s", "times"), [(3500, 0), (7200, 1)])
def test_wait_mentions_the_idle_stop_only_if_it_can_come_before_the_time_limit(
    run: Run, store: Store, slurm: AddProgram, left_s: int, times: int
) -> None:
    """An earlier time limit makes it irrelevant."""
    running(store, NAMED)
    end = datetime.fromtimestamp(time.time() + left_s)  # noqa: DTZ006  local
    slurm("squeue", shown("RUNNING", end.isoformat(timespec="seconds")))

    assert run("wait", "7").out.count("or after 60 min without use") == times


def test_wait_for_a_job_that_has_ended(run: Run, store: Store, slurm: AddProgram) -> None:
    """The exit code is 4, with the cause and the cure."""
    running(store, NAMED, "")
    slurm("squeue", shown("CANCELLED", node="n/a"))

    said = run("wait", "7")

    assert (said.code, said.out) == (4, "")
    assert "the job ended before Jupyter was ready: CANCELLED" in said.err
    assert "slurm-nb submit --again 7" in said.err


def test_wait_does_not_trust_the_ready_line_of_an_earlier_run(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """A job that is back in the queue is not ready, though its output says so."""
    running(store, NAMED)
    slurm("squeue", shown("PENDING", reason="BeginTime"))

    said = run("wait", "7", "--wait-timeout", "0")

    assert (said.code, said.out) == (5, "")
    assert "slurm-nb wait 7" in said.err


def test_the_timeout_in_the_message_is_the_users(run: Run, store: Store, slurm: AddProgram) -> None:
    """It does not show the time that was left after reading an earlier run's output."""
    running(store, NAMED)
    slurm("squeue", shown("PENDING", reason="BeginTime"))

    nothing, one = (run("wait", "7", "--wait-timeout", each).err for each in ("0", "1"))

    assert "slurm-nb: not ready after 0 s: " in nothing
    assert "slurm-nb: not ready after 1 s: " in one


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_a_signal_ends_the_wait_and_says_how_to_connect_later(
    run: Run, store: Store, slurm: AddProgram, number: int, code: int
) -> None:
    """The job keeps running, and the exit code is that of the signal."""
    store.save(NAMED)
    slurm("squeue", f"kill -{number} $PPID; " + shown("PENDING", reason="Priority"))

    said = run("wait", "7")

    assert said.code == code
    assert "Job 7 keeps running.\n  Wait again:  slurm-nb wait 7\n" in said.err


def test_wait_says_that_a_job_cannot_start(run: Run, store: Store, slurm: AddProgram) -> None:
    """It says so once and what to do, because the wait would never end."""
    store.save(NAMED)
    slurm("squeue", shown("PENDING", reason="PartitionTimeLimit"))

    said = run("wait", "7", "--wait-timeout", "3")

    assert said.code == 5
    assert said.err.count("this job cannot start (PartitionTimeLimit)") == 1
    assert "slurm-nb cancel 7" in said.err


@pytest.mark.parametrize("command", ["wait", "tunnel-cmd", "url", "status"])
def test_a_suspended_job_is_reported(
    run: Run, store: Store, slurm: AddProgram, command: str
) -> None:
    """The commands print how to connect, but Jupyter does not respond."""
    running(store, NAMED)
    slurm("squeue", shown("SUSPENDED"))

    said = run(command, "7")

    assert said.code == 0
    assert "does not respond while job 7 is SUSPENDED" in said.out + said.err


@pytest.mark.usefixtures("slurm")
def test_a_terminal_gets_a_bell_and_a_title(store: Store) -> None:
    """With --notify they go to stderr when Jupyter is ready, and only to a terminal."""
    running(store, NAMED)
    shown_there, code = on_terminal(store, "wait", "7", "--notify")
    plain, _ = on_terminal(store, "wait", "7")

    assert code == 0
    assert b"\x1b]0;slurm-nb: job 7 is ready\x07\a" in shown_there
    assert b"\a" not in plain


@pytest.mark.usefixtures("slurm")
def test_a_file_gets_no_bell(run: Run, store: Store) -> None:
    """The log of a batch job contains no control characters."""
    running(store, NAMED)

    assert "\a" not in run("wait", "7", "--notify").err


def on_terminal(store: Store, *words: str) -> tuple[bytes, int]:
    """Run slurm-nb on a terminal; return its output and exit code."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "slurm_nb", *words],
        env={**os.environ, "SLURM_NB_HOME": str(store.folder)},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    seen: list[bytes] = []

    def read() -> None:
        try:
            while more := os.read(master, 65536):
                seen.append(more)
        except OSError:  # EIO: it has ended
            return

    reader = threading.Thread(target=read)
    reader.start()
    code = process.wait(30)
    reader.join(10)
    os.close(master)
    return b"".join(seen), code
