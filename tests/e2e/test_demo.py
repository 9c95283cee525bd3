"""The program behind `make demo`, with a Slurm; CI also runs `make demo` without one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.scientist import Scientist

DEMO = Path(__file__).resolve().parents[1] / "demo.py"


def test_the_demo_runs_in_a_job_and_is_not_started_twice(alice: Scientist) -> None:
    """It ends with the notebook answering; a second demo shows the first one's session."""
    clone = alice.home / "clone"
    (clone / "tests").mkdir(parents=True, exist_ok=True)
    (clone / "tests/demo.py").write_bytes(DEMO.read_bytes())
    environment = alice.cluster.state / "srv/venv"
    copy = ["cp", "-a", "--reflink=auto", "--no-target-directory", str(environment)]
    subprocess.run([*copy, str(clone / ".venv")], check=True, timeout=120)
    subprocess.run(["chown", "-R", "--reference", str(alice.home), str(clone)], check=True)

    said = [
        alice.cluster.login.run(
            [".venv/bin/python", "tests/demo.py"], user="alice", cwd="/home/alice/clone",
            timeout_s=90, check=False,
        )
        for _ in range(2)
    ]  # fmt: skip

    ((job_id, node),) = [line.split() for line in alice.squeue("%i %N")]
    for each in said:
        assert each.returncode == 0, each
        assert f"Jupyter answers on {node}, port " in each.stdout
        assert f".venv/bin/slurm-nb cancel {job_id}\n" in each.stdout
        assert ": slurm-nb " not in each.stdout + each.stderr, "it is not on everybody's PATH"
    subprocess.run(["rm", "-rf", str(clone)], check=True, timeout=60)
