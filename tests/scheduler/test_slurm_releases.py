"""Answers of newer Slurm releases can be read; test_slurm.py has all other cases."""

from __future__ import annotations

import pytest

from slurm_nb.scheduler.job import JobState, Phase
from slurm_nb.scheduler.parse import parse_sacct, parse_squeue
from tests.conftest import recorded_json

SAID: list[tuple[str, str, int, str, str]] = [tuple(row) for row in recorded_json("releases.txt")]
VERSIONS = sorted({version for version, *_ in SAID})
_SCRIPT = "/home/alice/job.sh"
_ENDED = {"2": Phase.ENDED, "3": Phase.ENDED, "9": Phase.ENDED}
_WAITING = dict.fromkeys("45678", Phase.PENDING)


def _answers(version: str, program: str) -> list[tuple[int, str, str]]:
    """Return exit code and both outputs of each recorded call of a program."""
    return [
        (code, out, err)
        for each, command, code, out, err in SAID
        if each == version and command.split()[0] == program
    ]


def as_asked(text: str) -> str:
    """Return the recorded columns with `%S`, which was not requested at the time."""
    rows = [line.split("|") for line in text.splitlines()]
    return "".join("|".join([*row[:4], "N/A", *row[4:]]) + "\n" for row in rows)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_job_that_squeue_shows_can_be_read(version: str) -> None:
    """Running, pending, cancelled and failed jobs have their phase, node and script."""
    _, text, _ = _answers(version, "squeue")[0]

    states = parse_squeue(as_asked(text))

    phases = {job_id: state.phase for job_id, state in states.items()}
    assert phases == {"1": Phase.RUNNING, **_ENDED, **_WAITING}
    assert {state.script for state in states.values()} == {_SCRIPT}
    assert {state.user for state in states.values()} == {"alice"}
    assert (states["1"].node, states["4"].node) == ("c1", None)
    assert states["5"].reason == "PartitionDown"
    assert states["2"].reason == "NonZeroExitCode"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_job_that_sacct_shows_can_be_read(version: str) -> None:
    """These are the same jobs after squeue has dropped the ended ones."""
    _, text, _ = _answers(version, "sacct")[0]

    states = parse_sacct(text)

    phases = {job_id: state.phase for job_id, state in states.items()}
    assert phases == {"1": Phase.RUNNING, **_ENDED, **_WAITING}
    assert states["9"] == JobState(Phase.ENDED, "CANCELLED", by_uid=21001)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_lost_job_and_a_silent_controller_have_the_expected_messages(
    version: str,
) -> None:
    """A single unknown id is an error; among several, squeue leaves it out; silence is neither."""
    _, lost, several, unknown, silent = _answers(version, "squeue")

    assert lost == unknown == (1, "", "slurm_load_jobs error: Invalid job id specified\n")
    assert set(parse_squeue(as_asked(several[1]))) == {"1"}
    assert silent[0] == 1
    assert "Invalid job id" not in silent[2]
