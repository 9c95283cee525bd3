"""A pipe, a device or a huge file in the place of a file hangs nothing, and costs no memory."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurm_nb.joblog.reader import JobLog
from slurm_nb.session.store import Store
from tests.conftest import NONCE, AddProgram
from tests.fakes import READY, WHO, Run, calls, has_token, run, running, shown, slurm

__all__ = ["run", "slurm"]

Place = Callable[[Path], None]


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)


def endless(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def terminal(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/tty")


NAMES = [
    "jobs/7_0_log.out", "answers/hpc.lock", "answers/hpc.json", "sessions/hpc/7/token",
    "sessions/hpc/7/nonce", "sessions/hpc/7/session.json", "sessions/hpc/7/activity.json",
    "sessions/hpc/7/ended.json", "sessions/hpc/7/witness.json", "submitting/1.json", "password",
    "error.log",
]  # fmt: skip


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize("place", [pipe, endless, terminal], ids=lambda each: each.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_no_command_waits_for_a_special_file(
    run: Run, store: Store, name: str, place: Place
) -> None:
    """Each ends at once, with an answer or an error of one line."""
    running(store)
    place(store.folder / name)

    for words in (["list"], ["status", "7"], ["tunnel-cmd", "7"], ["logs", "7"], ["cancel", "7"]):
        began = time.monotonic()
        result = run(*words)
        assert time.monotonic() - began < 5
        assert result.code in {0, 1, 3, 5}
        assert "fault of slurm-nb" not in result.err


@pytest.mark.usefixtures("slurm")
def test_all_commands_report_output_that_cannot_be_read(run: Run, store: Store) -> None:
    """status, tunnel-cmd and logs do not contradict each other."""
    running(store)
    pipe(store.log_path("7"))

    said = {words: run(words, "7") for words in ("status", "tunnel-cmd", "logs")}

    for each in said.values():
        text = each.out + each.err
        assert "cannot read" in text
        assert ": it is not a regular file" in text
    assert [each.code for each in said.values()] == [0, 5, 1]


@pytest.mark.usefixtures("slurm")
def test_a_stopped_command_does_not_keep_the_others(run: Run, store: Store) -> None:
    """Ctrl-Z stops one that waits for Slurm: it holds the lock, and may never continue."""
    running(store)
    holder = "from slurm_nb.session.state_cache import *; import time, pathlib, sys\n"
    holder += "from slurm_nb.session import state_cache as s\n"
    holder += "with s._opened(pathlib.Path(sys.argv[1])) as f:\n"
    holder += "    s._lock(f); print('held', flush=True); time.sleep(60)\n"
    path = store.folder / "answers" / "hpc.lock"
    with subprocess.Popen([sys.executable, "-c", holder, str(path)], stdout=subprocess.PIPE) as it:
        assert it.stdout
        it.stdout.readline()
        it.send_signal(signal.SIGSTOP)
        os.waitpid(it.pid, os.WUNTRACED)
        began = time.monotonic()
        said = run("list")
        took_s = time.monotonic() - began
        it.kill()

    assert "RUNNING" in said.out
    assert took_s < 5


def test_a_flood_of_lines_like_the_jobs_costs_no_memory(tmp_path: Path) -> None:
    """The log has 120 MB of them, before the nonce is known and after; the job's line is found."""
    line = (
        f"slurm-nb warning: {WHO}".replace("'", '"').encode().replace(NONCE.encode(), b"00") + b"\n"
    )
    path = tmp_path / "log"
    with path.open("wb") as file:
        for _ in range(120):
            file.write(line * (1_000_000 // len(line)))
        file.write(READY.encode())
    nonces = [None, NONCE]
    log = JobLog(path, cluster="hpc", job_id="7", nonce=lambda: nonces.pop(0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    log.read()
    waited_for = log.unproved
    progress = log.read()

    assert waited_for
    assert progress.ready
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def slurm_nb(words: str, store: Store) -> subprocess.CompletedProcess[str]:
    """Run the program in a shell, to test its redirections."""
    environ = {**os.environ, "SLURM_NB_HOME": str(store.folder), "PYTHONPATH": str(Path.cwd())}
    command = words.replace("slurm-nb", f"{sys.executable} -m slurm_nb")
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
        timeout=50,
    )


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize(
    "words", ["list", "status 7", "tunnel-cmd 7", "logs 7", "submit --no-wait --json"]
)
def test_an_answer_that_cannot_be_written_is_one_line_and_exit_code_1(
    store: Store, words: str
) -> None:
    """A full disk behind stdout does not give Python's error and 120; a job is named."""
    running(store)

    said = slurm_nb(f"slurm-nb {words} >/dev/full", store)

    assert said.returncode == 1, said
    assert "No space left on device" in said.stderr
    assert "Exception" not in said.stderr
    if "submit" in words:
        assert "slurm-nb tunnel-cmd 7" in said.stderr


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize("words", ["list", "tunnel-cmd 7", "submit", "wait 7"])
def test_talk_that_cannot_be_written_does_not_cost_the_answer(store: Store, words: str) -> None:
    """A full disk behind stderr: stdout has the answer, and the exit code is 0."""
    running(store)

    said = slurm_nb(f"slurm-nb {words} 2>/dev/full", store)

    assert said.returncode == 0, said
    assert "RUNNING" in said.stdout or "ssh -N" in said.stdout


def test_cancel_needs_no_stdout(store: Store, slurm: AddProgram) -> None:
    """Its messages go to stderr."""
    running(store)
    slurm(
        "squeue", f'grep -qs 7 "${{0%/*}}/scancel.calls" && w=CANCELLED || w=RUNNING; {shown("$w")}'
    )

    said = slurm_nb("slurm-nb cancel 7 >&-", store)

    assert (said.returncode, said.stderr) == (0, "Cancelled job 7.\n")
    assert calls(slurm, "scancel") == ["7"]
    assert not has_token(store)
