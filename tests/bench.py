"""`make bench`: how fast and how gentle slurm-nb is, on the real cluster, in one run.

Every figure is printed raw, with what it is compared against, as a ratio.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import Cluster, ensure_environment, missing
from tests.e2e import requests

ROOT = Path(__file__).resolve().parents[1]
CLIENT = Path(__file__).with_name("bench_client.py").read_text(encoding="utf-8")
SESSIONS = (ROOT / "tests/e2e/sessions_client.py").read_text(encoding="utf-8")
STARTS = 7
COMMANDS = 15
RPC_WAIT_S = 60
LISTS = 9
LIST_SIZES = (1, 100, 1000, 4000)
LIST_AT_MOST_S = 0.5
VERSION_AT_MOST = 1.1
DRY_RUN_AT_MOST = 1.8  # CPU time, seen: 1.7; commit 791f880 1.8 to 2.0


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
    """Print all figures, or those that the arguments name: `python -m tests.bench lists`."""
    lacking = missing()
    if lacking:
        say("no real cluster: " + " ".join(lacking))
        return 1
    with tempfile.TemporaryDirectory() as folder, Cluster.start("bench") as cluster:
        build = [sys.executable, "-m", "build", "--wheel", "--outdir", folder, str(ROOT)]
        subprocess.run(build, check=True, capture_output=True, timeout=600)
        ensure_environment(cluster, next(Path(folder).glob("*.whl")))
        goals = [goal for name in sys.argv[1:] or MEASURES for goal in MEASURES[name](cluster)]
    say("")
    for goal in goals:
        say(str(goal))
    return 0 if all(goal.reached for goal in goals) else 1


def commands(cluster: Cluster) -> list[Goal]:
    """Measure the wall time of whole commands, in turn, against the libraries that they need."""
    job_id = ask(cluster, "submit")["job_id"]
    seconds = ask(cluster, "commands", job_id, str(COMMANDS))
    say(f"wall time of whole commands, {COMMANDS} runs each in turn, ms: min median max")
    for name, runs in seconds.items():
        ratio = median(runs) / median(seconds["import click"])
        low, middle, high = (1000 * f(runs) for f in (min, median, max))
        say(f"  {name:30} {low:7.1f} {middle:7.1f} {high:7.1f}   {ratio:.2f} x import click")
    cluster.cancel_jobs()
    goals = (
        ("slurm-nb --version", "import click", VERSION_AT_MOST),
        ("slurm-nb submit --dry-run", "import click, jinja2", DRY_RUN_AT_MOST),
    )
    return [
        Goal(f"{name} against `{floor}`", median(seconds[name]) / median(seconds[floor]), most, "x")
        for name, floor, most in goals
    ]


def memory(cluster: Cluster) -> list[Goal]:
    """Measure the peak memory of a submit that waits, above a bare interpreter's."""
    peak = ask(cluster, "memory")
    waiting, bare = peak["submit"] / 1024, peak["python"] / 1024
    say(f"peak memory: waiting submit {waiting:.1f} MB, bare python {bare:.1f} MB", before="\n")
    cluster.cancel_jobs()
    return [Goal("waiting submit above a bare interpreter", waiting - bare, 30, "MB")]


def start(cluster: Cluster) -> list[Goal]:
    """Measure from the start of sbatch to the printed tunnel command, against the floor.

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
    return [Goal("sbatch to tunnel command, 1.10 x floor + 0.3 s", median(ours), limit, "s")]


def rpcs(cluster: Cluster) -> list[Goal]:
    """Count slurmctld's requests from this user while a submission waits a minute."""
    requests.count_anew(cluster)
    wait = ["slurm-nb", "submit", "-p", "closed", "--wait-timeout", str(RPC_WAIT_S)]
    cluster.login.run(wait, user="alice", timeout_s=RPC_WAIT_S + 60, check=False)
    counted = requests.count(cluster)
    say(f"RPCs of the user in {RPC_WAIT_S} s of waiting: {counted}", before="\n")
    cluster.cancel_jobs()
    return [Goal("RPCs in a minute of waiting", counted.of_user, 12, "")]


def lists(cluster: Cluster) -> list[Goal]:
    """Measure `slurm-nb list` by the number of sessions, in turn with one squeue.

    One job waits; most of the others have ended, and Slurm no longer knows every fourth.
    """
    say(f"slurm-nb list, {LISTS} runs each; squeue in turn; medians", before="\n")
    seen = {}
    for count in LIST_SIZES:
        cluster.login.run(["rm", "-rf", "/home/alice/.local"], user="alice")
        submit = ["slurm-nb", "submit", "--no-wait", "-p", "closed"]
        cluster.login.run(submit, user="alice")
        ask(cluster, str(count - 1), client=SESSIONS)
        seen[count] = of = ask(cluster, "lists", str(LISTS))
        counts = requests_of_list(cluster)
        say(
            f"  {count:5} sessions: {of['list_s']:.3f} s (min {of['list_min_s']:.3f},"
            f" the first {of['first_s']:.3f}, CPU {of['cpu_s']:.3f}),"
            f" peak {of['peak_kb'] / 1024:.1f} MB, squeue {of['squeue_s']:.3f} s, {counts}"
        )
        cluster.cancel_jobs()
    (_, few), (_, some), (many_n, many), (most_n, most) = seen.items()
    for count, of in seen.items():
        time, peak = of["list_s"] / few["list_s"], of["peak_kb"] / few["peak_kb"]
        say(f"  {count:5} against one: {time:.2f} x the time, {peak:.2f} x the memory")
    goals = [Goal(
        f"{many_n} sessions listed, beside one squeue",
        many["list_s"] - many["squeue_s"], LIST_AT_MOST_S, "s",
    )]  # fmt: skip
    for name, key in (("CPU time", "cpu_s"), ("memory", "peak_kb")):
        early = (many[key] - some[key]) / (many_n - LIST_SIZES[1])
        late = (most[key] - many[key]) / (most_n - many_n)
        what = f"{name} of one more session, at {most_n} against at {many_n}"
        goals.append(Goal(what, late / early, 1.5, "x"))
    return goals


def requests_of_list(cluster: Cluster) -> requests.Requests:
    """Return the requests that one list sends."""
    requests.count_anew(cluster)
    cluster.login.run(["slurm-nb", "list"], user="alice")
    return requests.count(cluster)


def ask(cluster: Cluster, *words: str, client: str = CLIENT) -> Any:
    """Run a client as alice on the login node and return its output as JSON."""
    done = cluster.login.run(
        ["/srv/venv/bin/python", "-", *words], user="alice", stdin_text=client, timeout_s=600
    )
    return json.loads(done.stdout)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def say(text: str, before: str = "") -> None:
    print(before + text, flush=True)


MEASURES = {
    "commands": commands, "memory": memory, "start": start, "rpcs": rpcs, "lists": lists,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
