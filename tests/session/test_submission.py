"""A session reads only what its own submission wrote, not an earlier job of the same id.

If Slurm has lost its state, or was restored from a backup, it reuses an id while the output and the
folder of the earlier job still exist.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass, field, replace

import pytest

from slurm_nb.connection.readiness import is_of_earlier_run
from slurm_nb.files import write_private
from slurm_nb.job import script
from slurm_nb.job.spec import JobSpec
from slurm_nb.scheduler.job import Job, JobState, Phase
from slurm_nb.scheduler.local import Local
from slurm_nb.session.pending import adopt, begin, record
from slurm_nb.session.session import Session
from slurm_nb.session.state_cache import JobStateCache
from slurm_nb.session.store import Store
from tests.conftest import NONCE
from tests.fakes import READY, TOKEN, running, settle_as_proven, told


def run_script(text: str) -> str:
    """Run the beginning of a job script, as Slurm does, as job 7 of the cluster."""
    environ = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": "7", "SLURM_CLUSTER_NAME": "hpc"}
    return subprocess.run(
        ["bash", "-c", text], env=environ, capture_output=True, text=True, check=True
    ).stdout


OLD = Session(job=Job("7", "hpc", script="/jobs/old.sh"), submission="0a" * 16)
NEW = Session(job=Job("7", "hpc", script="/jobs/new.sh"), submission="0b" * 16)
COMPLETED = JobState(Phase.ENDED, "COMPLETED")


def by(session: Session, line: str) -> str:
    return line.replace('"nonce"', f'"submission": "{session.submission}", "nonce"')


def begun(store: Store, session: Session) -> None:
    """Do what the job script does first."""
    write_private(store.session_folder("hpc", "7") / "submission", session.submission or "")


@pytest.fixture
def reused(store: Store) -> Store:
    """Return a store where an earlier job left all its files and the new job just got its id."""
    running(store, OLD, by(OLD, told("started") + READY))
    begun(store, OLD)
    settle_as_proven(store, OLD, COMPLETED)
    write_private(store.token_path(OLD), TOKEN)
    os.utime(store.log_path("7"), (1, 1))
    pending = begin(store, replace(NEW, job=Job("", "hpc")), clusters="")
    record(pending, store.folder / "script.sh")
    adopt(store, pending, NEW.job)
    return store


def test_nothing_of_an_earlier_job_belongs_to_the_new_one(reused: Store) -> None:
    """It gets neither its connection, token, ending and activity nor its output."""
    session = reused.load("7")
    log = reused.log(session)

    assert session.submission == NEW.submission
    assert log.read().ready is None
    assert log.tail() == []
    assert session.output_start == reused.log_path("7").stat().st_size
    assert (reused.token(session), reused.nonce(session)) == (None, None)
    assert (reused.outcome(session), reused.activity(session)) == (None, None)


def test_the_new_jobs_output_is_found_after_the_earlier_ones(reused: Store) -> None:
    """It is found as soon as the job has written it."""
    session = reused.load("7")
    begun(reused, NEW)
    with reused.log_path("7").open("a") as file:
        file.write(by(NEW, told("started") + READY.replace("40123", "40999")))

    ready = reused.log(session).read().ready

    assert ready
    assert ready.port == 40999
    assert reused.token(session) == TOKEN


def test_a_line_of_an_earlier_job_is_ignored_wherever_it_is(store: Store) -> None:
    """This includes a later line, even if nothing marks where the new output begins."""
    running(store, NEW, by(NEW, told("started")) + by(OLD, READY) + READY)
    begun(store, NEW)

    assert store.log(NEW).read().ready is None


def test_output_that_the_new_job_has_begun_is_read_from_the_beginning(store: Store) -> None:
    """The job was faster than the answer of sbatch."""
    pending = begin(store, replace(NEW, job=Job("", "hpc")), clusters="")
    record(pending, store.folder / "script.sh")
    store.log_path("7").write_text("slurmstepd: error: x\n")
    os.utime(store.log_path("7"), (time.time() + 1, time.time() + 1))

    assert adopt(store, pending, NEW.job).output_start == 0


def test_the_job_removes_what_an_earlier_one_has_left(reused: Store) -> None:
    """Its script does so before it writes anything; a requeued run keeps its own files."""
    spec = JobSpec(notebook_dir=reused.folder)
    text = script.render(spec, state_dir=reused.folder, submission=NEW.submission or "")
    head = text[: text.index("# Use the kit only")]
    folder = reused.session_folder("hpc", "7")

    first = run_script(head)
    nonce = (folder / "nonce").read_text()
    again = run_script(head)

    assert sorted(path.name for path in folder.iterdir()) == ["nonce", "session.json", "submission"]
    assert nonce != NONCE
    assert (folder / "nonce").read_text() == nonce
    assert (folder / "submission").read_text() == NEW.submission
    started = json.loads(first.partition("started: ")[2])
    assert started["submission"] == NEW.submission
    assert abs(started["began_at"] - time.time()) < 60
    assert json.loads(again.partition("started: ")[2])["nonce"] == nonce


def test_a_job_never_waits_for_a_pipe(reused: Store) -> None:
    """If a pipe has the name of a file that it reads early, the job replaces the pipe."""
    spec = JobSpec(notebook_dir=reused.folder)
    text = script.render(spec, state_dir=reused.folder, submission=NEW.submission or "")
    folder = reused.session_folder("hpc", "7")
    for name in ("submission", "nonce"):
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    run_script(text[: text.index("# Use the kit only")])

    assert (folder / "submission").read_text() == NEW.submission
    assert (folder / "nonce").is_file()


def test_a_script_submitted_by_hand_removes_the_earlier_session(reused: Store) -> None:
    """It has no submission, so no saved session belongs to it."""
    text = script.render(JobSpec(notebook_dir=reused.folder), state_dir=reused.folder)

    run_script(text[: text.index("# Use the kit only")])

    assert reused.load("7") == Session(job=Job("7", "hpc"))


@dataclass
class Answering(Local):
    store: Store
    asked: list[str] = field(default_factory=list)

    def states(self, jobs, *, unexplained=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        self.asked += [job.script for job in jobs]
        return {job.job_id: JobState(Phase.PENDING, "PENDING") for job in jobs}


def test_a_saved_answer_about_another_script_is_ignored(store: Store) -> None:
    """submit reported CANCELLED for the job that had the id before, and the new job then ran."""
    slurm = Answering(store)
    cache = JobStateCache(store, slurm, "hpc")
    store.save(NEW)
    cache.ask([OLD.job])

    state = cache.state(NEW.job, max_age_s=3600)
    again = cache.state(NEW.job, max_age_s=3600)

    assert slurm.asked == ["/jobs/old.sh", "/jobs/new.sh"]
    assert (state.slurm_state, again.slurm_state) == ("PENDING", "PENDING")


@pytest.mark.parametrize(
    ("began", "earlier"), [(-4000, True), (-301, True), (-200, False), (5, False)]
)
def test_a_run_before_the_one_that_slurm_shows_is_ignored(
    store: Store,
    began: int,
    earlier: bool,  # noqa: FBT001  a column
) -> None:
    """The job was requeued after its node failed and is in its prolog: the old output remains."""
    start_s = 1_795_000_000
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(start_s))
    running(store, output=told("started", began_at=start_s + began) + READY)
    log = store.log(Session(job=Job("7", "hpc")))
    log.read()

    state = JobState(Phase.RUNNING, "RUNNING", start_time=start)

    assert is_of_earlier_run(state, log) is earlier
