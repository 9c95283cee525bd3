"""The job script survives Slurm's signal at any time, and finds out when the job ends."""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_nb.job.kit import install
from slurm_nb.job.script import render
from slurm_nb.job.spec import JobSpec
from tests.conftest import AddProgram
from tests.kit.bash import bash

# In place of Jupyter: shows what the kit would find, and ends the job.
SHOW = (
    'for _ in {1..200}; do [ ! -e "$slurm_nb_run_dir/end-time" ] || break; sleep 0.02; done;'
    ' cat "$slurm_nb_run_dir/end-time"; slurm_nb_yours=; exit 0'
)
SIGNAL = "kill -USR1 $$\n"
END = "1795667137"


def script(spec: JobSpec, state: Path, *, signal_after: str = "") -> str:
    """Return the job script, with the signal right after the line `signal_after`."""
    (state / "kits").mkdir(parents=True)
    install(state / "kits")
    text = render(replace(spec, setup=(SHOW,)), state_dir=state, folders=[])
    if signal_after:
        assert text.count(signal_after) == 1
        text = text.replace(signal_after, signal_after + SIGNAL)
    return text


def run(text: str, tmp_path: Path, *words: str, **variables: str) -> list[str]:
    """Run the script; return the lines between `started` and `ended`."""
    environ = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "SLURM_CLUSTER_NAME": "hpc",
        "SLURM_JOB_ID": "7", **variables,
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-c", text, "slurm_script", *words],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if line]
    assert lines[0].startswith("slurm-nb started: ")
    assert re.fullmatch(r'slurm-nb ended: \{.*"exit_code": 0\}', lines[-1])
    return lines[1:-1]


EARLY = "trap 'slurm_nb_signalled=yes' USR1\n"
BETWEEN = '. "$slurm_nb_kit_dir/slurm_nb_kit/functions.sh"\n'
LATER = "slurm_nb_enter_environment\n"


@pytest.mark.parametrize("after", [EARLY, BETWEEN, LATER], ids=["early", "between", "later"])
def test_the_job_script_queries_slurm_when_slurm_signals_it(
    after: str, spec: JobSpec, tmp_path: Path, program: AddProgram
) -> None:
    """Even at the script's first lines; the answer is in seconds since the epoch."""
    asked = program("squeue", f'echo "$SLURM_TIME_FORMAT $*" >>{tmp_path}/asked; echo {END}')

    assert asked.exists()
    assert run(script(spec, tmp_path / "state", signal_after=after), tmp_path) == [END]
    assert (tmp_path / "asked").read_text() == "%s -h -j 7 -o %e\n"


@pytest.mark.parametrize("body", ["exit 1", "echo N/A", "echo 2026-11-26T04:22:49", ":", "echo -5"])
def test_without_an_answer_from_squeue_the_job_uses_its_own_variable(
    body: str, spec: JobSpec, tmp_path: Path, program: AddProgram
) -> None:
    """Slurm sets it to the end that the job had when it started."""
    program("squeue", body)
    text = script(spec, tmp_path / "state", signal_after=LATER)

    assert run(text, tmp_path, SLURM_JOB_END_TIME=END) == [END]


def test_without_any_source_the_end_is_a_quarter_of_an_hour_away(
    spec: JobSpec, tmp_path: Path, program: AddProgram
) -> None:
    """Slurm sends the signal that long before the end."""
    program("squeue", "exit 1")

    (shown,) = run(script(spec, tmp_path / "state", signal_after=LATER), tmp_path)

    assert abs(int(shown) - time.time() - 900) < 60


def test_a_local_job_gets_its_end_as_second_argument(spec: JobSpec, tmp_path: Path) -> None:
    """It needs no signal."""
    assert run(script(spec, tmp_path / "state"), tmp_path, "local-7", END) == [END]


def test_no_process_waiting_for_the_end_outlives_the_job(
    spec: JobSpec, tmp_path: Path, program: AddProgram
) -> None:
    """The script sleeps until the last minutes, and the sleep ends with it."""
    program("squeue", "date -d '1 hour' +%s")

    run(script(spec, tmp_path / "state", signal_after=LATER), tmp_path)

    left = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"HOME={tmp_path}\0".encode() in path.read_bytes():
                left.append(path)
        except OSError:
            continue
    assert left == []


WATCHED = (
    "slurm_nb_run_dir={folder}; touch {folder}/python-started;"
    " trap 'cat {folder}/end-time; kill -KILL $slurm_nb_clock; exit 0' EXIT 2>/dev/null;"
    " sleep 1 & slurm_nb_wait_for $!"
)


def watched(folder: Path) -> str:
    """Return the end time that the kit finds while the job script waits for Jupyter."""
    return bash(WATCHED.format(folder=folder), folder=folder).stdout


def test_the_page_knows_the_end_from_the_start(tmp_path: Path, program: AddProgram) -> None:
    """The script queries Slurm once when Jupyter starts, without a signal."""
    program("squeue", f'echo "$SLURM_TIME_FORMAT $*" >>{tmp_path}/asked; date -d "1 day" +%s')

    assert int(watched(tmp_path)) > time.time() + 80000
    assert (tmp_path / "asked").read_text() == "%s -h -j 7 -o %e\n"


@pytest.mark.parametrize("body", ["exit 1", "echo N/A", "echo NONE"])
def test_a_job_without_a_limit_has_no_end(body: str, tmp_path: Path, program: AddProgram) -> None:
    """The script invents none before Slurm signals it."""
    program("squeue", body)

    assert watched(tmp_path) == ""


@pytest.mark.parametrize("change", ["chmod 777 $slurm_nb_run_dir", "other"])
def test_nothing_is_written_into_a_directory_of_another_user(tmp_path: Path, change: str) -> None:
    """They could put a link to one of your files there, after the job's own one was removed."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (folder / "end-time.new").symlink_to(victim)
    if change == "other":
        if os.geteuid() != 0:
            pytest.skip("only root can change the owner")
        os.chown(folder, 12345, 12345)
        change = ":"

    bash(f"{change}; slurm_nb_put_end 5", slurm_nb_run_dir=str(folder), check=False)

    assert victim.read_text() == "precious"
    assert not (folder / "end-time").exists()
