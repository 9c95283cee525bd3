"""What Slurm says that a user may use; the lines are Slurm 22.05's own, shortened."""

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


def test_a_partition_with_its_limits_and_nodes() -> None:
    """Each size of node is told once."""
    (main,) = parse_partitions(MAIN, SIZES, accounts=[], groups=[])

    assert (main.name, main.is_default, main.state) == ("main", True, "UP")
    assert (main.default_time, main.max_time) == ("01:00:00", "1-00:00:00")
    assert main.nodes == "8 CPUs, 8000M of memory; 64 CPUs, 512000M of memory, gpu:a100:2"


def test_partitions_of_others_are_left_out() -> None:
    """By group, and by account where accounts are known."""
    text = f"{MAIN}\n{GROUP}\n{ACCOUNT}\n{DENIED}"

    assert names(text, groups=("bio",)) == ["main", "gpu", "paid", "free"]
    assert names(text, accounts=("poor",)) == ["main"]
    assert names(text, accounts=("poor", "rich")) == ["main", "paid", "free"]


@pytest.mark.parametrize("text", ["", "\n", "No partitions in the system", "PartitionName="])
def test_what_is_no_partition_is_none(text: str) -> None:
    """Text that is not understood makes no entry, and no error."""
    assert names(text) == []


def test_accounts_and_qualities_are_told_once_each() -> None:
    """An association per partition names the same account again."""
    accounts, qualities = parse_associations("a|normal,long\nb|normal\na|\n")

    assert (accounts, qualities) == (("a", "b"), ("normal", "long"))


def test_what_slurm_does_not_say_is_told_and_the_rest_goes_on(program: AddProgram) -> None:
    """Without accounting sacctmgr fails, and partitions are learnt all the same."""
    program("sacctmgr", "echo 'You are not running a supported plugin' >&2; exit 1")
    program("scontrol", f"echo '{MAIN}'")
    program("sinfo", "exit 7")

    access = find_access()

    assert [each.name for each in access.partitions] == ["main"]
    assert access.unanswered == (
        "accounts: sacctmgr: You are not running a supported plugin",
        "nodes: sinfo: exit code 7",
    )


def test_a_cluster_without_accounting_is_no_failure(program: AddProgram) -> None:
    """sacctmgr's complaint is not the user's problem."""
    program(
        "sacctmgr", "echo 'You are not running a supported accounting_storage plugin' >&2; exit 1"
    )
    program("scontrol", "echo PartitionName=main")
    program("sinfo", "echo 'main|8 8000 (null)'")

    assert find_access() == Access((Partition("main", is_default=False, default_time="NONE",
        max_time="UNLIMITED", state="UP", nodes="8 CPUs, 8000M of memory"),))  # fmt: skip
