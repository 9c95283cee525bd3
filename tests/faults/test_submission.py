"""Faults during a submission: it leaves no job or one that is found, and never a second one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from tests.e2e.scientist import SSH_CONNECTION, Said, Scientist
from tests.e2e.test_refusals import LOST_ANSWER, PAUSED_SBATCH
from tests.e2e.watched import await_that
from tests.faults.breakage import impatient, kill, mounted, rebooted

STEPPER = Path(__file__).with_name("stepper.py").read_text(encoding="utf-8")
NO_SQUEUE = """#!/bin/bash
echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2
exit 1
"""
# The job is submitted; then it tells so, and waits with the answer.
LATE_SBATCH = """#!/bin/bash
answer=$(/usr/bin/sbatch "$@")
touch "$HOME/bin/called"
read -r < "$HOME/bin/go"
echo "$answer"
"""
# The disk gets full between the answer and what slurm-nb saves.
FILLING_SBATCH = """#!/bin/bash
/usr/bin/sbatch "$@"
# slurm-nb removes its file with the answer, which would make room.
ln "$(readlink "/proc/$$/fd/1")" "$HOME/small/answer"
head -c 1M /dev/zero > "$HOME/small/filler" 2>/dev/null
exit 0
"""
# Waits until as many are there as come together.
MEETING_SBATCH = """#!/bin/bash
touch "$HOME/bin/called-$$"
until [ -e "$HOME/bin/go" ]; do sleep 0.02; done
exec /usr/bin/sbatch "$@"
"""
STARTED = "after subprocess.Popen 'bash'"
CUT_OFF = "was interrupted and may have created a job"


def test_a_kill_at_any_step_of_submit_leaves_no_job_or_one_that_is_listed(
    alice: Scientist,
) -> None:
    """SIGKILL at any step of submit: list shows every job, and cancel --all ends them."""
    reached_sbatch = _step_through(alice, "-p", "closed")
    await_that(lambda: not alice.processes("login"), "the sbatches that were left have ended")

    said, listed = _list(alice)
    scripts = alice.squeue("%o")
    assert said.exit_code == 0
    assert sorted(listed) == sorted(alice.squeue("%i"))
    assert {each["state"] for each in listed.values()} == {"PENDING"}
    assert len(set(scripts)) == len(scripts) == reached_sbatch
    notes = list((alice.state / "submitting").glob("*.json"))
    assert said.stderr.count(CUT_OFF) == len(notes) > 0

    cancelled = alice.slurm_nb("cancel", "--all")
    assert cancelled.exit_code == 0
    assert alice.squeue("%i") == []

    _age(alice)
    assert CUT_OFF not in _list(alice)[0].stderr
    assert list((alice.state / "submitting").iterdir()) == []
    assert [path.name for path in (alice.state / "jobs").glob(".*")] == []


def test_a_kill_at_any_step_of_a_local_submit_leaves_nothing_that_is_not_listed(
    alice: Scientist,
) -> None:
    """SIGKILL at any step, --local: list shows what runs, cancel --all ends it all."""
    reached_start = _step_through(alice, "--local", "--setup", "sleep 600 & wait")

    said, listed = _list(alice)
    assert said.exit_code == 0
    running = [job_id for job_id, each in listed.items() if each["state"] == "RUNNING"]
    started = set(re.findall(r"_submission\.sh (local-\d+)", alice.processes("login")))
    assert len(started) == reached_start
    assert set(running) == started

    cancelled = alice.slurm_nb("cancel", "--all")
    assert cancelled.exit_code == 0
    await_that(lambda: not alice.processes("login"), "all that was started has ended", 5)
    assert {each["state"] for each in _list(alice)[1].values()} == {"ENDED"}


def test_sbatch_finishes_after_slurm_nb_is_killed(alice: Scientist) -> None:
    """slurm-nb is killed while sbatch works: list says that a job may come, then shows it."""
    with _paused(alice, PAUSED_SBATCH) as waiting:
        waiting.kill()
        waiting.wait(20)
        early, nothing = _list(alice)
    await_that(lambda: alice.squeue("%i"), "sbatch, let go, has submitted")
    late, listed = _list(alice)

    assert (early.exit_code, nothing) == (0, {})
    assert CUT_OFF in early.stderr
    assert late.stderr == ""
    assert list(listed) == alice.squeue("%i")
    (job_id,) = listed
    assert alice.slurm_nb("cancel", job_id).stderr == f"Cancelled job {job_id}.\n"
    assert alice.squeue("%i") == []


def test_a_lost_answer_and_a_dead_squeue_are_reported_and_repaired_later(alice: Scientist) -> None:
    """sbatch's answer is lost, squeue fails: exit 3 says how to check; list shows the job later."""
    alice.program("squeue", NO_SQUEUE)

    said = alice.slurm_nb("submit", "-p", "closed", env=alice.program("sbatch", LOST_ANSWER))
    _, listed = _list(alice)

    assert said.exit_code == 3
    assert "Socket timed out" in said.stderr
    assert "squeue --me -o '%i %o'" in said.stderr
    assert "Before you try again" in said.stderr
    assert list(listed) == alice.squeue("%i")
    assert len(listed) == 1


def test_a_login_node_that_reboots_before_sbatch_got_through_leaves_no_job(
    alice: Scientist,
) -> None:
    """All processes on login die before sbatch reaches Slurm: no job; list says so in the end."""
    with _paused(alice, PAUSED_SBATCH), rebooted(alice.cluster.login):
        assert kill(alice) > 1
        early, _ = _list(alice)
        _age(alice)
        late, listed = _list(alice)

    assert (early.exit_code, late.exit_code) == (0, 0)
    assert CUT_OFF in early.stderr
    assert "You have no sessions" not in early.stdout
    assert listed == {}
    assert alice.squeue("%i") == []
    assert list((alice.state / "jobs").iterdir()) == []


def test_a_login_node_that_reboots_before_the_answer_came_leaves_a_session(
    alice: Scientist,
) -> None:
    """All processes on login die while sbatch holds the answer: list and cancel have the job."""
    with _paused(alice, LATE_SBATCH), rebooted(alice.cluster.login):
        assert kill(alice) > 1
        said, listed = _list(alice)

    assert (said.exit_code, said.stderr) == (0, "")
    assert list(listed) == alice.squeue("%i")
    assert alice.slurm_nb("cancel", *listed).exit_code == 0
    assert alice.squeue("%i") == []


def test_a_full_disk_is_reported_before_anything_is_submitted(alice: Scientist) -> None:
    """There is no room for the session: one line with the path and exit 1; no job."""
    with _small_disk(alice) as env:
        alice.cluster.login.run(["dd", "if=/dev/zero", "of=/home/alice/small/filler"], check=False)
        said = alice.slurm_nb("submit", "-p", "closed", env=env)

    assert said.exit_code == 1
    assert "full, or you have reached your quota" in said.stderr
    assert "/home/alice/small" in said.stderr
    assert "Traceback" not in said.stderr
    assert alice.squeue("%i") == []


def test_a_disk_that_gets_full_before_the_session_is_saved_loses_no_job(alice: Scientist) -> None:
    """No room after sbatch's answer: exit 1, the scancel line; list has the job given room."""
    env = alice.program("sbatch", FILLING_SBATCH)
    with _small_disk(alice) as home:
        said = alice.slurm_nb("submit", "-p", "closed", env={**env, **home})
        full, _ = _list(alice, env=home)
        (alice.home / "small/filler").unlink()
        _, listed = _list(alice, env=home)

    (job_id,) = alice.squeue("%i")
    assert said.exit_code == 1
    assert f"job {job_id} was submitted, but its session was not saved" in said.stderr
    assert f"scancel {job_id}" in said.stderr
    assert "slurm-nb list" in said.stderr
    assert "Traceback" not in full.stderr
    assert list(listed) == [job_id]


def test_a_full_tmp_does_not_matter(alice: Scientist) -> None:
    """/tmp of the login node is full: slurm-nb does not use it; exit 0."""
    login = alice.cluster.login
    with mounted(login, "/tmp", "-t", "tmpfs", "-o", "size=64k,mode=1777", "none"):
        login.run(["dd", "if=/dev/zero", "of=/tmp/filler"], check=False)
        said = alice.slurm_nb("submit", "-p", "closed", "--no-wait")

    (job_id,) = alice.squeue("%i")
    assert said.exit_code == 0
    assert f"Submitted job {job_id}." in said.stderr
    assert list(_list(alice)[1]) == [job_id]


def test_a_controller_that_restarts_during_submit_gets_one_job(alice: Scientist) -> None:
    """Slurmctld ends before sbatch reaches it and comes back: exit 0, one job, its session."""
    with _paused(alice, PAUSED_SBATCH) as waiting:
        alice.cluster.stop_slurmctld()
        try:
            _let_go(alice)
            await_that(lambda: "/usr/bin/sbatch" in alice.processes("login"), "sbatch tries")
        finally:
            alice.cluster.start_slurmctld()
        _, errors = waiting.communicate(timeout=60)

    (job_id,) = alice.squeue("%i")
    assert waiting.returncode == 0, errors
    assert f"Submitted job {job_id}." in errors
    assert list(_list(alice)[1]) == [job_id]


def test_a_controller_that_hangs_during_submit_gets_one_job(alice: Scientist) -> None:
    """slurmctld hangs until sbatch gives up: slurm-nb says that it checks, and finds the job."""
    with _paused(alice, PAUSED_SBATCH, env=impatient(alice)) as waiting:
        alice.cluster.freeze_slurmctld()
        try:
            _let_go(alice)
            assert waiting.stderr is not None
            doubt = waiting.stderr.readline()
        finally:
            alice.cluster.thaw_slurmctld()
        _, errors = waiting.communicate(timeout=60)

    (job_id,) = alice.squeue("%i")
    assert "Socket timed out" in doubt
    assert "checking whether the job exists" in doubt
    assert waiting.returncode == 0
    assert f"Submitted job {job_id}." in errors
    assert list(_list(alice)[1]) == [job_id]


def test_two_submissions_at_the_same_moment_are_two_sessions(alice: Scientist) -> None:
    """Two terminals submit at the same moment: each prints its own job, list shows both."""
    env = {**SSH_CONNECTION, **alice.program("sbatch", MEETING_SBATCH)}
    words = ["slurm-nb", "submit", "-p", "closed", "--no-wait"]
    both = [alice.cluster.login.popen(words, user="alice", env=env) for _ in range(2)]
    await_that(lambda: len(list((alice.home / "bin").glob("called-*"))) == 2, "both are there")
    (alice.home / "bin/go").touch()
    told = [each.communicate(timeout=60)[1] for each in both]

    assert [each.returncode for each in both] == [0, 0]
    job_ids = [re.findall(r"Submitted job (\d+)", text) for text in told]
    assert sorted(job_ids) == sorted([job_id] for job_id in alice.squeue("%i"))
    assert sorted(_list(alice)[1]) == sorted(alice.squeue("%i"))


def test_a_read_only_state_directory_is_reported_and_hides_no_session(alice: Scientist) -> None:
    """The home is mounted read-only: submit ends with 1 and the path; list and cancel work."""
    job_id = _submit(alice)
    state = f"{alice.user.home}/.local/state/slurm-nb"
    with mounted(alice.cluster.login, state, "--bind", state):
        alice.cluster.login.run(["mount", "-o", "remount,bind,ro", state])
        said = alice.slurm_nb("submit", "-p", "closed", "--no-wait")
        listed = _list(alice)
        status = alice.slurm_nb("status", job_id)
        cancelled = alice.slurm_nb("cancel", job_id)

    assert said.exit_code == 1
    assert "Read-only file system" in said.stderr
    assert state in said.stderr
    assert listed[0].exit_code == status.exit_code == 0
    assert list(listed[1]) == [job_id]
    assert (cancelled.exit_code, cancelled.stderr) == (0, f"Cancelled job {job_id}.\n")
    assert alice.squeue("%i") == []


def test_a_state_directory_that_is_not_a_directory_is_reported(alice: Scientist) -> None:
    """SLURM_NB_HOME is a file, or below a forbidden directory: exit 1 and the path; no job."""
    file = alice.home / "bin"
    file.write_text("")
    for home, problem in (("/home/alice/bin", "File exists"), ("/usr/x", "Permission denied")):
        said = alice.slurm_nb("submit", "-p", "closed", env={"SLURM_NB_HOME": home})
        assert said.exit_code == 1
        assert home in said.stderr
        assert problem in said.stderr
        assert "SLURM_NB_HOME" in said.stderr
    assert alice.squeue("%i") == []


def _step_through(alice: Scientist, *words: str) -> int:
    """Run `submit --no-wait` again and again, each killed a step later, until one completes.

    Return how many of them came as far as to start sbatch, or the job.
    """
    alice.slurm_nb(
        "submit", "--dry-run"
    )  # writes the kit, which tests/job/test_kit.py steps through
    steps = count(1)
    killed_at: dict[int, str] = {}
    ended: list[int] = []

    def go_on() -> None:
        while not ended:
            step = next(steps)
            done = alice.cluster.login.run(
                ["/srv/venv/bin/python", "-", str(step), "submit", "--no-wait", *words],
                user="alice",
                env=SSH_CONNECTION,
                stdin_text=STEPPER,
                check=False,
                timeout_s=60,
            )
            if done.returncode == -signal.SIGKILL:
                (where,) = re.findall(rf"^step {step}: (.*)$", done.stderr, re.MULTILINE)
                killed_at[step] = where
            else:
                assert (done.returncode, done.stderr.count("Submitted job")) == (0, 1), done
                ended.append(step)

    with ThreadPoolExecutor() as pool:
        for each in [pool.submit(go_on) for _ in range(4)]:
            each.result()
    runs = len(killed_at) + len(ended)
    assert sorted([*killed_at, *ended]) == list(range(1, runs + 1))
    (started,) = [step for step, where in killed_at.items() if where == STARTED]
    return runs - started + 1


@contextmanager
def _paused(
    alice: Scientist, sbatch: str, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start a submit whose sbatch waits until the test, or the end of the block, releases it."""
    env = {**SSH_CONNECTION, **alice.program("sbatch", sbatch), **(env or {})}
    os.mkfifo(alice.home / "bin/go", 0o666)
    words = ["slurm-nb", "submit", "-p", "closed", "--no-wait"]
    with alice.cluster.login.popen(words, user="alice", env=env) as waiting:
        try:
            await_that((alice.home / "bin/called").exists, "sbatch is called")
            yield waiting
        finally:
            _let_go(alice)
            waiting.kill()


def _let_go(alice: Scientist) -> None:
    with suppress(OSError):  # nobody waits any more
        handle = os.open(alice.home / "bin/go", os.O_WRONLY | os.O_NONBLOCK)
        os.write(handle, b"\n")
        os.close(handle)


@contextmanager
def _small_disk(alice: Scientist) -> Iterator[dict[str, str]]:
    """Mount a file system of 512 KiB for the sessions; yield the environment that uses it."""
    folder, uid = alice.home / "small", alice.user.uid
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size=512k,mode=700,uid={uid},gid={uid}", "small"]
    with mounted(alice.cluster.login, f"{alice.user.home}/small", *options):
        yield {"SLURM_NB_HOME": f"{alice.user.home}/small"}
    folder.rmdir()


def _submit(alice: Scientist) -> str:
    said = alice.slurm_nb("submit", "-p", "closed", "--no-wait", "--json")
    assert said.exit_code == 0, said
    return str(json.loads(said.stdout)["job_id"])


def _list(alice: Scientist, env: dict[str, str] | None = None) -> tuple[Said, dict[str, Any]]:
    """Return the result of `list --json`, and its sessions by job id."""
    said = alice.slurm_nb("list", "--json", env=env)
    sessions = json.loads(said.stdout)["sessions"] if said.exit_code == 0 else []
    return said, {each["job_id"]: each for each in sessions}


def _age(alice: Scientist) -> None:
    """Set back interrupted submissions, and their files, by an hour."""
    long_ago = time.time() - 3600
    for path in (alice.state / "submitting").iterdir():
        if path.suffix == ".json":
            record = json.loads(path.read_text())
            path.write_text(json.dumps({**record, "began_at": long_ago}))
    for path in [*(alice.state / "submitting").iterdir(), *(alice.state / "jobs").iterdir()]:
        os.utime(path, (long_ago, long_ago), follow_symlinks=False)
