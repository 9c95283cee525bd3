"""A mistyped command or option gets the corrected line as a hint."""

from __future__ import annotations

import json

import pytest

from tests.conftest import AddProgram
from tests.fakes import Run, calls


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("submt -t 90", "did you mean: slurm-nb submit -t 90"),
        ("ls", "did you mean: slurm-nb list"),
        ("stop 7", "did you mean: slurm-nb cancel 7"),
        ("ssh 7", "did you mean: slurm-nb tunnel-cmd 7"),
        ("help submit", "write: slurm-nb submit --help"),
        ("help", "write: slurm-nb --help"),
        ("xyzzy", "show all commands: slurm-nb --help"),
        ("submit --cpus 4", "did you mean: slurm-nb submit --cpus-per-task 4"),
        ("submit --cpus=4 -t 90", "did you mean: slurm-nb submit --cpus-per-task=4 -t 90"),
        ("submit -n 4", "did you mean: slurm-nb submit --cpus-per-task 4"),
        ("submit -n4", "did you mean: slurm-nb submit --cpus-per-task=4"),
        ("submit --lab", "did you mean: slurm-nb submit --ui lab"),
        ("submit --tiem 90", "did you mean: slurm-nb submit --time 90"),
        ("submit --mail-type END -t 9", "write: slurm-nb submit -t 9 -- --mail-type END"),
        ("submit --mail-type=END", "write: slurm-nb submit -- --mail-type=END"),
        ("submit --hold -- --nice", "write: slurm-nb submit -- --nice --hold"),
        ("status --josn", "did you mean: slurm-nb status --json"),
        ("status --xyzzy", "show the options: slurm-nb status --help"),
    ],
)
def test_the_hint_is_the_corrected_line(run: Run, slurm: AddProgram, line: str, hint: str) -> None:
    """You can paste it; nothing is submitted, and the exit code is that of a usage error."""
    result = run(*line.split())

    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines()[1:] == [f"  {hint}"]
    assert calls(slurm, "sbatch") == []


def test_a_value_with_blanks_is_quoted_in_the_corrected_line(run: Run) -> None:
    """A shell reads the same arguments again."""
    assert "submit -- '--wckey=a b'" in run("submit", "--wckey=a b").err


@pytest.mark.parametrize(
    "words", [["url", "--json"], ["status", "9", "--json"], ["submit", "--json", "--nope"],
              ["submit", "--json", "--ui", "x"]]
)  # fmt: skip
def test_a_failure_with_json_is_an_object(run: Run, words: list[str]) -> None:
    """A program reads the failure, the next step and the exit code on stdout."""
    result = run(*words)

    answer = json.loads(result.out)
    assert answer.keys() == {"error", "hint", "exit_code"}
    assert answer["exit_code"] == result.code != 0
    assert answer["error"] in result.err


def test_json_after_two_hyphens_is_for_sbatch(run: Run) -> None:
    """slurm-nb prints an object only for its own --json option."""
    assert run("submit", "-t", "x", "--", "--json").out == ""


@pytest.mark.usefixtures("slurm")
def test_a_wait_that_times_out_is_one_object(run: Run) -> None:
    """The job's id and the failure are in the same object."""
    result = run("submit", "--json", "--wait-timeout", "0")

    answer = json.loads(result.out)
    assert (answer["job_id"], answer["exit_code"], result.code) == ("7", 5, 5)
