"""Jobs on this machine: each has its own id and is never confused with another process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_nb.errors import SchedulerError, UserError
from slurm_nb.job.spec import JobSpec
from slurm_nb.scheduler import scheduler
from slurm_nb.scheduler.job import LOCAL, Job, JobState, Phase
from slurm_nb.scheduler.local import Local
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store

JOB = Job("local-1", LOCAL)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that somebody else started."""
    running = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield running
    running.kill()
    running.wait()


def start_ticks(pid: int) -> int:
    """Return when a process began, as proc(5) counts it."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return int(stat.rpartition(")")[2].split()[19])


Record = Callable[..., Path]


@pytest.fixture
def record(store: Store, process: subprocess.Popen[bytes]) -> Record:
    """Return a function that records `process` as the leader of `JOB`, with changes."""

    def write(**changes: object) -> Path:
        folder = store.session_folder(LOCAL, JOB.job_id)
        folder.mkdir(parents=True, exist_ok=True)
        leader = {
            "host": socket.gethostname(),
            "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
            "pid": process.pid,
            "start_ticks": start_ticks(process.pid),
            "end_time": None,
        }
        (folder / "process.json").write_text(json.dumps({**leader, **changes}), encoding="utf-8")
        return folder / "process.json"

    return write


@pytest.fixture
def local(store: Store) -> Local:
    return Local(store)


def state(local: Local) -> JobState:
    return local.states([JOB])[JOB.job_id]


def test_the_cluster_of_local_sessions_is_this_machine(store: Store) -> None:
    """The cluster `local` leads here, and any other to Slurm."""
    assert isinstance(scheduler(LOCAL, store), Local)
    assert Local(store).cluster() == LOCAL
    assert not isinstance(scheduler("hpc", store), Local)


def test_a_job_runs_while_its_leader_lives(record: Record, local: Local) -> None:
    """Its end is the time that was set for it."""
    record(end_time="2026-11-23T14:00:00")

    assert state(local) == JobState(Phase.RUNNING, "RUNNING", end_time="2026-11-23T14:00:00")


def test_a_job_ends_with_its_leader(
    record: Record, process: subprocess.Popen[bytes], local: Local
) -> None:
    """A killed process has ended even if its parent has not noticed yet."""
    record()
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie from here on
    as_zombie = state(local)
    process.wait()

    assert as_zombie.phase is Phase.ENDED
    assert state(local).phase is Phase.ENDED


@pytest.mark.parametrize(
    "changes",
    [{"start_ticks": 1}, {"start_ticks": 0}, {"boot_id": "00000000-0000-0000-0000-000000000000"}],
    ids=["reused pid", "never seen", "before the reboot"],
)
def test_another_process_with_the_same_id_is_not_the_job(
    record: Record, process: subprocess.Popen[bytes], changes: dict[str, object], local: Local
) -> None:
    """Process ids are reused; an unrelated process is neither a running job nor ever killed."""
    record(**changes)

    assert state(local).phase is Phase.ENDED
    local.cancel(JOB)
    assert process.poll() is None


def test_a_job_of_another_host_has_an_unknown_state(
    record: Record, process: subprocess.Popen[bytes], local: Local
) -> None:
    """With a shared home, this machine neither ends nor cancels a session of another one."""
    record(host="elsewhere")

    assert state(local).phase is Phase.UNKNOWN
    assert "elsewhere" in state(local).reason
    with pytest.raises(SchedulerError, match="started on elsewhere"):
        local.cancel(JOB)
    assert process.poll() is None


def test_a_job_that_never_started_has_ended(store: Store, local: Local) -> None:
    """An interrupted claim is over, and cancelling it is not an error."""
    store.save(Session(job=JOB))

    assert state(local).phase is Phase.ENDED
    local.cancel(JOB)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": 1}', "null"])
def test_a_broken_record_gives_an_unknown_state(record: Record, text: str, local: Local) -> None:
    """One broken file does not hide the other jobs: states() never raises."""
    record().write_text(text, encoding="utf-8")

    assert state(local).phase is Phase.UNKNOWN


def test_cancelling_ends_the_leader(
    record: Record, process: subprocess.Popen[bytes], local: Local
) -> None:
    """The job's own process gets a signal, and cancel() returns when it has ended."""
    record()
    reaper = threading.Thread(target=process.wait)
    reaper.start()

    local.cancel(JOB)

    assert state(local).phase is Phase.ENDED
    reaper.join()
    assert process.returncode == -signal.SIGTERM


def test_options_for_sbatch_are_rejected(store: Store, local: Local) -> None:
    """Without Slurm nobody would read the options after `--`, so nothing starts."""
    spec = JobSpec(
        notebook_dir=Path("/"), python=Path("/usr/bin/python3"), sbatch_options=("--exclusive",)
    )

    with pytest.raises(UserError, match="'--exclusive': sbatch options have no effect"):
        local.submit("exit", spec, cluster=LOCAL, before=lambda _: None, tell=lambda _lines: None)

    assert store.all() == ([], [])


def test_a_job_with_a_time_limit_gets_its_end(tmp_path: Path, local: Local) -> None:
    """It follows the id, in seconds since the epoch."""
    spec = JobSpec(notebook_dir=tmp_path, time="2:00:00")
    script = 'echo "$@" >told.new && mv told.new told'

    session = local.submit(
        script, spec, cluster=LOCAL, before=lambda _: None, tell=lambda _lines: None
    )

    deadline = time.monotonic() + 20
    while not (tmp_path / "told").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    job_id, end = (tmp_path / "told").read_text().split()
    assert job_id == session.job_id
    assert abs(int(end) - time.time() - 7200) < 60


def test_a_job_that_cannot_be_recorded_does_not_start(
    spec: JobSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local: Local
) -> None:
    """Nobody would find it again; the process that becomes the job writes the record."""

    def refuse(store: Store, job: Job) -> Path:
        return store.session_folder(LOCAL, job.job_id) / "missing" / "process.json"

    monkeypatch.setattr(Store, "process_path", refuse)
    spec = replace(spec, notebook_dir=tmp_path)
    script = f"touch {tmp_path}/started"
    with pytest.raises(UserError, match="cannot write"):
        local.submit(script, spec, cluster=LOCAL, before=lambda _: None, tell=lambda _: None)

    assert not (tmp_path / "started").exists()
