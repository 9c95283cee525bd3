"""This version lists, reaches, explains and cancels sessions of an older version.

The version at `OLD` submits each session from its own environment. The tested version does the
rest, with the same state directory.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cluster import Cluster, ensure_environment
from tests.conftest import ROOT
from tests.e2e.scientist import Said, Scientist
from tests.e2e.watched import await_that

OLD = "791f880"
"""The last commit before the modules moved into packages and the kit out of the script."""

WHERE = "import os; print(os.environ['SLURM_JOB_ID'], os.uname().nodename)"
# Slurm takes the job; slurm-nb is killed before it hears of it.
CUTTING_SBATCH = """#!/bin/bash
/usr/bin/sbatch "$@" >"$HOME/bin/answer"
pkill -KILL -f "[s]lurm-nb submit"
"""
# slurm-nb is killed before Slurm hears of the job.
DYING_SBATCH = """#!/bin/bash
pkill -KILL -f "[s]lurm-nb submit"
"""


@dataclass(frozen=True)
class Earlier:
    """Alice, before the upgrade."""

    alice: Scientist
    programs: str
    """The folder of the old version's programs."""

    def slurm_nb(self, *words: str, sbatch: str = "") -> Said:
        """Run the old version; `sbatch` is a program in place of Slurm's."""
        path = f"{self.programs}:/usr/local/bin:/usr/bin:/bin"
        if sbatch:
            self.alice.program("sbatch", sbatch)
            path = f"{self.alice.user.home}/bin:{path}"
        return self.alice.slurm_nb(*words, env={"PATH": path})

    def start(self, *words: str) -> dict[str, Any]:
        """Submit a job, wait until Jupyter is ready, and return the JSON object."""
        said = self.slurm_nb("submit", "--json", *words)
        assert said.exit_code == 0, said
        record: dict[str, Any] = json.loads(said.stdout)
        return record

    def queue(self, *words: str) -> str:
        """Submit a job, do not wait for it, and return its id."""
        said = self.slurm_nb("submit", "--json", "--no-wait", *words)
        assert said.exit_code == 0, said
        return str(json.loads(said.stdout)["job_id"])


@pytest.fixture(scope="module")
def old_programs(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder with the old version's slurm-nb, as the hosts see it."""
    folder = tmp_path_factory.mktemp("old")
    archive = folder / "source.tar"
    git = ["git", "-C", str(ROOT), "archive", "--output", str(archive), OLD]
    if subprocess.run(git, capture_output=True, timeout=60, check=False).returncode:
        pytest.fail(
            f"this test needs commit {OLD}, which the history of {ROOT} lacks;"
            " fetch the whole history: git fetch --unshallow",
            pytrace=False,
        )
    source = folder / "source"
    source.mkdir()
    subprocess.run(["tar", "-xf", str(archive), "-C", str(source)], check=True, timeout=60)
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True, timeout=600)
    (wheel,) = folder.glob("*.whl")
    return str(ensure_environment(cluster, wheel, name="old").path / "bin")


@pytest.fixture
def earlier(alice: Scientist, old_programs: str) -> Earlier:
    """Alice, with the old version."""
    return Earlier(alice, old_programs)


def _rows(said: Said) -> list[list[str]]:
    """Return the columns of each session that `list` prints."""
    assert said.exit_code == 0, said
    return [re.split(r"  +", line) for line in said.stdout.splitlines()[1:]]


def _lines(said: Said) -> dict[str, str]:
    """Return the lines of `status` by their names."""
    assert said.exit_code == 0, said
    return dict(re.findall(r"^([A-Z]\w+): +(.*)$", said.stdout, re.MULTILINE))


def _listed(alice: Scientist, job_id: str) -> dict[str, Any]:
    """Return the record that `list --json` has of a session."""
    sessions = json.loads(alice.slurm_nb("list", "--json").stdout)["sessions"]
    (record,) = [each for each in sessions if each["job_id"] == job_id]
    return dict(record)


def _release(alice: Scientist, job_id: str) -> None:
    alice.cluster.login.run(["scontrol", "release", job_id], user="alice")


def test_the_old_version_is_the_old_one(earlier: Earlier) -> None:
    """Its script carries the kit in here-documents, which this version no longer does."""
    old = earlier.slurm_nb("submit", "--dry-run")

    assert old.exit_code == 0, old
    assert "slurm_nb_start.py" in old.stdout
    assert "slurm_nb_kit.py" in old.stdout


def _same(record: dict[str, Any]) -> dict[str, Any]:
    """Return what both versions print about a session."""
    return {name: record[name] for name in record if name not in {"tunnel_command", "url"}}


def test_a_running_session_is_listed_reached_and_audited(
    alice: Scientist, earlier: Earlier
) -> None:
    """list, status, tunnel-cmd, url and logs know a job that the old version started, a cell runs
    at the end of the printed line, and audit names the checks that only newer sessions pass.
    """
    old = earlier.start("-J", "analysis", "-w", "c1", "-t", "2:00:00")
    job_id = old["job_id"]

    record = json.loads(alice.slurm_nb("tunnel-cmd", job_id, "--json").stdout)
    with alice.tunnel(alice.slurm_nb("tunnel-cmd", "analysis").stdout.strip()):
        seen = alice.run_cell(alice.slurm_nb("url", job_id).stdout.strip(), WHERE)
    await_that(lambda: _listed(alice, job_id)["idle_s"] is not None, "the job reports its use")
    listed = _listed(alice, job_id)
    (row,) = _rows(alice.slurm_nb("list"))
    status = _lines(alice.slurm_nb("status", job_id))
    logs = alice.slurm_nb("logs", job_id, "-n", "30")
    audit = alice.slurm_nb("audit", job_id)

    shown = record["tunnel_command"].replace(" -o ControlPath=none", ""), record["url"]
    assert shown == (old["tunnel_command"], old["url"].replace("/tree?", "/?"))
    assert {name: record[name] for name in _same(old)} == _same(old)
    assert seen == {"page_status": 200, "no_token_status": 403, "output": f"{job_id} c1\n"}
    assert row[:4] == [job_id, "analysis", "RUNNING", "c1"]
    assert re.fullmatch(r"11\d min", row[4])
    assert (listed["state"], listed["idle_s"] < 60) == ("RUNNING", True)
    assert status["Job"] == f"{job_id} (analysis), cluster testbed"
    assert (status["State"], status["Node"]) == ("RUNNING", "c1")
    assert f"slurm-nb tunnel-cmd {job_id}" in status["Jupyter"]
    assert "Idle" in status
    assert (logs.exit_code, "Jupyter Server" in logs.stdout) == (0, True)
    assert (audit.exit_code, "checks FAILED" in audit.stderr) == (1, True), audit
    assert "pass  TCP listeners" in audit.stdout
    assert alice.token(job_id) not in logs.stdout + audit.stdout


def test_a_running_session_is_cancelled(alice: Scientist, earlier: Earlier) -> None:
    """cancel ends the old job, its processes and its files on the node, and removes the token."""
    job_id = earlier.start("-w", "c1")["job_id"]

    said = alice.slurm_nb("cancel", job_id)

    assert (said.exit_code, said.stderr) == (0, f"Cancelled job {job_id}.\n")
    assert alice.squeue("%i") == []
    assert not (alice.state / "sessions/testbed" / job_id / "token").exists()
    assert "python" not in alice.processes("c1")
    assert alice.run_folders() == []
    status = _lines(alice.slurm_nb("status", job_id))
    assert status["State"] == "CANCELLED"
    assert "cancelled" in status["Why"]
    assert f"slurm-nb submit --again {job_id}" in status["Next"]


def test_a_pending_session_runs_after_the_upgrade(alice: Scientist, earlier: Earlier) -> None:
    """status says why a job of the old version waits; once Slurm starts it, `wait` leads to its
    page.
    """
    job_id = earlier.queue("-J", "fit", "--", "--hold")

    (row,) = _rows(alice.slurm_nb("list"))
    pending = _lines(alice.slurm_nb("status", "fit"))
    tunnel = alice.slurm_nb("tunnel-cmd", "fit")
    _release(alice, job_id)
    record = json.loads(alice.slurm_nb("wait", "fit", "--json").stdout)
    with alice.tunnel(record["tunnel_command"]):
        seen = alice.run_cell(record["url"], WHERE)

    assert row[:4] == [job_id, "fit", "PENDING (JobHeldUser)", "-"]
    assert pending["State"].startswith("PENDING (JobHeldUser)")
    assert (tunnel.exit_code, tunnel.stdout) == (5, "")
    assert (record["job_id"], record["state"]) == (job_id, "RUNNING")
    assert seen == {
        "page_status": 200,
        "no_token_status": 403,
        "output": f"{job_id} {record['node']}\n",
    }


def test_a_script_printed_before_the_upgrade_still_makes_a_session(
    alice: Scientist, earlier: Earlier
) -> None:
    """`submit --dry-run > job.sh` of the old version, sbatched now, is found and reached."""
    script = earlier.slurm_nb("submit", "--dry-run").stdout
    done = alice.cluster.login.run(["sbatch", "--parsable"], user="alice", stdin_text=script)
    job_id = done.stdout.strip()

    await_that(lambda: alice.slurm_nb("tunnel-cmd", job_id).exit_code == 0, "Jupyter is ready")

    record = json.loads(alice.slurm_nb("tunnel-cmd", job_id, "--json").stdout)
    with alice.tunnel(record["tunnel_command"]):
        assert alice.run_cell(record["url"], WHERE)["output"] == f"{job_id} {record['node']}\n"


def test_sessions_that_ended_are_explained(alice: Scientist, earlier: Earlier) -> None:
    """status explains a session that the old version saw end, one that failed unseen, and one that
    was running at the upgrade.
    """
    cancelled = earlier.queue("-p", "closed")
    assert earlier.slurm_nb("cancel", cancelled).exit_code == 0
    failed = earlier.queue("--env", "/home/alice/gone")
    stopped = earlier.start()["job_id"]
    alice.cluster.login.run(["scancel", stopped], user="alice")
    await_that(lambda: alice.squeue("%i") == [], "both jobs have ended")

    states = {row[0]: row[2] for row in _rows(alice.slurm_nb("list"))}
    why = {
        job_id: _lines(alice.slurm_nb("status", job_id)) for job_id in (cancelled, failed, stopped)
    }
    waited = alice.slurm_nb("wait", failed)

    assert states[cancelled] == states[stopped] == "CANCELLED (cancelled)"
    assert states[failed].startswith("FAILED")
    assert why[cancelled]["Why"] == "it was cancelled before it started"
    assert "/home/alice/gone" in why[failed]["Why"]
    assert f"slurm-nb submit --again {stopped}" in why[stopped]["Next"]
    assert waited.exit_code == 4
    assert "/home/alice/gone" in waited.stderr


def test_a_session_that_ended_is_submitted_again(alice: Scientist, earlier: Earlier) -> None:
    """`--again` takes the options that the old version kept, and a change."""
    words = ["-p", "closed", "-A", "project", "-t", "90", "-c", "2", "-J", "it's a fit"]
    first = earlier.queue(*words, "--", "--comment", "a b")
    assert earlier.slurm_nb("cancel", first).exit_code == 0

    said = alice.slurm_nb("submit", "--no-wait", "--again", first, "-t", "3:00:00")

    assert said.exit_code == 0, said
    assert alice.squeue("%l|%P|%a|%c|%j|%k") == ["3:00:00|closed|project|2|it's a fit|a b"]


def test_old_sessions_that_ended_are_pruned(alice: Scientist, earlier: Earlier) -> None:
    """--prune forgets the old session that has ended, with its script and output, and no other."""
    ended = earlier.queue("-p", "closed")
    assert earlier.slurm_nb("cancel", ended).exit_code == 0
    waits = earlier.queue("-p", "closed")

    said = alice.slurm_nb("list", "--prune")

    assert "Removed 1 session.\n" in said.stderr
    assert [row[0] for row in _rows(said)] == [waits]
    assert list(alice.state.glob(f"*/*{ended}*")) == []
    assert not (alice.state / "sessions/testbed" / ended).exists()
    assert (alice.state / f"jobs/{waits}_submission.sh").exists()


def test_an_interrupted_submission_is_found(alice: Scientist, earlier: Earlier) -> None:
    """The old version was killed before it heard of its job: list finds the job by the old note,
    and cancel ends it.
    """
    earlier.slurm_nb("submit", "-J", "lost", "-p", "closed", sbatch=CUTTING_SBATCH)
    (note,) = (alice.state / "submitting").iterdir()
    (job_id,) = alice.squeue("%i")

    (row,) = _rows(alice.slurm_nb("list"))
    cancelled = alice.slurm_nb("cancel", "lost")

    assert row[:2] == [job_id, "lost"]
    assert row[2].startswith("PENDING")
    assert not note.exists()
    assert (cancelled.exit_code, alice.squeue("%i")) == (0, [])


def test_an_interrupted_submission_without_a_job_is_reported(
    alice: Scientist, earlier: Earlier
) -> None:
    """The old version was killed before Slurm had the job: list reports it, with the script."""
    earlier.slurm_nb("submit", "-p", "closed", sbatch=DYING_SBATCH)
    (note,) = (alice.state / "submitting").iterdir()

    said = alice.slurm_nb("list")

    assert said.exit_code == 0
    assert "A submission at " in said.stderr
    assert json.loads(note.read_text())["script"] in said.stderr
    assert note.exists()


def test_a_requeued_session_comes_back(alice: Scientist, earlier: Earlier) -> None:
    """An old job that Slurm requeues after the upgrade has a new page and a new token."""
    old = earlier.start()
    job_id, token = old["job_id"], alice.token(old["job_id"])

    alice.cluster.login.run(["scontrol", "requeue", job_id], user="alice")
    await_that(lambda: alice.squeue("%T") == ["PENDING"], "it is back in the queue")
    status = _lines(alice.slurm_nb("status", job_id))
    tunnel = alice.slurm_nb("tunnel-cmd", job_id)
    alice.cluster.login.run(["scontrol", "update", f"jobid={job_id}", "StartTime=now"])
    record = json.loads(alice.slurm_nb("wait", job_id, "--json").stdout)
    with alice.tunnel(record["tunnel_command"]):
        seen = alice.run_cell(record["url"], WHERE)

    assert "the job ran and was requeued" in status["Before"]
    assert (tunnel.exit_code, tunnel.stdout) == (5, "")
    assert record["local_port"] == old["local_port"]
    assert seen["page_status"] == 200
    assert seen["output"] == f"{job_id} {record['node']}\n"
    assert alice.token(job_id) != token
