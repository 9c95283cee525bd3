"""slurm-nb open"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from slurm_nb.scheduler.job import Job, JobState, Phase
from slurm_nb.session.session import Session
from slurm_nb.session.store import Store
from tests.conftest import AddProgram
from tests.fakes import NAMED, READY, TOKEN, Run, running, settle_as_proven


@pytest.mark.usefixtures("slurm")
def test_a_job_on_a_node_is_not_opened_here(run: Run, store: Store) -> None:
    """No browser of the login node reaches it."""
    running(store, NAMED)

    said = run("open", "7")

    assert said.code == 1
    assert "slurm-nb tunnel-cmd 7" in said.err


def test_open_keeps_the_token_out_of_the_browsers_arguments(
    run: Run, store: Store, program: AddProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given a private page that leads there, and that goes with the token."""
    browser = program("browser", 'echo "$@" >"$0.calls"')
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    session = Session(job=Job("local-1", "local"))
    ready = READY.replace('"hpc"', '"local"').replace('"7"', '"local-1"')
    running(store, session, ready)
    with subprocess.Popen(["sleep", "30"], env={"SLURM_NB_SESSION": "local/local-1"}) as job:
        said = run("open", "local-1")
        job.kill()
    page = store.session_folder("local", "local-1") / "open.html"

    assert said.code == 0, said
    assert Path(f"{browser}.calls").read_text().strip() == page.as_uri()
    assert f"http://127.0.0.1:40123/?token={TOKEN}" in page.read_text()
    assert page.stat().st_mode & 0o777 == 0o600
    settle_as_proven(store, session, JobState(Phase.ENDED, "ENDED"))
    assert not page.exists()
