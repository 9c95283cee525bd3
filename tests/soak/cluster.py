"""The cluster of a soak: what its workers share, and what happens to it meanwhile."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import TimeoutExpired

from tests.cluster import Cluster, CommandError
from tests.cluster.slurm import start_slurmd
from tests.e2e.processes import pids_of_job
from tests.e2e.scientist import Said, Scientist

OVER = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
     "PREEMPTED", "TIMEOUT")
)  # fmt: skip
# slurmctld checks time limits every 30 s, counted from its last start (seen on 22.05).
_RESTART_EVERY_S = (31.0, 45.0)
_AWAY_S = (0.0, 6.0)
_LIST_EVERY_S = 20.0
_LOOK_EVERY_S = 1.0
_COMMAND_S = 260.0


@dataclass
class SoakCluster:
    """One cluster, one scientist, many terminals."""

    cluster: Cluster
    alice: Scientist
    rng: random.Random
    deadline: float
    """By time.monotonic(): when everything that is waited for is given up."""
    disturbing: threading.Lock = field(default_factory=threading.Lock)
    """Held by what stops a daemon or a node."""
    states: dict[str, str] = field(default_factory=dict)
    """The last state that root's squeue showed, by job id."""
    secrets: set[str] = field(default_factory=set)
    """Every token that was seen."""
    counts: Counter[str] = field(default_factory=Counter)
    """How often each event happened, by its name in the report."""
    faults: list[str] = field(default_factory=list)
    """Internal errors and tracebacks of slurm-nb."""

    def left_s(self, at_most: float) -> float:
        """Return how many seconds are left to wait."""
        return max(1.0, min(at_most, self.deadline - time.monotonic()))

    def slurm_nb(self, *words: str) -> Said:
        """Run a command as alice; note an internal error."""
        try:
            said = self.alice.slurm_nb(*words, timeout_s=_COMMAND_S)
        except TimeoutExpired as error:
            said = Said(124, "", f"took longer than {error.timeout:.0f} s")
        if said.exit_code in {70, 124} or "Traceback" in said.stderr:
            self.faults.append(f"slurm-nb {' '.join(words)}: {said.stderr.strip()[-500:]}")
        return said

    def root(self, *command: str) -> str:
        """Run a command as an admin; try again while slurmctld is away."""
        while True:
            try:
                return self.cluster.login.run(list(command)).stdout
            except (CommandError, TimeoutExpired):
                if time.monotonic() > self.deadline:
                    raise
                time.sleep(0.5)

    def await_state(self, job_id: str, *words: str, at_most_s: float = 90) -> bool:
        """Return whether Slurm shows a job in one of the states in time; a missing job is over."""
        deadline = time.monotonic() + self.left_s(at_most_s)
        while time.monotonic() < deadline:
            if self.states.get(job_id) in words:
                return True
            time.sleep(0.2)
        return False

    def kill(self, node: str, job_id: str, word: str, signal: str = "KILL") -> bool:
        """Return whether there was such a process."""
        host = self.cluster.hosts[node]
        pids = pids_of_job(host, job_id, word)
        if pids:
            host.run(["kill", f"-{signal}", *pids], check=False)
        return bool(pids)

    def restart_slurmd(self, node: str) -> None:
        """End slurmd on a node at once and start it again; jobs keep running."""
        host = self.cluster.hosts[node]
        with self.disturbing:
            pid = (host.root / "run/slurmd.pid").read_text("ascii").strip()
            host.run(["kill", "-KILL", pid])
            while (host.root / "proc" / pid).exists():
                time.sleep(0.05)
            time.sleep(self.rng.uniform(0, 3))
            start_slurmd(host)

    def lose_node(self, node: str) -> None:
        """Make Slurm give up a node, with all that runs there, and take it back."""
        with self.disturbing:
            self.root("scontrol", "update", f"nodename={node}", "state=down", "reason=soak")
            time.sleep(2)
            # Refused where its slurmd has brought it back already (ReturnToService=2).
            self.cluster.login.run(
                ["scontrol", "update", f"nodename={node}", "state=resume"], check=False
            )

    @contextlib.contextmanager
    def disturbed(self) -> Iterator[None]:
        """Restart slurmctld now and then, look at the jobs, and list, while the block lasts."""
        over = threading.Event()
        loops = (self._look, self._list, self._restart)
        threads = [threading.Thread(target=_repeat, args=(loop, over)) for loop in loops]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _look(self) -> float:
        done = self.cluster.login.run(["squeue", "-h", "-t", "all", "-o", "%i %T"], check=False)
        if done.returncode == 0:
            now = dict(line.split() for line in done.stdout.splitlines())
            forgotten = dict.fromkeys(self.states.keys() - now.keys(), "COMPLETED")
            self.states |= now | forgotten
        self.note_tokens()
        return _LOOK_EVERY_S

    def _list(self) -> float:
        self.slurm_nb("list")
        return _LIST_EVERY_S

    def _restart(self) -> float:
        with self.disturbing:
            self.cluster.stop_slurmctld()
            time.sleep(self.rng.uniform(*_AWAY_S))
            self.cluster.start_slurmctld()
            self.counts["restarts of slurmctld"] += 1
        return self.rng.uniform(*_RESTART_EVERY_S)

    def note_tokens(self) -> None:
        """Remember the tokens that there are."""
        for path in Path(self.alice.state / "sessions").glob("*/*/token"):
            with contextlib.suppress(OSError):
                self.secrets.add(path.read_text())


def _repeat(work: Callable[[], float], over: threading.Event) -> None:
    pause_s = 1.0
    while not over.wait(pause_s):
        pause_s = work()
