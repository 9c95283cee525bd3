"""Sessions from Python: what other programs call, with a Slurm of shell scripts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import slurm_nb
from slurm_nb.connection.login import Login
from slurm_nb.errors import JobEnded, SchedulerError, UserError
from slurm_nb.files import write_private
from slurm_nb.job.spec import JobSpec
from slurm_nb.scheduler.job import Job
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import AddProgram
from tests.fakes import OVER, TOKEN, has_token, running, shown, slurm

__all__ = ["slurm"]  # a fixture, for pytest to find here
LOGIN = Login("login.hpc.edu")


def test_the_names_of_the_package_are_those_of_the_api() -> None:
    """Every name that is promised is there, and a misspelt one is an AttributeError."""
    assert all(callable(getattr(slurm_nb, name)) for name in slurm_nb.__all__)
    with pytest.raises(AttributeError, match="no attribute 'submitt'"):
        _ = slurm_nb.submitt


def test_the_version_is_asked_for_without_the_api() -> None:
    """`slurm-nb --version` is quick because nothing is imported before it is used."""
    code = "import sys, slurm_nb; print([n for n in sys.modules if n.startswith('slurm_nb')])"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )

    assert done.stdout == "['slurm_nb']\n"


@pytest.mark.usefixtures("slurm")
def test_a_submitted_session_is_saved_before_anything_else(spec: JobSpec, store: Store) -> None:
    """Whoever is told of the job by `saved` finds it by its id already."""
    found: list[Session] = []

    session = slurm_nb.submit(
        spec,
        login=LOGIN,
        local_port=9999,
        saved=lambda new: found.append(slurm_nb.find_session(new.job_id)),
    )

    assert found == [session]
    assert (session.job_id, session.login_host, session.local_port) == ("7", "login.hpc.edu", 9999)
    assert store.load("7") == session


@pytest.mark.usefixtures("store")
def test_a_state_directory_can_be_passed(spec: JobSpec, tmp_path: Path) -> None:
    """A program that looks after several users' jobs does not change its environment for it."""
    other = Store.of_user({"SLURM_NB_HOME": str(tmp_path / "other")})
    other.save(Session(job=Job("8", "hpc")))

    assert f"state_dir={other.folder}" in slurm_nb.render(spec, store=other)
    assert slurm_nb.find_session("8", store=other).job_id == "8"
    with pytest.raises(UserError, match="job 8 was not started by slurm-nb"):
        slurm_nb.find_session("8")


def test_words_beside_sbatchs_answer_are_passed_on(
    spec: JobSpec, slurm: AddProgram, store: Store
) -> None:
    """A site's filter speaks to the user of the program, not to its stderr."""
    slurm("sbatch", "echo 'use the short queue' >&2; echo 7")
    heard: list[str] = []

    slurm_nb.submit(spec, login=LOGIN, note=heard.append)

    assert heard == ["use the short queue"]
    assert [session.job_id for session in store.all()[0]] == ["7"]


def test_a_refusal_is_an_exception_with_a_hint(spec: JobSpec, slurm: AddProgram) -> None:
    """Nothing is printed, and nothing ends the program."""
    slurm("sbatch", "echo 'sbatch: error: no such partition' >&2; exit 1")

    with pytest.raises(SchedulerError, match="no such partition") as caught:
        slurm_nb.submit(spec, login=LOGIN)

    assert (caught.value.exit_code, caught.value.hint) == (3, "nothing was submitted")


@pytest.mark.usefixtures("slurm")
def test_the_way_in_is_waited_for(store: Store) -> None:
    """Command and URL, the job's state, and the session as it is saved."""
    session = running(store)

    reached = slurm_nb.wait_until_ready(session)

    assert (reached.ready.node, reached.ready.port) == ("c1", 40123)
    assert reached.tunnel.command.endswith("@c1")
    assert reached.tunnel.url.endswith(f"/?token={TOKEN}")
    assert reached.state.end_time == "2026-11-23T14:00:00"
    assert store.load("7") == reached.session


@pytest.mark.usefixtures("slurm")
def test_the_way_in_is_found_again(store: Store) -> None:
    """By another program, for another port of the laptop."""
    running(store)

    reached = slurm_nb.connect(slurm_nb.find_session("7"), login=LOGIN, local_port=12345)

    assert "-L 127.0.0.1:12345:127.0.0.1:40123 " in reached.tunnel.command


def test_a_job_that_has_ended_has_no_way_in(slurm: AddProgram, store: Store) -> None:
    """The exception says what the command would, and the token goes."""
    running(store, output=OVER)
    slurm("squeue", shown("COMPLETED"))

    with pytest.raises(JobEnded, match="job 7 has ended"):
        slurm_nb.connect(slurm_nb.find_session("7"), login=LOGIN)
    assert not has_token(store)


def test_cancel_tells_what_became_of_each_session(slurm: AddProgram, store: Store) -> None:
    """It goes on as its answer is read, and the token goes with the job."""
    session = running(store)
    slurm("scancel", f"""cat >"${{0%/*}}/squeue" <<'END'\n#!/bin/bash\n{shown("CANCELLED")}\nEND""")

    (ended,) = slurm_nb.cancel([session])

    assert (ended.session, ended.already, ended.error) == (session, False, None)
    assert ended.state is not None
    assert not has_token(store)


def test_an_unknown_session_is_an_exception(store: Store) -> None:
    """As of a job that slurm-nb did not start."""
    assert store.all() == ([], [])
    with pytest.raises(UserError, match="job 9 was not started by slurm-nb"):
        slurm_nb.find_session("9")


def test_the_script_is_what_dry_run_prints(spec: JobSpec, store: Store) -> None:
    """Rendered without asking Slurm for anything."""
    assert slurm_nb.render(spec).startswith("#!/bin/bash\n#SBATCH --job-name=slurm-nb\n")
    assert store.all() == ([], [])


def test_a_password_that_is_missing_is_told_before_anything_is_submitted(
    tmp_path: Path, store: Store
) -> None:
    """Also where no command is in between."""
    spec = JobSpec(notebook_dir=tmp_path, auth="password")
    with pytest.raises(UserError, match="you have not set a password"):
        slurm_nb.submit(spec, login=LOGIN)

    write_private(store.password_path, "argon2:x")
    assert "SLURM_NB_AUTH=password" in slurm_nb.render(spec)
