"""Three sessions of Alice that several tests share, since a start takes seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import Cluster
from tests.e2e.scientist import Said, Scientist


@dataclass(frozen=True)
class SharedSessions:
    """Alice, with a session that runs, one that waits, and one that has ended."""

    alice: Scientist
    running: dict[str, Any]
    waiting: str
    ended: str

    @property
    def job_id(self) -> str:
        """The id of the running session."""
        job_id: str = self.running["job_id"]
        return job_id

    def folder(self, job_id: str) -> Path:
        return self.alice.state / "sessions/testbed" / job_id

    def run(self, *words: str, env: Mapping[str, str] | None = None) -> Said:
        return self.alice.slurm_nb(*words, env=env)

    def pending(self) -> str:
        """Submit another session that waits and return its id."""
        said = self.run("submit", "-p", "closed", "--no-wait")
        assert said.exit_code == 0, said
        return said.stderr.partition("Submitted job ")[2].split()[0].rstrip(".")

    def check(self) -> None:
        """Check that everything is as it was at first."""
        states = rows(self.run("list"))
        assert states[self.job_id] == "RUNNING"
        assert states[self.waiting].startswith("PENDING")
        assert states[self.ended] == "CANCELLED"


@contextmanager
def shared_sessions(cluster: Cluster) -> Iterator[SharedSessions]:
    """Yield sessions for several tests, each of which repairs what it has broken."""
    alice = Scientist(cluster)
    running = alice.submit()
    ids = []
    for _ in range(2):
        said = alice.slurm_nb("submit", "-p", "closed", "--no-wait")
        ids.append(said.stderr.partition("Submitted job ")[2].split()[0].rstrip("."))
    assert alice.slurm_nb("cancel", ids[1]).exit_code == 0
    shared = SharedSessions(alice, running, *ids)
    shared.check()
    yield shared
    alice.clean_up()
    assert alice.run_folders() == []


def rows(said: Said) -> dict[str, str]:
    """Return job id and state of each line that `list` prints."""
    assert said.exit_code == 0, said
    lines = [line.split() for line in said.stdout.splitlines()[1:]]
    return {words[0]: words[2] for words in lines}
