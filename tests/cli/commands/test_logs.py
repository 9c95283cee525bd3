"""slurm-nb logs"""

from __future__ import annotations

import json

import pytest

from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.session.store import Store
from tests.conftest import AddProgram
from tests.fakes import NAMED, READY, Run, running, settle_as_proven, shown, told


def test_logs_prints_the_output(run: Run, store: Store) -> None:
    """Nothing in it can control the terminal."""
    running(store, NAMED, "one\ntwo\x1b[2J\nthree\n")

    assert run("logs", "7").out == "one\ntwo\\x1b[2J\nthree\n"
    assert run("logs", "7", "-n", "1").out == "three\n"


@pytest.mark.parametrize("there", [True, False])
def test_logs_of_a_job_that_has_not_started(run: Run, store: Store, *, there: bool) -> None:
    """The exit code is 5 with a hint; slurm-nb has created the file, still empty."""
    store.save(NAMED)
    if not there:
        store.log_path("7").unlink()

    said = run("logs", "7")

    found = "is empty" if there else "does not exist"
    assert (said.code, said.out) == (5, "")
    assert f"job 7 has no output yet: {store.log_path('7')} {found}" in said.err
    assert "slurm-nb status 7" in said.err


def test_logs_of_a_job_that_ended_without_output(run: Run, store: Store) -> None:
    """The command says why the job ended, with the exit code for that."""
    store.save(NAMED)
    settle_as_proven(store, NAMED, JobState(Phase.ENDED, "CANCELLED"))

    said = run("logs", "7")

    assert (said.code, said.out) == (4, "")
    assert "the job was cancelled before it started" in said.err


def test_logs_says_so_if_there_is_no_output_to_follow(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """An empty screen would look like an error."""
    store.save(NAMED)
    slurm("squeue", shown("COMPLETED"))

    said = run("logs", "-f", "7")

    assert said.code == 0
    assert said.err == "job 7 has no output yet\n"


def test_logs_follows_until_the_job_has_ended(run: Run, store: Store, slurm: AddProgram) -> None:
    """New lines appear, and then the command ends by itself."""
    running(store, NAMED, "one\n")
    slurm("squeue", f'echo two >>"{store.log_path("7")}"; ' + shown("COMPLETED"))

    assert run("logs", "-f", "7").out == "one\ntwo\n"


_END = """[C 2026-11-28 05:09:45.121 ServerApp] received signal 15, stopping
[I 2026-11-28 05:09:45.122 ServerApp] Shutting down 6 extensions
Traceback (most recent call last):
  File "zmq/sugar/socket.py", line 696, in send
zmq.error.ZMQError: Socket operation on non-socket
"""


def test_logs_shows_the_jobs_own_lines_as_plain_sentences(run: Run, store: Store) -> None:
    """There is no JSON, no nonce and no blank line before them."""
    output = told("started") + "a\n\nb\n" + READY + told("warning", kind="time", text="15 min left")
    running(store, NAMED, output + told("failed", text="no jupyter", cure="install it"))

    assert run("logs", "7").out.splitlines() == [
        "slurm-nb: the job started",
        "a",
        "",
        "b",
        "slurm-nb: Jupyter is ready on c1",
        "slurm-nb: 15 min left",
        "slurm-nb: no jupyter; install it",
    ]


def test_logs_hides_the_tracebacks_of_a_normal_end(run: Run, store: Store) -> None:
    """A cancelled session does not look like a crash."""
    running(store, NAMED, "a\n" + _END + told("ended", exit_code=0))

    out = run("logs", "7").out

    assert "Shutting down 6 extensions" in out
    assert "zmq" not in out
    assert "Traceback" not in out
    assert out.endswith("slurm-nb: Jupyter ended normally\n")


@pytest.mark.parametrize("end", [told("ended", exit_code=1), ""])
def test_logs_shows_the_tracebacks_of_any_other_end(run: Run, store: Store, end: str) -> None:
    """They may be the cause."""
    running(store, NAMED, "a\n" + _END + end)

    assert "zmq.error.ZMQError" in run("logs", "7").out


def test_logs_shows_as_many_lines_as_requested(run: Run, store: Store) -> None:
    """The blank line before one of the job's own lines is not shown."""
    running(store, NAMED, "one\ntwo\n" + READY)

    assert run("logs", "7", "-n", "2").out == "two\nslurm-nb: Jupyter is ready on c1\n"


def test_logs_as_json(run: Run, store: Store) -> None:
    """One object has the same lines."""
    running(store, NAMED, "one\ntwo\n")

    answer = json.loads(run("logs", "7", "-n", "1", "--json").out)

    assert answer == {"job_id": "7", "cluster": "hpc", "lines": ["two"]}
