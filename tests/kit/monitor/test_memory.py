"""The kit finds the job's memory limit and use in both versions of control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slurm_nb.kit.monitor.memory import Levels, Memory, Usage, gibibytes, twice

GIB = 1 << 30
# As the kernel shows them on Slurm 22.05 with cgroup/v1 (Debian 12's hybrid mounts) and with
# cgroup/v2, without the lines that do not concern memory.
V1_MOUNTS = """\
402 401 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
405 401 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
411 401 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V1_GROUP = """\
5:devices:/slurm/uid_1000/job_7/step_batch
4:memory:/slurm/uid_1000/job_7/step_batch/task_0
0::/system.slice/slurmd.service
"""
V2_MOUNTS = (
    "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,memory_recursiveprot\n"
)
V2_GROUP = "0::/system.slice/slurmstepd.scope/job_7/step_batch/user/task_0\n"
UNLIMITED_V1 = "9223372036854771712"


class Machine:
    """A file tree of a machine with 64 GiB of memory."""

    def __init__(self, root: Path, mounts: str, group: str) -> None:
        self.root = root
        self.write("proc/meminfo", f"MemTotal:       {64 << 20} kB\nMemFree:        1 kB\n")
        self.write("proc/self/mountinfo", mounts)
        self.write("proc/self/cgroup", group)

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def v1(self, path: str, limit: object, used: int, inactive: int = 0, kills: int = 0) -> None:
        folder = f"sys/fs/cgroup/memory/{path}"
        self.write(f"{folder}/memory.limit_in_bytes", f"{limit}\n")
        self.write(f"{folder}/memory.usage_in_bytes", f"{used}\n")
        stat = f"cache 5\ninactive_file 1\ntotal_inactive_file {inactive}\n"
        self.write(f"{folder}/memory.stat", stat)
        events = f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n"
        self.write(f"{folder}/memory.oom_control", events)

    def v2(self, path: str, limit: object, used: int, inactive: int = 0, kills: int = 0) -> None:
        folder = f"sys/fs/cgroup/{path}"
        self.write(f"{folder}/memory.max", f"{limit}\n")
        self.write(f"{folder}/memory.high", "max\n")
        self.write(f"{folder}/memory.current", f"{used}\n")
        self.write(f"{folder}/memory.stat", f"anon 5\ninactive_file {inactive}\n")
        self.write(f"{folder}/memory.events", f"low 0\nhigh 0\nmax 3\noom 1\noom_kill {kills}\n")

    @property
    def memory(self) -> Memory:
        return Memory(str(self.root))


@pytest.fixture
def old(tmp_path: Path) -> Machine:
    """Return a machine with version 1 that limits the job to 4 GiB."""
    machine = Machine(tmp_path, V1_MOUNTS, V1_GROUP)
    job = "slurm/uid_1000/job_7"
    machine.v1(".", UNLIMITED_V1, 60 * GIB)
    machine.v1("slurm", UNLIMITED_V1, 50 * GIB)
    machine.v1("slurm/uid_1000", 64 * GIB, 5 * GIB)
    machine.v1(job, 4 * GIB, 3 * GIB, inactive=GIB)
    machine.v1(f"{job}/step_batch", 4 * GIB, 2 * GIB)
    machine.v1(f"{job}/step_batch/task_0", UNLIMITED_V1, 2 * GIB)
    return machine


@pytest.fixture
def new(tmp_path: Path) -> Machine:
    """Return a machine with version 2 that limits the job to 4 GiB."""
    machine = Machine(tmp_path, V2_MOUNTS, V2_GROUP)
    scope = "system.slice/slurmstepd.scope"
    machine.v2("system.slice", "max", 50 * GIB)
    machine.v2(scope, "max", 50 * GIB, kills=100)
    machine.v2(f"{scope}/job_7", 4 * GIB, 3 * GIB, inactive=GIB)
    machine.v2(f"{scope}/job_7/step_batch", "max", 2 * GIB)
    machine.v2(f"{scope}/job_7/step_batch/user", "max", 2 * GIB)
    machine.v2(f"{scope}/job_7/step_batch/user/task_0", "max", 2 * GIB)
    return machine


@pytest.mark.parametrize("version", ["old", "new"])
def test_the_jobs_memory_limit_is_found(version: str, request: pytest.FixtureRequest) -> None:
    """It is set above the process's own group; caches that the kernel can drop are not usage."""
    machine: Machine = request.getfixturevalue(version)

    assert machine.memory.usage() == Usage(4 * GIB, 2 * GIB)
    assert machine.memory.usage().fraction == 0.5  # type: ignore[union-attr]


def test_the_group_nearest_to_its_limit_decides(old: Machine) -> None:
    """A site can limit all of a user's jobs together."""
    old.v1("slurm/uid_1000", 10 * GIB, 9 * GIB)
    assert old.memory.usage() == Usage(10 * GIB, 9 * GIB)


def test_memory_high_is_a_limit(new: Machine) -> None:
    """The kernel slows a process above it down until it hardly moves."""
    new.write("sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.high", f"{3 * GIB}\n")

    assert new.memory.usage() == Usage(3 * GIB, 2 * GIB)


@pytest.mark.parametrize("limit", [UNLIMITED_V1, 64 * GIB, 100 * GIB, 0, "", "max", "x", -1])
def test_a_limit_that_limits_nothing_is_ignored(old: Machine, limit: object) -> None:
    """It is missing, or not below the machine's memory."""
    old.v1("slurm/uid_1000/job_7", limit, GIB)
    old.v1("slurm/uid_1000/job_7/step_batch", limit, GIB)

    assert old.memory.usage() is None


@pytest.mark.parametrize(
    ("mounts", "group"),
    [
        ("", V1_GROUP),
        (V1_MOUNTS, ""),
        (V1_MOUNTS, "nonsense\n\n4:memory\n::\n"),
        ("nonsense\n - \n1 2 3 - cgroup2\n", V2_GROUP),
        (V1_MOUNTS, "4:memory:/elsewhere\n"),
        (V2_MOUNTS, "0::/\n"),
    ],
)
def test_without_readable_groups_there_is_no_usage(tmp_path: Path, mounts: str, group: str) -> None:
    """The files may hold anything, or be missing."""
    memory = Machine(tmp_path, mounts, group).memory

    assert memory.usage() is None
    assert memory.kills() == 0


def test_a_machine_without_control_groups_has_no_usage(tmp_path: Path) -> None:
    """Some kernels have none."""
    assert Memory(str(tmp_path)).usage() is None


@pytest.mark.parametrize("path", ["/../../job_7", "/"])
def test_in_a_namespace_the_mounted_group_is_used(tmp_path: Path, path: str) -> None:
    """The groups above it are invisible there."""
    machine = Machine(tmp_path, V2_MOUNTS, f"0::{path}\n")
    machine.v2(".", 2 * GIB, GIB)

    assert machine.memory.usage() == Usage(2 * GIB, GIB)


def test_a_container_can_see_only_a_part_of_the_tree(tmp_path: Path) -> None:
    """The mount shows the container's group, and the process's path begins with it."""
    mounts = V2_MOUNTS.replace(" / /sys", " /docker/abc /sys")
    machine = Machine(tmp_path, mounts, "0::/docker/abc/inner\n")
    machine.v2("inner", 2 * GIB, GIB)

    assert machine.memory.usage() == Usage(2 * GIB, GIB)


def test_the_kit_counts_memory_kills(old: Machine) -> None:
    """Version 1 counts them in the process's own group."""
    before = old.memory.kills()
    old.v1("slurm/uid_1000/job_7/step_batch/task_0", UNLIMITED_V1, GIB, kills=1)

    assert (before, old.memory.kills()) == (0, 1)


def test_the_count_excludes_memory_kills_of_other_jobs(new: Machine) -> None:
    """A version 2 group includes those of all groups below it, and the scope holds every job."""
    before = new.memory.kills()
    new.v2("system.slice/slurmstepd.scope", "max", 50 * GIB, kills=101)
    unchanged = new.memory.kills()
    new.v2("system.slice/slurmstepd.scope/job_7", 4 * GIB, GIB, kills=1)

    assert before == unchanged
    assert new.memory.kills() > before


def test_this_machines_own_groups_can_be_read() -> None:
    """Reading them never fails, and the numbers make sense."""
    memory = Memory()
    usage = memory.usage()

    assert memory.kills() >= 0
    assert usage is None or 0 < usage.limit < os.sysconf("SC_PHYS_PAGES") * os.sysconf(
        "SC_PAGE_SIZE"
    )


# --- when to warn, and how ---


def test_each_memory_level_warns_once() -> None:
    """They are 80 and 92 per cent; another warning needs usage to fall well below first."""
    levels = Levels()
    rising = [0.5, 0.79, 0.81, 0.85, 0.79, 0.82, 0.93, 0.99, 0.9, 0.93]

    told = [levels.due(each) for each in rising]

    assert [each for each, due in zip(rising, told, strict=True) if due] == [0.81, 0.93]
    assert [levels.due(each) for each in (0.76, 0.93)] == [False, True]
    assert [levels.due(each) for each in (0.66, 0.81)] == [False, False]
    assert [levels.due(each) for each in (0.6, 0.81)] == [False, True]


def test_a_steep_rise_warns_once() -> None:
    """A rise past both levels at once gives one warning."""
    levels = Levels()

    assert [levels.due(each) for each in (0.1, 0.95, 0.96)] == [False, True, False]


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(0, "0 MiB"), (700 << 20, "700 MiB"), (GIB, "1 GiB"), (4 * GIB, "4 GiB"),
     (int(3.94 * GIB), "3.9 GiB"), (1000 * GIB, "1000 GiB")],
)  # fmt: skip
def test_amounts_of_memory_are_easy_to_read(amount: int, shown: str) -> None:
    """They have one decimal only if it says something."""
    assert gibibytes(amount) == shown


@pytest.mark.parametrize(
    ("limit", "asked"),
    [
        (4 * GIB, "8G"),
        (256 << 20, "512M"),
        (700 << 20, "2G"),
        (1 << 20, "2M"),
        (5 * GIB + 1, "11G"),
    ],
)
def test_the_advice_is_to_ask_for_twice_as_much_memory(limit: int, asked: str) -> None:
    """sbatch accepts the value, which is never rounded down."""
    assert twice(limit) == asked
