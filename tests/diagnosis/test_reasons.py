"""Slurm's reasons are told in words that help."""

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
def test_a_reason_is_told_in_words(reason: str, words: str) -> None:
    """Whatever Slurm adds to its word, the user reads what the job waits for."""
    assert words in in_words(reason)


@pytest.mark.parametrize("reason", ["job_requeued_in_held_state", "launch failed requeued held"])
def test_nobody_is_blamed_for_what_anybody_may_have_done(reason: str) -> None:
    """Slurm does not say who had the job requeued and held: root, the user, Slurm itself."""
    assert not in_words(reason).startswith("you")


@pytest.mark.parametrize("reason", recorded("reasons.txt"))
def test_every_reason_of_slurm_is_told_in_words(reason: str) -> None:
    """Of 22.05 and of what came since; not one needs to be looked up."""
    assert in_words(reason)


def test_every_row_is_of_use() -> None:
    """Each row of the table is the first that fits some reason of Slurm's, or names it in full."""
    told = {in_words(reason) for reason in recorded("reasons.txt")}

    seldom = [each.word for each in REASONS if each.text not in told]

    # Of slurmctld's source, where Slurm has no table of them.
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
def test_what_can_never_start_is_known(reason: str, *, never: bool) -> None:
    """What the job itself asks for is too much; a limit that others use up, or a hold, passes."""
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
