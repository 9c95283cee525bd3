"""`make bench`: how fast and how gentle slurm-nb is, on the real cluster, in one run.

Every figure is printed raw, with what it is compared against, as a ratio.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import Cluster, ensure_environment, missing
from tests.cluster.users import ALICE

ROOT = Path(__file__).resolve().parents[1]
CLIENT = Path(__file__).with_name("bench_client.py").read_text(encoding="utf-8")
STARTS = 7
COMMANDS = 15
RPC_WAIT_S = 60


@dataclass(frozen=True)
class Goal:
    """A figure to reach."""

    what: str
    value: float
    at_most: float
    unit: str

    @property
    def reached(self) -> bool:
        return self.value <= self.at_most

    def __str__(self) -> str:
        verdict = "reached" if self.reached else "MISSED"
        return f"{verdict:8} {self.what}: {self.value:.2f} {self.unit} (at most {self.at_most:.2f})"


def main() -> int:
    lacking = missing()
    if lacking:
        say("no real cluster: " + " ".join(lacking))
        return 1
    with tempfile.TemporaryDirectory() as folder, Cluster.start("bench") as cluster:
        build = [sys.executable, "-m", "build", "--wheel", "--outdir", folder, str(ROOT)]
        subprocess.run(build, check=True, capture_output=True, timeout=600)
        ensure_environment(cluster, next(Path(folder).glob("*.whl")))
        goals = [*commands(cluster), memory(cluster), start(cluster), rpcs(cluster)]
    say("")
    for goal in goals:
        say(str(goal))
    return 0 if all(goal.reached for goal in goals) else 1


def commands(cluster: Cluster) -> list[Goal]:
    """Wall time of whole commands, run in turn, against a bare interpreter and click."""
    job_id = ask(cluster, "submit")["job_id"]
    seconds = ask(cluster, "commands", job_id, str(COMMANDS))
    say(f"wall time of whole commands, {COMMANDS} runs each in turn, ms: min median max")
    for name, runs in seconds.items():
        ratio = median(runs) / median(seconds["import click"])
        low, middle, high = (1000 * f(runs) for f in (min, median, max))
        say(f"  {name:30} {low:7.1f} {middle:7.1f} {high:7.1f}   {ratio:.2f} x import click")
    ratio = median(seconds["slurm-nb --version"]) / median(seconds["import click"])
    cluster.cancel_jobs()
    return [Goal("slurm-nb --version against `import click`", ratio, 1.5, "x")]


def memory(cluster: Cluster) -> Goal:
    """Peak memory of a submit that waits, above a bare interpreter's."""
    peak = ask(cluster, "memory")
    waiting, bare = peak["submit"] / 1024, peak["python"] / 1024
    say(f"peak memory: waiting submit {waiting:.1f} MB, bare python {bare:.1f} MB", before="\n")
    cluster.cancel_jobs()
    return Goal("waiting submit above a bare interpreter", waiting - bare, 30, "MB")


def start(cluster: Cluster) -> Goal:
    """From the start of sbatch to the printed tunnel command, against the floor.

    The floor: the same script handed to plain sbatch, its output read every 20 ms.
    """
    ours, floor = [], []
    for _ in range(STARTS):
        floor.append(ask(cluster, "floor")["seconds"])
        cluster.cancel_jobs()
        ours.append(ask(cluster, "start")["seconds"])
        cluster.cancel_jobs()
    say(f"sbatch to tunnel command, {STARTS} runs in turn, s", before="\n")
    say("  slurm-nb submit       " + " ".join(f"{s:.2f}" for s in ours))
    say("  plain sbatch, 20 ms   " + " ".join(f"{s:.2f}" for s in floor))
    limit = 1.10 * median(floor) + 0.3
    ratio = median(ours) / median(floor)
    say(f"  medians {median(ours):.2f} and {median(floor):.2f}, ratio {ratio:.2f}")
    return Goal("sbatch to tunnel command, 1.10 x floor + 0.3 s", median(ours), limit, "s")


def rpcs(cluster: Cluster) -> Goal:
    """Requests that slurmctld counts for this user while a submission waits a minute."""
    cluster.login.run(["sdiag", "--reset"])
    wait = ["slurm-nb", "submit", "-p", "closed", "--wait-timeout", str(RPC_WAIT_S)]
    cluster.login.run(wait, user="alice", timeout_s=RPC_WAIT_S + 60, check=False)
    text = cluster.login.run(["sdiag"]).stdout
    by_user = text.partition("by user")[2].partition("\n\n")[0]
    match = re.search(rf"alice\s*\(\s*{ALICE.uid}\)\s*count:(\d+)", by_user)
    assert match, text
    say(f"RPCs of the user in {RPC_WAIT_S} s of waiting: {match[1]}", before="\n")
    cluster.cancel_jobs()
    return Goal("RPCs in a minute of waiting", float(match[1]), 12, "")


def ask(cluster: Cluster, *words: str) -> Any:
    """What bench_client.py measured, as alice on the login node."""
    done = cluster.login.run(
        ["/srv/venv/bin/python", "-", *words], user="alice", stdin_text=CLIENT, timeout_s=600
    )
    return json.loads(done.stdout)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def say(text: str, before: str = "") -> None:
    print(before + text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
