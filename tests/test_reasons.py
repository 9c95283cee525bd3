"""Slurm's reasons are told in words that help."""

from __future__ import annotations

import pytest

from slurm_nb.reasons import in_words


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("BeginTime", "--begin"),
        ("Dependency", "--dependency"),
        ("(Dependency)", "--dependency"),
        ("DependencyNeverSatisfied", "never start"),
        ("PartitionTimeLimit", "never start"),
        ("JobHeldUser", "scontrol release"),
        ("AssocGrpCPUMinutesLimit", "limit of your account"),
        ("QOSMaxJobsPerUserLimit", "limit of the QOS"),
        ("ReqNodeNotAvail, UnavailableNodes:c[1-2]", "not available now"),
        ("ReqNodeNotAvail(Unavailable:c1)", "not available now"),
    ],
)
def test_a_reason_is_told_in_words(reason: str, words: str) -> None:
    """Whatever Slurm adds to its word, the user reads what the job waits for."""
    assert words in in_words(reason)


@pytest.mark.parametrize("reason", ["", "None", "SomethingNew", "an admin's own words"])
def test_an_unknown_reason_is_left_as_it_is(reason: str) -> None:
    """Slurm's next release may have new ones."""
    assert in_words(reason) == ""
