"""slurm-nb status"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime

import pytest

from slurm_nb.files import write_private
from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import AddProgram
from tests.fakes import NAMED, READY, Run, running, shown, told

HAS = 'echo "main|project|normal|4|8G|gres:gpu:1"'


@pytest.mark.usefixtures("slurm")
def test_status_of_a_ready_session(run: Run, store: Store) -> None:
    """It shows the node, the end, how to connect, and the job's warnings."""
    warning = told("warning", kind="time", text="this session ends in 15 minutes")
    running(store, NAMED, READY + warning)

    lines = dict(line.split(":", 1) for line in run("status", "analysis").out.splitlines())

    assert {name: text.strip() for name, text in lines.items() if name != "Submitted"} == {
        "Job": "7 (analysis), cluster hpc",
        "State": "RUNNING",
        "Node": "c1",
        "Ends": "2026-11-23 14:00, in 0 s",
        "Jupyter": "ready; to connect: slurm-nb tunnel-cmd 7",
        "Warning": "this session ends in 15 minutes",
        "Output": str(store.log_path("7")),
    }


def test_status_of_a_pending_job(run: Run, store: Store, slurm: AddProgram) -> None:
    """It shows the reason, the expected start and the place in the queue."""
    store.save(NAMED)
    waits = shown("PENDING", reason="Priority", start="2026-11-23T14:00:00")
    slurm(
        "squeue",
        f'case "$*" in *%P*) {HAS};; *-p*main*) printf "9\\n7\\n8\\n";; *) {waits};; esac',
    )

    said = run("status", "7").out

    assert (
        "PENDING (Priority): other jobs have higher priority; estimated start: 2026-11-23 14:00"
        in (said)
    )
    assert "number 2 of 3 pending jobs in the partition" in said


def test_a_held_job_has_no_place_in_the_queue(run: Run, store: Store, slurm: AddProgram) -> None:
    """Held jobs have no priority, so their order means nothing."""
    store.save(NAMED)
    waits = shown("PENDING", reason="JobHeldUser")
    slurm(
        "squeue",
        f'case "$*" in *%P*) {HAS};; *-p*main*) echo 7;; *) {waits};; esac',
    )

    said, record = run("status", "7").out, json.loads(run("status", "7", "--json").out)

    assert "Place:" not in said
    assert record["place_in_queue"] is None


def test_status_hides_an_idle_stop_later_than_the_time_limit(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """The session ends before it could stop for idleness."""
    running(store, NAMED)
    now = int(time.time())
    path = store.session_folder("hpc", "7") / "activity.json"

    def line(ends_in_s: int) -> str:
        end = datetime.fromtimestamp(now + ends_in_s).isoformat(timespec="seconds")  # noqa: DTZ006  local
        slurm("squeue", shown("RUNNING", end))
        lines = run("status", "7").out.splitlines()
        return next(line for line in lines if line.startswith("Idle:"))

    write_private(path, json.dumps({"active_at": now - 600, "idle_stop_at": now + 3000}))

    assert "stops at" not in line(1800)
    assert "stops at" in line(7200)


def test_status_of_an_ended_session(run: Run, store: Store, slurm: AddProgram) -> None:
    """It shows the cause and the command to try next."""
    running(store, NAMED)
    slurm("squeue", shown("TIMEOUT"))

    said = run("status", "7").out

    assert "Why:       the job reached its time limit" in said
    assert "slurm-nb submit --again 7 --time" in said


def test_the_cure_works_for_a_job_that_the_user_submitted_with_sbatch(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """slurm-nb does not know its options, so --again would be an error."""
    store.save(Session(job=Job("7", "hpc")))
    slurm("squeue", shown("CANCELLED", node="n/a"))

    said = run("status", "7").out

    assert "start a new session: `slurm-nb submit`" in said


@pytest.mark.usefixtures("slurm")
def test_status_as_json(run: Run, store: Store) -> None:
    """The object has everything that list has, and more."""
    running(store, NAMED)

    record = json.loads(run("status", "--last", "--json").out)

    assert (record["job_id"], record["ready"], record["warnings"]) == ("7", True, [])
    assert record["output"] == str(store.log_path("7"))


def test_status_shows_the_resources_and_where_they_come_from(
    run: Run, store: Store, slurm: AddProgram
) -> None:
    """These are CPUs, memory, GPUs, partition, account, QOS, directory and user interface."""
    running(store, replace(NAMED, options=("--notebook-dir=/home/alice", "--ui=lab")))
    slurm("squeue", f'case "$*" in *%P*) {HAS};; *) {shown("RUNNING")};; esac')

    out, record = run("status").out, json.loads(run("status", "--json").out)

    assert "Resources: 4 CPUs, 8G of memory, gpu:1\n" in out
    assert "Queue:     partition main, account project, QOS normal\n" in out
    assert "Directory: /home/alice (JupyterLab)\n" in out
    assert (record["cpus"], record["mem"], record["partition"]) == (4, "8G", "main")
    assert (record["directory"], record["ui"]) == ("/home/alice", "lab")


def test_status_of_a_completing_job(run: Run, store: Store, slurm: AddProgram) -> None:
    """It says what is happening and does not suggest the command that has just run."""
    running(store, NAMED)
    slurm("squeue", shown("COMPLETING"))

    out = run("status").out

    assert "Jupyter:   ending; Slurm is cleaning up after the job\n" in out
    assert "slurm-nb status" not in out
