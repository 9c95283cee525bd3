"""With an accounting database: how jobs ended that Slurm's controller no longer knows."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.scientist import Scientist

SITE_CONFIG = Path(__file__).parents[2] / "docs/admin/site-config.md"
pytestmark = pytest.mark.accounting


def _await_forgotten(alice: Scientist, job_id: str, timeout_s: float = 90) -> None:
    """Wait until squeue has lost a job, which takes MinJobAge and a little more."""
    command = ["squeue", "-h", "-t", "all", "-j", job_id, "-o", "%i"]
    deadline = time.monotonic() + timeout_s
    while alice.cluster.login.run(command, user="alice", check=False).stdout.strip():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def _end(alice: Scientist, *words: str) -> str:
    """Return the id of a session whose job scancel has ended, and which squeue has lost."""
    job_id: str = alice.submit(*words)["job_id"]
    alice.cluster.login.run(["scancel", job_id], user="alice")
    _await_forgotten(alice, job_id)
    return job_id


def test_sacct_knows_a_job_of_the_account(alice: Scientist) -> None:
    """A session without --account runs in the user's default account, as sacct shows."""
    job_id = alice.submit()["job_id"]

    command = ["sacct", "-n", "-P", "-X", "-o", "Account,State", "-j", job_id]
    deadline = time.monotonic() + 30
    while "project|RUNNING" not in alice.cluster.login.run(command, user="alice").stdout:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_sacct_explains_how_a_job_ended_that_squeue_has_lost(alice: Scientist) -> None:
    """squeue has lost the job; tunnel-cmd still shows the state that Slurm reported for its end."""
    job_id = _end(alice)

    said = alice.slurm_nb("tunnel-cmd", job_id)

    assert (said.exit_code, said.stdout) == (4, "")
    assert "CANCELLED" in said.stderr
    assert "no longer known" not in said.stderr


def test_cancelling_a_job_that_squeue_has_lost_is_not_an_error(alice: Scientist) -> None:
    """Its token is removed, as for any job that is over."""
    job_id = _end(alice)

    said = alice.slurm_nb("cancel", job_id)

    assert said.exit_code == 0, said
    assert not (alice.state / "sessions/testbed" / job_id / "token").exists()


def test_an_account_that_the_database_does_not_know_is_refused(alice: Scientist) -> None:
    """Exit code 3 with the accounts of the user; no job is left."""
    said = alice.slurm_nb("submit", "-A", "unheardof")

    assert said.exit_code == 3
    assert "you cannot use account " in said.stderr
    assert alice.squeue("%i") == []


def test_a_site_knows_how_many_sessions_there_were(alice: Scientist) -> None:
    """The page's line prints one more when a job with the mark has ended, and not for another; the
    database keeps its script.
    """
    lines = SITE_CONFIG.read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith("sacct ")]

    def marked() -> int:
        return int(alice.cluster.login.run(["bash", "-c", line], check=False).stdout)

    before = marked()
    alice.submit("--comment", "mine")
    job_id = alice.submit("--comment", "slurm-nb")["job_id"]
    assert alice.slurm_nb("cancel", "--all").exit_code == 0
    deadline = time.monotonic() + 30
    while marked() != before + 1:
        assert time.monotonic() < deadline
        time.sleep(0.2)

    kept = alice.cluster.login.run(["sacct", "-j", job_id, "--batch-script"], user="alice").stdout
    script = (alice.state / f"jobs/{job_id}_submission.sh").read_text()
    assert kept.strip().endswith(script.strip())
    assert len(script) < 6000
