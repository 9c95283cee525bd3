"""Slurm's reasons are explained in plain words."""

from __future__ import annotations

import pytest

from slurm_nb.diagnosis.reasons import REASONS, in_words, never_starts
from tests.conftest import recorded


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("BeginTime", "--begin"),
        ("Dependency", "--dependency"),
        ("(Dependency)", "--dependency"),
        ("DependencyNeverSatisfied", "never start"),
        ("PartitionTimeLimit", "never start"),
        ("JobHeldUser", "scontrol release"),
        ("AssocGrpCPUMinutesLimit", "your account has reached a limit"),
        ("QOSMaxJobsPerUserLimit", "limit per user"),
        ("ReqNodeNotAvail, UnavailableNodes:c[1-2]", "not available now"),
        ("ReqNodeNotAvail(Unavailable:c1)", "not available now"),
        ("launch failed requeued held", "scontrol release"),
        ("job_requeued_in_held_state", "scontrol release"),
    ],
)
def test_a_reason_is_explained(reason: str, words: str) -> None:
    """The user reads what the job waits for, even if Slurm adds to the reason."""
    assert words in in_words(reason)


@pytest.mark.parametrize("reason", ["job_requeued_in_held_state", "launch failed requeued held"])
def test_nobody_is_blamed_for_what_anybody_may_have_done(reason: str) -> None:
    """Slurm does not say who had the job requeued and held: root, the user, Slurm itself."""
    assert not in_words(reason).startswith("you")


@pytest.mark.parametrize("reason", recorded("reasons.txt"))
def test_every_reason_of_slurm_is_explained(reason: str) -> None:
    """These are the reasons of 22.05 and of later releases."""
    assert in_words(reason)


def test_every_row_is_needed() -> None:
    """Each row is the first to match some reason of Slurm's, or names one in full."""
    told = {in_words(reason) for reason in recorded("reasons.txt")}

    seldom = [each.word for each in REASONS if each.text not in told]

    # These are from slurmctld's source; Slurm has no table of them.
    assert seldom == ["user env retrieval failed requeued held", "burst buffer *"]


@pytest.mark.parametrize(
    ("reason", "never"),
    [
        ("PartitionTimeLimit", True),
        ("DependencyNeverSatisfied", True),
        ("AssocMaxWallDurationPerJobLimit", True),
        ("QOSMaxCpuPerJobLimit", True),
        ("QOSMaxMemoryPerNode", True),
        ("QOSMinGRES", True),
        ("Priority", False),
        ("JobHeldUser", False),
        ("PartitionNodeLimit", False),
        ("AssocMaxJobsLimit", False),
        ("QOSMaxJobsPerUserLimit", False),
        ("MaxCpuPerAccount", False),
        ("SomethingNew", False),
    ],
)
def test_a_job_that_can_never_start_is_recognised(reason: str, *, never: bool) -> None:
    """The job itself requests too much; a hold or a limit that others use up is temporary."""
    assert never_starts(reason) is never
    assert ("never start" in in_words(reason)) is never


@pytest.mark.parametrize(
    "reason",
    [
        "",
        "None",
        "SomethingNew",
        "an admin's own words",
        "Prioritymost",
        "xPriority",
    ],
)
def test_an_unknown_reason_is_left_as_it_is(reason: str) -> None:
    """Slurm's next release may have new ones."""
    assert in_words(reason) == ""
