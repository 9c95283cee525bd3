"""Actions of an administrator, or of the machine, on the cluster; and the state of a job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import Cluster, Host
from tests.cluster.slurm import start_slurmd
from tests.e2e.scientist import Scientist
from tests.e2e.watched import await_that


def scontrol(cluster: Cluster, *words: str) -> None:
    """Run scontrol as root."""
    cluster.login.run(["scontrol", *words])


def state_of(cluster: Cluster, job_id: str) -> str:
    """Return the state that Slurm reports, `RUNNING`; empty for a job that it does not know."""
    asked = ["squeue", "-h", "-t", "all", "-j", job_id, "-o", "%T"]
    return cluster.login.run(asked, check=False).stdout.strip()


def await_state(cluster: Cluster, job_id: str, *words: str, timeout_s: float = 30.0) -> None:
    """Return when Slurm has the job in one of these states."""
    what = f"{job_id} to be {' or '.join(words)}"
    await_that(lambda: state_of(cluster, job_id) in words, what, timeout_s)


def age_witness(folder: Path) -> None:
    """Let a minute pass since Slurm first said that the session of this folder is over."""
    path = folder / "witness.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "at": record["at"] - 60}))


def end_wait(cluster: Cluster, job_id: str) -> None:
    """Start a job that was put back in the queue, where Slurm would let it wait for two minutes."""
    await_state(cluster, job_id, "PENDING")
    scontrol(cluster, "update", f"jobid={job_id}", "StartTime=now")


def kill_slurmd(node: Host) -> None:
    """Kill slurmd as the kernel does when memory is short; the jobs' slurmstepd live on."""
    node.run(["kill", "-KILL", (node.root / "run/slurmd.pid").read_text().strip()])


@contextmanager
def without_slurmd(node: Host) -> Iterator[None]:
    """Kill slurmd, and start it again at the end unless it runs."""
    kill_slurmd(node)
    try:
        yield
    finally:
        if not node.run(["pidof", "slurmd"], check=False).stdout.strip():
            start_slurmd(node)


@contextmanager
def closed(cluster: Cluster, node: str) -> Iterator[None]:
    """Keep the node from taking jobs."""
    scontrol(cluster, "update", f"nodename={node}", "state=drain", "reason=test")
    try:
        yield
    finally:
        scontrol(cluster, "update", f"nodename={node}", "state=resume")


@contextmanager
def occupied(cluster: Cluster, node: str, *, partition: str = "main") -> Iterator[None]:
    """Give all CPUs of the node to another user's job, or queue it for them."""
    asked = ["sbatch", "--parsable", "-p", partition, "-w", node, "-c", "8", "-o", "/dev/null"]
    job_id = cluster.login.run([*asked, "--wrap=sleep 600"], user="mallory").stdout.strip()
    try:
        yield
    finally:
        cluster.login.run(["scancel", job_id])


def pid_of(alice: Scientist, node: str, part: str) -> str:
    """Return the id of alice's process whose command contains `part`, not of its subshell."""
    found = [line.split()[0] for line in alice.processes(node).splitlines() if part in line]
    return min(found, key=int)
