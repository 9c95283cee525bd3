"""Sessions on another cluster: -M, with a real slurmdbd that knows both."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import time_limits
from tests.cluster import Cluster, ensure_environment, missing
from tests.cluster.second import NAME, start_second
from tests.e2e.scientist import Scientist

WHICH = "import os; print(os.environ['SLURM_CLUSTER_NAME'], os.environ['SLURM_JOB_ID'])"
LOST_ANSWER = """#!/bin/bash
/usr/bin/sbatch "$@" > /dev/null
echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2
exit 1
"""


@pytest.fixture(scope="module")
def clusters(wheel: Path) -> Iterator[Cluster]:
    """Start a separate cluster, with a second one next to it."""
    lacking = missing(accounting=True)
    if lacking:
        words = "no two clusters: " + " ".join(lacking)
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    time_limits.allow(1200)
    with Cluster.start("clusters", accounting=True) as running:
        ensure_environment(running, wheel)
        start_second(running)
        yield running


@pytest.fixture
def alice(clusters: Cluster) -> Iterator[Scientist]:
    """Yield the owner, on both clusters."""
    scientist = Scientist(clusters)
    yield scientist
    scientist.slurm_nb("cancel", "--all")
    scientist.clean_up()
    assert scientist.run_folders() == []


def _jobs(alice: Scientist, cluster: str) -> list[str]:
    done = alice.cluster.login.run(["squeue", "-M", cluster, "-h", "-o", "%i"], user="alice")
    return done.stdout.split()


def test_every_command_follows_to_the_cluster_of_the_session(alice: Scientist) -> None:
    """submit, tunnel-cmd, audit and cancel work with -M, even if both clusters have the same id."""
    local = ["sbatch", "-M", "testbed", "--wrap=sleep 90"]
    alice.cluster.login.run(local, user="alice")
    record = alice.submit("-M", NAME)
    while int(_jobs(alice, "testbed")[0]) < int(record["job_id"]):
        alice.cluster.login.run(local, user="alice")

    tunnel = alice.slurm_nb("tunnel-cmd", record["job_id"])
    audit = alice.slurm_nb("audit", record["job_id"])
    with alice.tunnel(record["tunnel_command"]):
        seen = alice.run_cell(record["url"], WHICH)
    before = _jobs(alice, "testbed")
    cancel = alice.slurm_nb("cancel", record["job_id"])

    assert (record["cluster"], record["state"]) == (NAME, "RUNNING")
    assert seen["output"] == f"{NAME} {record['job_id']}\n"
    assert tunnel.stdout == record["tunnel_command"] + "\n"
    assert audit.exit_code == 0, audit
    assert cancel.stderr == f"Cancelled job {record['job_id']}.\n"
    assert _jobs(alice, NAME) == []
    assert _jobs(alice, "testbed") == before


def test_two_sessions_of_one_id_are_distinguished_by_their_cluster(alice: Scientist) -> None:
    """The error without -M says how; with it each command finds the right one."""
    alice.slurm_nb("submit", "--no-wait", "-M", NAME, "-p", "closed")
    (there,) = _jobs(alice, NAME)
    while int(max(_jobs(alice, "testbed"), key=int, default="0")) < int(there):
        alice.slurm_nb("submit", "--no-wait", "-M", "testbed", "-p", "closed")

    unclear = alice.slurm_nb("status", there)
    shown = [alice.slurm_nb("status", there, "-M", name).stdout for name in ("testbed", NAME)]
    cancel = alice.slurm_nb("cancel", there, "-M", NAME)

    assert unclear.exit_code == 1
    assert "-M " in unclear.stderr
    assert "cluster testbed" in shown[0]
    assert f"cluster {NAME}" in shown[1]
    assert cancel.stderr == f"Cancelled job {there}.\n"
    assert _jobs(alice, NAME) == []
    assert there in _jobs(alice, "testbed")


def test_the_variable_is_used_only_at_submission(alice: Scientist) -> None:
    """SLURM_CLUSTERS sends a job there; later commands query its cluster under any value."""
    record = alice.submit(env={"SLURM_CLUSTERS": NAME})

    other = {"SLURM_CLUSTERS": "testbed"}
    tunnel = alice.slurm_nb("tunnel-cmd", "--json", record["job_id"], env=other)
    cancel = alice.slurm_nb("cancel", record["job_id"], env=other)

    assert json.loads(tunnel.stdout) == record
    assert record["cluster"] == NAME
    assert cancel.stderr == f"Cancelled job {record['job_id']}.\n"


def test_a_flag_beats_the_variable(alice: Scientist) -> None:
    """`-- -M` does too: it selects the own cluster, although the variable names another."""
    env = {"SBATCH_CLUSTERS": NAME, "SLURM_CLUSTERS": NAME}
    alice.slurm_nb("submit", "--no-wait", "--", "-M", "testbed", env=env)

    assert (len(_jobs(alice, "testbed")), _jobs(alice, NAME)) == (1, [])


def test_after_a_lost_answer_a_job_is_found_on_the_named_clusters(alice: Scientist) -> None:
    """The answer of sbatch is lost, and slurm-nb finds the job where Slurm has put it."""
    env = alice.program("sbatch", LOST_ANSWER)

    said = alice.slurm_nb("submit", "--no-wait", "--json", "-M", f"{NAME},testbed", env=env)

    record = json.loads(said.stdout)
    assert _jobs(alice, record["cluster"]) == [record["job_id"]]
    assert "checking whether the job exists" in said.stderr


def test_a_cluster_that_nobody_knows_is_refused(alice: Scientist) -> None:
    """The error is sbatch's message, and nothing is submitted."""
    said = alice.slurm_nb("submit", "-M", "nosuch")

    assert said.exit_code == 3
    assert "No cluster 'nosuch' known by database" in said.stderr
