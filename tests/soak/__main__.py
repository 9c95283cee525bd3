"""`make soak`; `python -m tests.soak --sessions 30 --seed 7` for a short one, or to repeat one."""

# ruff: noqa: T201  printing is what it is for

from __future__ import annotations

import argparse
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired

from tests.cluster import Cluster, ensure_environment, missing, run_here
from tests.e2e.scientist import Scientist
from tests.soak.cluster import SoakCluster
from tests.soak.count import Findings, count
from tests.soak.endings import Disturbed, Ending, deck

ROOT = Path(__file__).resolve().parents[2]
# Of the time that is allowed, this much is for ending and counting.
_RESERVE_S = 210.0


@dataclass(frozen=True)
class Life:
    """The result of one session's turn."""

    ending: str
    name: str
    disturbed: str
    """Why it did not end in its ending; empty where it did, `not begun` when there was no time."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=15.0, help="for all of it")
    parser.add_argument("--terminals", type=int, default=8, help="how many work at a time")
    parser.add_argument("--seed", type=int, default=None, help="of another soak, to repeat it")
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd")
    options = parser.parse_args()
    lacking = missing(accounting=options.accounting)
    if lacking:
        print("no real cluster: " + " ".join(lacking))
        return 1
    began = time.monotonic()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"soak of {options.sessions} sessions, seed {seed}", flush=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster.start("soak", accounting=options.accounting) as cluster,
    ):
        build = [sys.executable, "-m", "build", "--wheel", "--outdir", folder, str(ROOT)]
        run_here(build, timeout_s=600)
        ensure_environment(cluster, next(Path(folder).glob("*.whl")))
        end = began + 60 * options.minutes
        soak = SoakCluster(cluster, Scientist(cluster), random.Random(seed), end - _RESERVE_S / 2)  # noqa: S311
        print(f"{time.monotonic() - began:5.0f} s: the cluster is up", flush=True)
        lives = live(soak, options.sessions, options.terminals, seed, end - _RESERVE_S)
        print(f"{time.monotonic() - began:5.0f} s: all sessions have ended", flush=True)
        findings, sessions = count(soak)
        causes = {
            each["name"]: (each["ended"] or {}).get("cause", each["state"]) for each in sessions
        }
        report(soak, lives, causes, findings, time.monotonic() - began)
    return 1 if any(found for _, found in findings.rows()) else 0


def live(soak: SoakCluster, sessions: int, terminals: int, seed: int, stop_at: float) -> list[Life]:
    """Give every session its turn, several at a time; then cancel those that still exist."""
    cards = list(enumerate(deck(sessions, soak.rng)))
    with soak.disturbed(), ThreadPoolExecutor(terminals) as pool:
        futures = [
            pool.submit(_one, soak, ending, f"soak-{number}", f"{seed}-{number}", stop_at)
            for number, ending in cards
        ]
        lives = [future.result() for future in futures]
    for _ in range(3):  # a job of an interrupted submission may come late
        soak.slurm_nb("list")
        soak.slurm_nb("cancel", "--all")
    soak.cluster.cancel_jobs(timeout_s=60)
    return lives


def _one(soak: SoakCluster, ending: Ending, name: str, seed: str, stop_at: float) -> Life:
    if time.monotonic() > stop_at:
        return Life(ending.__name__, name, "not begun")
    try:
        ending(soak, name, random.Random(seed))  # noqa: S311
    except Disturbed as error:
        return Life(ending.__name__, name, str(error))
    except (TimeoutExpired, OSError, ValueError, subprocess.CalledProcessError) as error:
        return Life(ending.__name__, name, f"{type(error).__name__}: {str(error)[-300:]}")
    return Life(ending.__name__, name, "")


def report(
    soak: SoakCluster,
    lives: Sequence[Life],
    causes: dict[str, str],
    findings: Findings,
    seconds: float,
) -> None:
    """Print the endings and their results, the events meanwhile, and the counts that must be 0."""
    by_ending: dict[str, list[Life]] = defaultdict(list)
    for life in lives:
        by_ending[life.ending].append(life)
    print(f"\n{'ending':22} {'done':>5} {'other':>5} {'not begun':>9}  ended as")
    for ending, those in by_ending.items():
        done = sum(not life.disturbed for life in those)
        skipped = sum(life.disturbed == "not begun" for life in those)
        seen = Counter(causes.get(life.name, "no job") for life in those)
        words = ", ".join(f"{number} {cause}" for cause, number in seen.most_common())
        print(f"{ending:22} {done:5} {len(those) - done - skipped:5} {skipped:9}  {words}")
    print()
    for life in lives:
        if life.disturbed not in {"", "not begun"}:
            print(f"other: {life.ending} {life.name}: {' '.join(life.disturbed.split())}")
    print()
    for name, number in sorted(soak.counts.items()):
        print(f"{number:5} {name}")
    print(f"{len(soak.secrets):5} tokens seen\n{seconds:5.0f} s\n")
    for name, found in findings.rows():
        print(f"{len(found):5} {name}")
        for each in found:
            print(f"        {each}")


if __name__ == "__main__":
    sys.exit(main())
