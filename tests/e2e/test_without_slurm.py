"""`--local`: the same script as an ordinary process, for an ordinary user."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.e2e.scientist import Said, Scientist
from tests.e2e.watched import await_that

NO_SLURM = {"PATH": "/srv/venv/bin:/home/alice/bin"}
# bash, findutils, grep and coreutils are all that the job script needs.
TOOLS = (
    "bash env grep find timeout cat chmod dirname id mkdir mktemp mv od realpath rm sha256sum sleep"
    " touch tr"
)


def test_a_local_session_lives_on_and_is_reached_and_cancelled(alice: Scientist) -> None:
    """Submit, tunnel-cmd and cancel work from three processes; the notebook runs on this host."""
    submitted = _local(alice, "submit", "--local", "--json")
    record = json.loads(submitted.stdout)
    again = _local(alice, "tunnel-cmd", record["job_id"])

    with alice.tunnel(again.stdout.strip()):
        seen = alice.run_cell(record["url"], "import socket; print(socket.gethostname())")
    cancelled = _local(alice, "cancel", record["job_id"])

    assert record["job_id"].startswith("local-")
    assert seen["output"] == "login\n"
    assert again.stdout == record["tunnel_command"] + "\n"
    assert cancelled.stderr == f"Cancelled job {record['job_id']}.\n"
    assert "notebook" not in alice.processes("login")
    assert _local(alice, "tunnel-cmd", record["job_id"]).exit_code == 4


def test_a_local_session_honours_its_time_limit(alice: Scientist) -> None:
    """--time 0:08 ends it after eight seconds, with nothing left running."""
    record = json.loads(_local(alice, "submit", "--local", "--json", "-t", "0:08").stdout)
    end = time.monotonic() + 30

    while _local(alice, "tunnel-cmd", record["job_id"]).exit_code != 4:
        assert time.monotonic() < end

    assert "notebook" not in alice.processes("login")


def test_the_page_that_open_wrote_is_removed_with_the_job(alice: Scientist) -> None:
    """It contains the token: the job's script removes both, even if slurm-nb never runs again."""
    submitted = _local(alice, "submit", "--local", "--json", "-t", "0:08")
    folder = alice.state / "sessions/local" / json.loads(submitted.stdout)["job_id"]
    opened = _local(alice, "open", "--last", env={"BROWSER": "/usr/bin/true"})
    there = (folder / "open.html").exists()
    log = alice.state / f"jobs/{folder.name}_0_log.out"
    end = time.monotonic() + 30
    while "exit_code" not in log.read_text(encoding="utf-8"):
        assert time.monotonic() < end
        time.sleep(0.1)

    assert (opened.exit_code, there) == (0, True)
    assert not (folder / "open.html").exists()
    assert not (folder / "token").exists()


def test_jupyter_ends_when_its_leader_is_killed(alice: Scientist) -> None:
    """The kernel tells Jupyter that the script is gone; cancel then has nothing left to end."""
    record = json.loads(_local(alice, "submit", "--local", "--json").stdout)
    folder = alice.state / "sessions/local" / record["job_id"]
    leader = json.loads((folder / "process.json").read_text())["pid"]

    alice.cluster.login.run(["bash", "-c", f"kill -9 {leader}"], user="alice")
    await_that(lambda: "notebook" not in alice.processes("login"), "Jupyter to end")
    said = _local(alice, "cancel", record["job_id"])

    assert said.exit_code == 0
    assert not (folder / "token").exists()
    assert alice.processes("login") == ""


def test_without_slurm_the_error_names_both_remedies(alice: Scientist) -> None:
    """No sbatch on PATH: exit code 3 names the login node and --local; nothing starts."""
    said = _local(alice, "submit")

    assert said.exit_code == 3
    assert "login node" in said.stderr
    assert "--local" in said.stderr
    assert "notebook" not in alice.processes("login")


def _local(alice: Scientist, *words: str, env: dict[str, str] | None = None) -> Said:
    """Run slurm-nb without the commands of Slurm on PATH."""
    tools = alice.home / "bin"
    tools.mkdir(exist_ok=True)
    for name in TOOLS.split():
        link = tools / name
        if not link.is_symlink():
            link.symlink_to(Path("/usr/bin", name))
    return alice.slurm_nb(*words, env={**NO_SLURM, **(env or {})})
