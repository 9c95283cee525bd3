"""A killed job script, and the rest of its session on the node."""

from __future__ import annotations

import time

from tests.e2e.processes import pids_of_job
from tests.e2e.scientist import Scientist


def test_the_server_cleans_up_after_its_script_was_killed(alice: Scientist) -> None:
    """The script is killed; when its Jupyter ends, it removes the node-local directory and the
    token.
    """
    job_id = alice.submit("-w", "c1")["job_id"]
    node = alice.cluster.hosts["c1"]
    script = min(pids_of_job(node, job_id, "slurm_script"), key=int)  # not its subshell
    (server,) = pids_of_job(node, job_id, "slurm_nb_kit.preflight")
    assert len(alice.run_folders()) == 1

    node.run(["kill", "-KILL", script])
    deadline = time.monotonic() + 30
    while (node.root / "proc" / script).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    node.run(["kill", "-TERM", server], check=False)

    while alice.run_folders() or alice.processes("c1"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (alice.state / "sessions/testbed" / job_id / "token").exists()
