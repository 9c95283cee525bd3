"""Slurm's answers about what a user may use; the lines are from Slurm 22.05, shortened."""

from __future__ import annotations

import pytest

from slurm_nb.scheduler.accounts import (
    Access,
    Partition,
    find_access,
    parse_associations,
    parse_partitions,
)
from tests.conftest import AddProgram

MAIN = (
    "PartitionName=main AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES"
    " QoS=N/A DefaultTime=01:00:00 DisableRootJobs=NO MaxTime=1-00:00:00 Nodes=c[1-2] State=UP"
)
GROUP = "PartitionName=gpu AllowGroups=physics,bio Default=NO DefaultTime=NONE MaxTime=UNLIMITED"
ACCOUNT = "PartitionName=paid AllowAccounts=rich DefaultTime=NONE MaxTime=60 State=DRAIN"
DENIED = "PartitionName=free DenyAccounts=course,poor State=UP"
SIZES = "main|8 8000 (null)\nmain|8 8000 (null)\nmain|64 512000 gpu:a100:2\n"


def names(text: str, *, accounts: tuple[str, ...] = (), groups: tuple[str, ...] = ()) -> list[str]:
    return [each.name for each in parse_partitions(text, "", accounts=accounts, groups=groups)]


def test_a_partition_has_its_limits_and_nodes() -> None:
    """Each node size appears once."""
    (main,) = parse_partitions(MAIN, SIZES, accounts=[], groups=[])

    assert (main.name, main.is_default, main.state) == ("main", True, "UP")
    assert (main.default_time, main.max_time) == ("01:00:00", "1-00:00:00")
    assert main.nodes == "8 CPUs, 8000M of memory; 64 CPUs, 512000M of memory, gpu:a100:2"


def test_partitions_that_the_user_cannot_use_are_left_out() -> None:
    """They are restricted to groups, or to accounts if those are known."""
    text = f"{MAIN}\n{GROUP}\n{ACCOUNT}\n{DENIED}"

    assert names(text, groups=("bio",)) == ["main", "gpu", "paid", "free"]
    assert names(text, accounts=("poor",)) == ["main"]
    assert names(text, accounts=("poor", "rich")) == ["main", "paid", "free"]


@pytest.mark.parametrize("text", ["", "\n", "No partitions in the system", "PartitionName="])
def test_text_that_is_not_a_partition_is_ignored(text: str) -> None:
    """It gives neither an entry nor an error."""
    assert names(text) == []


def test_accounts_and_qos_appear_once_each() -> None:
    """An association for each partition repeats the account."""
    accounts, qualities = parse_associations("a|normal,long\nb|normal\na|\n")

    assert (accounts, qualities) == (("a", "b"), ("normal", "long"))


def test_a_failing_query_is_reported_and_the_others_continue(program: AddProgram) -> None:
    """Without accounting sacctmgr fails, but the partitions are still found."""
    program("sacctmgr", "echo 'You are not running a supported plugin' >&2; exit 1")
    program("scontrol", f"echo '{MAIN}'")
    program("sinfo", "exit 7")

    access = find_access()

    assert [each.name for each in access.partitions] == ["main"]
    assert access.unanswered == (
        "accounts: sacctmgr: You are not running a supported plugin",
        "nodes: sinfo: exit code 7",
    )


def test_a_cluster_without_accounting_is_not_an_error(program: AddProgram) -> None:
    """sacctmgr's message does not concern the user."""
    program(
        "sacctmgr", "echo 'You are not running a supported accounting_storage plugin' >&2; exit 1"
    )
    program("scontrol", "echo PartitionName=main")
    program("sinfo", "echo 'main|8 8000 (null)'")

    assert find_access() == Access((Partition("main", is_default=False, default_time="NONE",
        max_time="UNLIMITED", state="UP", nodes="8 CPUs, 8000M of memory"),))  # fmt: skip
