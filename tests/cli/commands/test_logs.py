"""slurm-nb logs"""

from __future__ import annotations

import pytest

from slurm_nb.session.store import Store
from tests.conftest import AddProgram
from tests.fakes import NAMED, Run, running, shown


def test_logs_prints_the_output(run: Run, store: Store) -> None:
    """Nothing in it can steer the terminal."""
    running(store, NAMED, "one\ntwo\x1b[2J\nthree\n")

    assert run("logs", "7").out == "one\ntwo\\x1b[2J\nthree\n"
    assert run("logs", "7", "-n", "1").out == "three\n"


@pytest.mark.parametrize("there", [True, False])
def test_logs_of_a_job_that_has_not_begun(run: Run, store: Store, *, there: bool) -> None:
    """Exit code 5, and how to learn more; slurm-nb itself makes the file, empty."""
    store.save(NAMED)
    if not there:
        store.log_path("7").unlink()

    said = run("logs", "7")

    assert (said.code, said.out) == (5, "")
    assert f"job 7 has written nothing yet: {store.log_path('7')} is" in said.err
    assert "slurm-nb status 7" in said.err


def test_logs_of_a_job_that_ended_without_a_word(run: Run, store: Store, slurm: AddProgram) -> None:
    """Why it ended is all there is to say, with the exit code of a job that has ended."""
    store.save(NAMED)
    slurm("squeue", shown("CANCELLED", node="n/a"))
    run("list")

    said = run("logs", "7")

    assert (said.code, said.out) == (4, "")
    assert "the job was cancelled before it started" in said.err


def test_logs_that_follow_nothing_say_so(run: Run, store: Store, slurm: AddProgram) -> None:
    """An empty screen would look like a fault."""
    store.save(NAMED)
    slurm("squeue", shown("COMPLETED"))

    said = run("logs", "-f", "7")

    assert said.code == 0
    assert said.err == "job 7 has written nothing yet\n"


def test_logs_follows_until_the_job_has_ended(run: Run, store: Store, slurm: AddProgram) -> None:
    """What comes is shown, and then it ends by itself."""
    running(store, NAMED, "one\n")
    slurm("squeue", f'echo two >>"{store.log_path("7")}"; ' + shown("COMPLETED"))

    assert run("logs", "-f", "7").out == "one\ntwo\n"
