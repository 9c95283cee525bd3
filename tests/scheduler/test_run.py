"""Programs run without a terminal, and their answers hold no surprises."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slurm_nb.errors import SchedulerError
from slurm_nb.scheduler.run import Result, query_environ, run
from tests.conftest import AddProgram


def test_a_program_returns_its_answer(program: AddProgram) -> None:
    """Exit code and both outputs come back, whatever bytes they contain."""
    program("squeue", "printf 'out \\xff'; echo err >&2; exit 3")

    assert run(["squeue"], timeout_s=5) == Result(3, "out \ufffd", "err\n")


@pytest.mark.usefixtures("program")
def test_a_missing_program_is_named() -> None:
    """The user learns which program is missing."""
    with pytest.raises(SchedulerError, match="no-such-program is not on PATH"):
        run(["no-such-program"], timeout_s=5)


def test_a_hanging_program_is_stopped(program: AddProgram) -> None:
    """A hanging controller does not hang slurm-nb."""
    program("squeue", "exec /bin/sleep 60")

    with pytest.raises(SchedulerError, match=r"squeue did not respond within 0\.2 s"):
        run(["squeue"], timeout_s=0.2)


def test_a_program_reads_nothing_and_is_out_of_reach_of_ctrl_c(program: AddProgram) -> None:
    """It has no terminal to wait for, and its own process session."""
    program("squeue", "cat; ps -o sid= -p $$")

    answer = run(["squeue"], timeout_s=5)

    assert int(answer.stdout) != os.getsid(0)


def test_queries_do_not_inherit_formats_or_the_surrounding_job() -> None:
    """Variables that change squeue's output are removed; those that choose a Slurm stay."""
    environ = {
        "PATH": "/bin",
        "SLURM_CONF": "/etc/slurm.conf",
        "SLURM_CLUSTERS": "big",
        "SQUEUE_FORMAT": "%j",
        "SACCT_FORMAT": "jobname",
        "SLURM_TIME_FORMAT": "relative",
        "SLURM_JOB_ID": "1",
        "SCANCEL_INTERACTIVE": "1",
        "LC_ALL": "de_DE.UTF-8",
    }

    assert query_environ(environ) == {
        "PATH": "/bin",
        "SLURM_CONF": "/etc/slurm.conf",
        "LC_ALL": "C",
    }


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Result(1, "out\n", "slurm: error:\n  two   lines\n"), "slurm: error: two lines"),
        (Result(1, "out\n", ""), "out"),
        (Result(3, "", ""), "exit code 3"),
        (Result(3, "", "\n"), "exit code 3"),
    ],
)
def test_the_message_of_an_answer_is_one_line(answer: Result, words: str) -> None:
    """Several lines become one; if the program is silent, the exit code is the message."""
    assert answer.words == words


def test_output_from_before_the_timeout_is_reported(program: AddProgram) -> None:
    """With a wrong SLURM_CONF, scontrol retries for ever and says so on stderr."""
    program("scontrol", "echo 'error: Unable to contact slurm controller' >&2; exec sleep 60")

    with pytest.raises(SchedulerError, match=r"0\.5 s: error: Unable to contact slurm controller"):
        run(["scontrol", "ping"], timeout_s=0.5)


def test_a_wrong_slurm_conf_is_reported_at_once(program: AddProgram, tmp_path: Path) -> None:
    """Slurm's commands would try for a minute."""
    program("squeue", "echo called")
    conf = str(tmp_path / "slurm.conf")

    with pytest.raises(SchedulerError, match=r"SLURM_CONF names .*, which") as caught:
        run(["squeue"], timeout_s=5, environ={**os.environ, "SLURM_CONF": conf})

    assert "unset SLURM_CONF" in (caught.value.hint or "")
