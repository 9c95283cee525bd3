"""When the end of a session is certain, and that it stays so."""

from __future__ import annotations

import pytest

from slurm_nb.diagnosis.outcome import Outcome, is_certain, is_over


def ended(cause: str) -> Outcome:
    return Outcome("FAILED", "", cause, "", "", "", at=1000)


@pytest.mark.parametrize(
    ("cause", "now_s", "certain"),
    [("idle", 1000, True), ("unknown", 1120, False), ("unknown", 1121, True)],
)
def test_an_unknown_cause_is_certain_after_two_minutes(
    cause: str, now_s: int, *, certain: bool
) -> None:
    """The end of the output, which may show the cause, can arrive that late."""
    assert is_certain(ended(cause), now_s) is certain


@pytest.mark.parametrize(("now_s", "over"), [(1000, False), (4600, False), (4601, True)])
def test_a_job_can_return_for_an_hour(now_s: int, *, over: bool) -> None:
    """scontrol requeue works for as long as Slurm knows the job."""
    assert is_over(ended("idle"), now_s) is over


def test_an_unsaved_outcome_is_not_certain() -> None:
    """Nothing has shown yet that the session is over."""
    assert not is_certain(None, 5000)
    assert not is_over(None, 5000)
