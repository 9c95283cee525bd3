"""`make demo`: run the main job and show that the notebook answers.

In a Slurm job where a Slurm answers, else on this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

ENVIRONMENT = Path(sys.prefix)
SLURM_NB = str(ENVIRONMENT / "bin/slurm-nb")
SHOWN = os.path.relpath(SLURM_NB)
"""The command that the reader can type: slurm-nb is not on PATH."""
LAST_JOB = ENVIRONMENT / "demo-job"
# /api answers without the token, so the demo need not send it (jupyter_server 2.21).
ANSWERS = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}/api', timeout=20)"


def main() -> int:
    record = still_running() or submit()
    if record is None:
        return 1
    LAST_JOB.write_text(record["job_id"])
    local = record["cluster"] == "local"
    if not (answers_here(record["port"]) if local else answers_on_node(record)):
        say(f"Jupyter of {record['job_id']} does not answer")
        return 1
    say(f"\nJupyter answers on {record['node']}, port {record['port']}.\n")
    if local:
        here = record["url"].replace(f":{record['local_port']}/", f":{record['port']}/")
        say(f"Look at it on this machine:\n  {here}\n")
    came_by_ssh = "SSH_CONNECTION" in os.environ
    if came_by_ssh or not local:
        say(f"Look at it from your laptop: run\n  {record['tunnel_command']}")
        if not came_by_ssh:
            say(f"(put a name of {socket.getfqdn()} there that your laptop knows)")
        say(f"and open\n  {record['url']}\n")
    say(f"Stop it:\n  {SHOWN} cancel {record['job_id']}")
    return 0


def still_running() -> dict[str, Any] | None:
    """Return the session of an earlier demo, if it lives."""
    if not LAST_JOB.exists():
        return None
    command = [SLURM_NB, "tunnel-cmd", "--json", LAST_JOB.read_text()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    record: dict[str, Any] | None = json.loads(done.stdout) if done.returncode == 0 else None
    return record


def submit() -> dict[str, Any] | None:
    """Return a new session of half an hour, or None after slurm-nb has reported an error."""
    where = [] if slurm_answers() else ["--local"]
    words = ["submit", "--json", "--time", "30:00", *where]
    say(" ".join(["$", SHOWN, *words]))
    pipe = subprocess.PIPE
    with subprocess.Popen([SLURM_NB, *words], stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stderr:
            say(line.replace(": slurm-nb ", f": {SHOWN} ").rstrip("\n"))
        record: dict[str, Any] = json.loads(process.stdout.read() or "null")
    return record if process.returncode == 0 else None


def slurm_answers() -> bool:
    """Return whether there is a Slurm here that answers."""
    if shutil.which("sbatch") is None:
        say("No sbatch here, so Jupyter starts on this machine.")
        return False
    done = subprocess.run(["sinfo", "-h"], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        say("sbatch is here, but no Slurm answers, so Jupyter starts on this machine.")
    return done.returncode == 0


def answers_here(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=20) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def answers_on_node(record: dict[str, Any]) -> bool:
    """Send the request from inside the job: the port is open only on the node's loopback."""
    step = ["srun", f"--jobid={record['job_id']}", "--overlap", "--ntasks=1", "--nodes=1"]
    python = [sys.executable, "-c", ANSWERS.format(port=record["port"])]
    done = subprocess.run([*step, *python], timeout=120, check=False)
    return done.returncode == 0


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
