"""Living with sessions: list, status, wait, logs, url, names, and --again."""

from __future__ import annotations

import json
import re

from tests.e2e.scientist import Scientist

WHERE = "import os; print(os.environ['SLURM_JOB_ID'], os.uname().nodename)"


def test_all_sessions_are_seen_named_and_ended(alice: Scientist) -> None:
    """One runs, one waits and one has ended, each as Slurm shows it; status says more of each; a
    name stands for its job id; --prune removes the ended one, and nothing else.
    """
    runs = alice.submit("-J", "analysis", "-w", "c1", "-t", "2:00:00")["job_id"]
    alice.slurm_nb("submit", "--no-wait", "-J", "fit", "-p", "closed")
    alice.slurm_nb("submit", "--no-wait", "-J", "fit2", "-p", "closed")
    waits, ended = (line.split()[0] for line in sorted(alice.squeue("%i %j")) if "fit" in line)
    alice.slurm_nb("cancel", "fit2")

    listed = alice.slurm_nb("list")
    records = json.loads(alice.slurm_nb("list", "--json").stdout)["sessions"]
    running, pending, over = (
        alice.slurm_nb("status", name).stdout for name in ("analysis", "fit", "--last")
    )
    tunnel = alice.slurm_nb("tunnel-cmd", "analysis")
    pruned = alice.slurm_nb("list", "--prune")

    rows = [re.split(r"  +", line) for line in listed.stdout.splitlines()[1:]]
    assert [row[:4] for row in rows] == [
        [ended, "fit2", "CANCELLED (cancelled)", "-"],
        [waits, "fit", "PENDING (PartitionDown)", "-"],
        [runs, "analysis", "RUNNING", "c1"],
    ]
    assert re.fullmatch(r"11\d min", rows[2][4])
    assert [each["job_id"] for each in records] == [ended, waits, runs]
    assert 7000 < records[2]["time_left_s"] <= 7200
    assert (records[2]["kernels"], records[2]["idle_s"] < 60) == (0, True)
    assert f"slurm-nb tunnel-cmd {runs}" in running
    assert "its partition is not starting jobs now" in pending
    assert "number 1 of 1 pending jobs in the partition" in pending
    assert f"slurm-nb submit --again {ended}" in over
    assert tunnel.stdout.endswith(" alice@c1\n")
    assert "Removed 1 session.\n" in pruned.stderr
    assert [line.split()[0] for line in pruned.stdout.splitlines()[1:]] == [waits, runs]


def test_another_terminal_resumes_the_wait(alice: Scientist) -> None:
    """`wait` prints what submit would have; `url` prints its URL; `logs` shows Jupyter's log, and
    nothing secret.
    """
    alice.slurm_nb("submit", "--no-wait")

    record = json.loads(alice.slurm_nb("wait", "--last", "--json").stdout)
    url = alice.slurm_nb("url", "--last").stdout.strip()
    logs = alice.slurm_nb("logs", "--last", "-n", "30").stdout

    assert record["url"] == url
    with alice.tunnel(record["tunnel_command"]):
        seen = alice.run_cell(url, WHERE)
    assert seen["output"] == f"{record['job_id']} {record['node']}\n"
    assert "Jupyter Server" in logs
    assert alice.token(record["job_id"]) not in logs


def test_the_same_again_with_a_change(alice: Scientist) -> None:
    """Slurm shows the second job with all options of the first one, except for the change."""
    words = ["-p", "closed", "-A", "project", "-t", "90", "-c", "2", "-J", "it's a fit"]
    alice.slurm_nb("submit", "--no-wait", *words, "--", "--comment", "a b")
    (first,) = alice.squeue("%i")

    said = alice.slurm_nb("submit", "--no-wait", "--again", first, "-t", "3:00:00")

    assert said.exit_code == 0, said
    assert sorted(alice.squeue("%l|%P|%a|%c|%j|%k")) == [
        "1:30:00|closed|project|2|it's a fit|a b",
        "3:00:00|closed|project|2|it's a fit|a b",
    ]
