"""An interrupted submission is found again, and one in progress is never touched."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_nb.scheduler.job import Job
from slurm_nb.scheduler.process import Process
from slurm_nb.session.pending import begin, record, recover, sweep
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import AddProgram

PLAN = Session(
    job=Job("", "hpc"),
    login_host="login",
    job_name="analysis",
    submitted_at=1_764_150_000,
    options=("--time=90",),
)


def noted(store: Store, script: Path, clusters: str = "") -> Path:
    """Note a submission by this process and return the path of the note."""
    pending = begin(store, PLAN, clusters=clusters)
    record(pending, script)
    return pending.path


@pytest.fixture
def slurm(program: AddProgram) -> AddProgram:
    """A Slurm that shows job 7 with the script that is named in a file."""
    program("scontrol", "printf 'ClusterName             = hpc\\n'")
    program(
        "squeue", 'echo "$@" >>"$0.calls"; echo "8|/other.sh"; cat "${0%/*}/jobs" 2>/dev/null; true'
    )
    return program


def jobs(program: AddProgram, text: str) -> None:
    program("unused", "").with_name("jobs").write_text(text, encoding="utf-8")


def calls(program: AddProgram) -> list[str]:
    path = program("unused", "").with_name("squeue.calls")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


Cut = Callable[..., Path]


@pytest.fixture
def cut(store: Store) -> Cut:
    """Return a function that notes a submission whose process is gone."""

    def begun(script: str = "one.sh", clusters: str = "", began_s_ago: float = 5) -> Path:
        path = store.folder / "jobs" / script
        path.write_text("#!/bin/bash\n", encoding="utf-8")
        note = noted(store, path, clusters=clusters)
        kept = json.loads(note.read_text(encoding="utf-8"))
        kept["began_at"] -= began_s_ago
        ended = subprocess.Popen(["true"])
        kept["process"] = Process.here(ended.pid).__dict__
        ended.wait()
        note.write_text(json.dumps(kept), encoding="utf-8")
        return path

    return begun


def test_a_submission_in_progress_is_not_touched(store: Store, slurm: AddProgram) -> None:
    """The submitting process will save it; slurm-nb does not query Slurm."""
    note = noted(store, store.folder / "jobs/one.sh")

    assert recover(store) == []
    assert note.exists()
    assert calls(slurm) == []


def test_a_job_of_an_interrupted_submission_becomes_a_session(
    store: Store, slurm: AddProgram, cut: Cut
) -> None:
    """It has everything that was known before sbatch ran, and the id that Slurm gave it."""
    script = cut()
    jobs(slurm, f"7|{script}\n")

    assert recover(store) == []
    assert store.all() == ([replace(PLAN, job=Job("7", "hpc", script=str(script)))], [])
    assert list((store.folder / "submitting").iterdir()) == []


def test_a_job_on_another_cluster_is_found_there(store: Store, slurm: AddProgram, cut: Cut) -> None:
    """slurm-nb queries the clusters of -M, and the session belongs to the one with the job."""
    script = cut(clusters="big,small")
    jobs(slurm, f"CLUSTER: big\n7|{script}\n")

    recover(store)

    (session,) = store.all()[0]
    assert (session.cluster, session.job.needs_cluster_option) == ("big", True)
    assert calls(slurm) == ["-M big,small --me -t all -o %i|%o"]


def test_one_query_finds_all(store: Store, slurm: AddProgram, cut: Cut) -> None:
    """slurm-nb needs no more however many submissions were interrupted."""
    scripts = [cut(f"{number}.sh") for number in range(3)]
    jobs(slurm, "".join(f"{at}|{script}\n" for at, script in enumerate(scripts, 7)))

    recover(store)

    assert sorted(session.job_id for session in store.all()[0]) == ["7", "8", "9"]
    assert len(calls(slurm)) == 1


@pytest.mark.usefixtures("slurm")
def test_a_submission_that_may_still_become_a_job_is_in_doubt(store: Store, cut: Cut) -> None:
    """sbatch may still be running, or Slurm may be late."""
    script = cut()

    (pending,) = recover(store)

    assert pending.script == str(script)
    assert pending.path.exists()
    assert script.exists()


@pytest.mark.usefixtures("slurm")
def test_a_submission_that_did_not_become_a_job_is_removed_in_the_end(
    store: Store, cut: Cut
) -> None:
    """slurm-nb removes it after ten minutes together with its script."""
    script = cut(began_s_ago=601)

    assert recover(store) == []
    assert list((store.folder / "submitting").iterdir()) == []
    assert not script.exists()


def test_notes_stay_if_squeue_belongs_to_another_cluster(
    store: Store, slurm: AddProgram, cut: Cut
) -> None:
    """If two clusters share the home, the squeue of one does not show the jobs of the other."""
    slurm("scontrol", "printf 'ClusterName             = other\\n'")
    cut(began_s_ago=100_000)

    assert len(recover(store)) == 1
    assert len(list((store.folder / "submitting").iterdir())) == 1


def test_notes_stay_while_slurm_does_not_answer(store: Store, slurm: AddProgram, cut: Cut) -> None:
    """They stay however old they are."""
    slurm("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    cut(began_s_ago=100_000)

    assert len(recover(store)) == 1
    assert len(list((store.folder / "submitting").iterdir())) == 1


@pytest.mark.parametrize(("began_s_ago", "asked"), [(100, 0), (200, 1)])
def test_a_process_on_another_host_is_given_time(
    store: Store, slurm: AddProgram, cut: Cut, began_s_ago: float, asked: int
) -> None:
    """This host cannot see the processes of another login node."""
    cut(began_s_ago=began_s_ago)
    (note,) = (store.folder / "submitting").iterdir()
    record = json.loads(note.read_text(encoding="utf-8"))
    record["process"]["host"] = "login2"
    note.write_text(json.dumps(record), encoding="utf-8")

    recover(store)

    assert len(calls(slurm)) == asked


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"script": "x"}'])
def test_a_note_that_cannot_be_read_is_ignored(store: Store, slurm: AddProgram, text: str) -> None:
    """It was not written completely, so sbatch was never called."""
    (store.folder / "submitting/x.json").write_text(text, encoding="utf-8")

    assert recover(store) == []
    assert calls(slurm) == []


def test_only_the_user_can_read_a_note(store: Store) -> None:
    """It names the script that will run."""
    note = noted(store, Path("/x.sh"))

    assert note.stat().st_mode & 0o777 == 0o600
    assert json.loads(note.read_text())["process"]["pid"] == os.getpid()
    assert recover(store) == []


@pytest.mark.parametrize("linked", [False, True], ids=["before the rename", "after it"])
def test_the_script_of_a_recovered_job_moves_to_its_place_in_the_session(
    store: Store, slurm: AddProgram, cut: Cut, *, linked: bool
) -> None:
    """submitit renames it once Slurm has answered, and links the old name to the new one."""
    script = cut(".submission_file_5f.sh")
    jobs(slurm, f"7|{script}\n")
    if linked:
        script.rename(store.script_path("7"))
        script.symlink_to(store.script_path("7"))

    recover(store)

    assert store.script_path("7").read_text(encoding="utf-8") == "#!/bin/bash\n"
    assert [path.name for path in (store.folder / "jobs").glob(".*")] == []


def test_half_written_files_are_removed_once_they_are_old(store: Store, cut: Cut) -> None:
    """A killed slurm-nb cannot remove them; new files and those of doubtful submissions stay."""
    unresolved = cut(".submission_file_1.sh")
    heard = {name: store.folder / "jobs" / f".sbatch_{name}" for name in ("new", "old")}
    for folder in heard.values():
        folder.mkdir()
        (folder / "stdout").touch()
    os.utime(heard["old"], (0, 0))
    fresh, old = (store.folder / "jobs" / f".submission_file_{name}.sh" for name in "23")
    for path in (fresh, old, store.folder / "submitting/a.json.99.new"):
        path.touch()
    for path in (unresolved, old, store.folder / "submitting/a.json.99.new"):
        os.utime(path, (0, 0))

    sweep(store)

    assert sorted((store.folder / "jobs").iterdir()) == [heard["new"], unresolved, fresh]
    assert list((store.folder / "submitting").glob("*.new")) == []
    assert len(list((store.folder / "submitting").iterdir())) == 1
