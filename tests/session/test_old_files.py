"""Files of the first version are read, and new files use the same keys.

tests/data/state was written by slurm-nb at commit 791f880.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pytest

from slurm_nb.diagnosis.outcome import Outcome
from slurm_nb.joblog.events import Ready
from slurm_nb.scheduler.job import Job, JobState, Phase
from slurm_nb.scheduler.local import Local
from slurm_nb.scheduler.process import Process
from slurm_nb.session.pending import PendingSubmission, begin, record, recover
from slurm_nb.session.session import Activity, Session
from slurm_nb.session.state_cache import CachedState, CachedStates, JobStateCache
from slurm_nb.session.store import Store
from tests.conftest import DATA, AddProgram

OLD = DATA / "state"
JOBS = "/home/alice/.local/state/slurm-nb/jobs"
PLAIN = Session(job=Job("7", "hpc"))
FULL = Session(
    job=Job("8", "big", needs_cluster_option=True, script=f"{JOBS}/8_submission.sh"),
    login_host="login:2222",
    local_port=9999,
    auth="password",
    python="/opt/venv/bin/python",
    job_name="analysis",
    submitted_at=1764150000,
    options=("--time=90", "--module=python/3.11"),
    ready=Ready("c1", 40123, "/lab", None, "10.1.2.3", ":".join(["AB"] * 32)),
)
HERE = Session(
    job=Job("local-1", "local"),
    login_host="login",
    python="/usr/bin/python3",
    job_name="slurm-nb",
    submitted_at=1764150001,
    ready=Ready("here", None, "/tree", "/run/user/1000/slurm-nb/jupyter.sock"),
)
STATES = {
    "8": JobState(
        Phase.RUNNING,
        "RUNNING",
        script=FULL.job.script,
        user="alice",
        node="c1",
        end_time="2026-11-23T14:00:00",
        start_time="2026-11-23T12:00:00",
    ),
    "9": JobState(Phase.ENDED, "CANCELLED", exit_code="0:15", by_uid=0),
    "10": JobState(Phase.ENDED, "ENDED", "10 is the id of another job now", id_reused=True),
    "11": JobState(Phase.PENDING, "PENDING", "Priority"),
}
ASKED_AT = 1764150123.5


@pytest.fixture
def store(store: Store) -> Store:
    """Return a store that contains the old files."""
    shutil.copytree(OLD, store.folder, dirs_exist_ok=True)
    for path in store.folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return store


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def same(store: Store, name: str) -> bool:
    """Return whether a file that was written again has the content of the old one."""
    return bool(read(store.folder / name) == read(OLD / name))


@pytest.mark.parametrize("session", [PLAIN, FULL, HERE], ids=lambda each: each.job_id)
def test_an_old_session_is_read_and_saved_alike(store: Store, session: Session) -> None:
    """session.json stays flat, with its keys."""
    name = f"sessions/{session.cluster}/{session.job_id}/session.json"
    assert store.load(session.job_id) == session

    (store.folder / name).unlink()
    store.save(session)

    assert same(store, name)


class _Answering(Local):
    """Answers with STATES."""

    def states(
        self, jobs: Iterable[Job], *, unexplained: Collection[str] | None = None
    ) -> dict[str, JobState]:
        return {job.job_id: STATES[job.job_id] for job in jobs}


def test_old_answers_of_slurm_are_read_and_saved_alike(store: Store) -> None:
    """answers/CLUSTER.json keeps `word` and `foreign`."""
    cache = JobStateCache(store, _Answering(store), "big", now=lambda: ASKED_AT)
    loaded = cache.load()
    assert loaded == CachedStates(
        {job_id: CachedState(state, ASKED_AT) for job_id, state in STATES.items()},
        failed_at=None,
        failure="",
    )

    (store.folder / "answers/big.json").unlink()
    cache.ask(Job(job_id, "big") for job_id in STATES)

    assert (store.folder / "answers/big.json").read_bytes() == (
        OLD / "answers/big.json"
    ).read_bytes()


def test_an_old_failure_of_slurm_is_read(store: Store) -> None:
    """Its time and its message are kept."""
    failed = CachedStates({}, 1764150200.0, "Unable to contact slurm controller")

    assert JobStateCache(store, _Answering(store), "hpc").load() == failed


def test_an_old_note_of_a_submission_is_read_and_written_alike(
    store: Store, program: AddProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A submission that was interrupted before an update is found after it."""
    (path,) = (store.folder / "submitting").iterdir()
    process = Process("login", "6f1c4d0e-3b7a-4a52-9f0b-2d6a5e1c8b90", 4711, 123456)
    session = Session(
        job=Job("", "hpc"),
        login_host="login:2222",
        local_port=9999,
        auth="password",
        python="/opt/venv/bin/python",
        job_name="analysis",
        submitted_at=1764150000,
        options=FULL.options,
    )
    script, clusters, began_at = f"{JOBS}/.submission_file_5f.sh", "big,small", 1764150000.25
    program("scontrol", "exit 1")
    assert recover(store) == [PendingSubmission(path, script, clusters, began_at, process, session)]

    monkeypatch.setattr(time, "time", lambda: began_at)
    monkeypatch.setattr(Process, "here", lambda _pid: process)
    pending = begin(store, session, clusters=clusters)
    record(pending, Path(script))

    assert read(pending.path) == read(OLD / "submitting" / path.name)


def test_an_old_outcome_is_read_and_saved_alike(store: Store) -> None:
    """ended.json keeps `word`."""
    name = "sessions/big/8/ended.json"
    outcome = Outcome(
        "TIMEOUT",
        "TimeLimit",
        "time-limit",
        "the time limit of the job was reached",
        "TIMEOUT (TimeLimit)",
        "ask for more time: `slurm-nb submit --again 8 --time 03:00:00`",
        1764157200,
        "2026-11-23T14:00:00",
        "c1",
    )
    assert store.outcome(FULL) == outcome

    (store.folder / name).unlink()
    store.save_outcome(FULL, outcome)

    assert (store.folder / name).read_bytes() == (OLD / name).read_bytes()


def test_old_activity_is_read(store: Store) -> None:
    """The kit of a running job stays what it was when it was submitted."""
    assert store.activity(FULL) == Activity(1764150100, 1764153700, 0.42, 2)
    assert store.activity(PLAIN) == Activity(None, None, None, 1)
