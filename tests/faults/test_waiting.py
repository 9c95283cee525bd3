"""Faults while slurm-nb waits for a session: the wait continues, and its messages explain it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

import pytest

from tests.cluster import Cluster
from tests.e2e.scientist import SSH_CONNECTION, Said, Scientist
from tests.e2e.watched import await_that, read_until
from tests.faults.breakage import impatient, kill, mounted

# Jupyter starts once the file exists.
HELD_BACK = "until [ -e ~/bin/go ]; do sleep 0.05; done"
COUNTED_SQUEUE = """#!/bin/bash
echo "$*" >> "$HOME/bin/asked"
exec /usr/bin/squeue "$@"
"""
# Says last how much memory slurm-nb had at most, in KiB (getrusage(2), ru_maxrss).
MEASURED = """
import resource, subprocess, sys
code = subprocess.call(["slurm-nb", *sys.argv[1:]])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
sys.exit(code)
"""
# An open page sends its token and its cookie; the new URL was opened in the same browser.
OLD_PAGE = """
import http.cookiejar, sys, urllib.error, urllib.request
base, old, new = sys.argv[1:]

def ask(path, opener, **headers):
    try:
        return opener.open(urllib.request.Request(base + path, headers=headers)).status
    except urllib.error.HTTPError as error:
        return error.code

bare, browser = urllib.request.build_opener(), urllib.request.build_opener(
    urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
)
print(ask("/api/status", bare, Authorization="token " + old))
print(ask("/tree?token=" + new, browser))
print(ask("/api/status", browser, Authorization="token " + old))
"""
# Processor time, which other tests running at the same time do not lengthen.
LITTLE_WORK_S = 5
PATIENCE_S = 45
MUCH_KIB = 120_000


@dataclass(frozen=True)
class Lasting:
    """A session that is ready, for more than one test."""

    alice: Scientist
    job_id: str
    command: str

    @property
    def log(self) -> Path:
        return self.alice.state / f"jobs/{self.job_id}_0_log.out"

    @contextmanager
    def disturbed(self) -> Iterator[str]:
        """Yield its output as it is, and undo the changes of the block."""
        text = self.log.read_text()
        try:
            yield text
        finally:
            with self.log.open("w") as file:
                os.fchown(file.fileno(), self.alice.user.uid, self.alice.user.uid)
                os.fchmod(file.fileno(), 0o600)
                file.write(text)

    @contextmanager
    def hidden(self) -> Iterator[Path]:
        """Hide the output from the login node; yield the path where it would be."""
        folder = f"{self.alice.user.home}/.local/state/slurm-nb/jobs"
        options = ["-t", "tmpfs", "-o", f"mode=700,uid={self.alice.user.uid}", "late"]
        with mounted(self.alice.cluster.login, folder, *options):
            yield self.log

    @contextmanager
    def awaited(self) -> Iterator[subprocess.Popen[str]]:
        """Start `slurm-nb wait` on it and return once it waits."""
        with _started(self.alice, "wait", self.job_id) as waiting:
            _read_to(waiting, "RUNNING")
            yield waiting


@pytest.fixture(scope="module")
def lasting(cluster: Cluster) -> Iterator[Lasting]:
    """Its tests run before the others, because tests with their own session end all jobs."""
    alice = Scientist(cluster)
    record = alice.submit()
    yield Lasting(alice, record["job_id"], record["tunnel_command"])
    alice.clean_up()


def test_an_output_that_appears_late_is_waited_for(lasting: Lasting) -> None:
    """The login node sees no output of a running job: wait continues until it appears; exit 0."""
    with ExitStack() as stack:
        with lasting.hidden():
            waiting = stack.enter_context(lasting.awaited())
            missing = lasting.alice.slurm_nb("logs", lasting.job_id)
            assert waiting.poll() is None
        said = _end_of(waiting)

    assert missing.exit_code == 5
    assert "has no output yet" in missing.stderr
    assert said.exit_code == 0
    assert lasting.command in said.stdout


def test_half_a_ready_line_is_not_used(lasting: Lasting) -> None:
    """The login node sees the ready line truncated in its middle: nothing is printed of it."""
    text = lasting.log.read_text()
    middle = text.index("slurm-nb ready: ") + 60
    with lasting.hidden() as log, lasting.awaited() as waiting:
        _write(lasting, log, text[:middle])
        assert (
            lasting.alice.slurm_nb("status", lasting.job_id).stdout.count(
                "starting; to wait for it"
            )
            == 1
        )
        assert waiting.poll() is None
        _write(lasting, log, text)
        said = _end_of(waiting)

    assert said.exit_code == 0
    assert lasting.command in said.stdout


def test_an_output_that_is_truncated_is_read_again(lasting: Lasting) -> None:
    """The output is emptied while wait reads it, and comes again: wait prints the connection. If
    the output is empty, status says the same as tunnel-cmd, which uses the saved connection.
    """
    text = lasting.log.read_text()
    with lasting.hidden() as log, lasting.awaited() as waiting:
        _write(lasting, log, text[: text.index("slurm-nb ready: ")])
        assert (
            lasting.alice.slurm_nb("status", lasting.job_id).stdout.count(
                "starting; to wait for it"
            )
            == 1
        )
        _write(lasting, log, "")
        said = lasting.alice.slurm_nb("status", lasting.job_id)
        assert f"ready; to connect: slurm-nb tunnel-cmd {lasting.job_id}" in said.stdout
        assert waiting.poll() is None
        _write(lasting, log, text)
        said = _end_of(waiting)

    assert said.exit_code == 0
    assert lasting.command in said.stdout


def test_deleting_the_output_does_not_lose_the_connection(lasting: Lasting) -> None:
    """The output of a ready session is gone: tunnel-cmd prints the saved connection."""
    with lasting.disturbed():
        lasting.log.unlink()
        said = lasting.alice.slurm_nb("tunnel-cmd", lasting.job_id)
        logs = lasting.alice.slurm_nb("logs", lasting.job_id)

    assert (said.exit_code, said.stdout) == (0, f"{lasting.command}\n")
    assert logs.exit_code == 5
    assert f"{lasting.job_id}_0_log.out" in logs.stderr


@pytest.mark.parametrize("kind", ["a gibibyte of nothing", "a million lines"])
def test_an_output_of_any_size_costs_little(lasting: Lasting, kind: str) -> None:
    """For a huge output status, logs -n, tunnel-cmd and wait do little work in little memory."""
    with lasting.disturbed() as text:
        if kind == "a gibibyte of nothing":
            os.truncate(lasting.log, 1 << 30)
        else:
            lines = "".join(
                f"a line that somebody's cell prints, number {n}\n" for n in range(10**6)
            )
            lasting.log.write_text(lines + text)
        for words in (["status"], ["logs", "-n", "5"], ["tunnel-cmd"], ["wait"]):
            said, work_s, peak_kib = _measured(lasting.alice, *words, lasting.job_id)
            assert said.exit_code == 0, said
            assert work_s < LITTLE_WORK_S, (words, work_s)
            assert peak_kib < MUCH_KIB, (words, peak_kib)
            assert len(said.stdout) < 2_000_000
            if words[0] in {"tunnel-cmd", "wait"}:
                assert lasting.command in said.stdout


def test_a_wait_outlives_a_controller_that_is_away(alice: Scientist) -> None:
    """slurmctld stops and starts while submit waits: it says so, continues, and ends with 0."""
    with _started(alice, "submit", "--", "--hold", env=impatient(alice)) as waiting:
        job_id = _submitted(waiting)
        _read_to(waiting, "PENDING")
        alice.cluster.stop_slurmctld()
        try:
            doubt = _read_to(waiting, "UNKNOWN")
        finally:
            alice.cluster.start_slurmctld()
        alice.cluster.login.run(["scontrol", "release", job_id])
        said = _end_of(waiting)

    assert f"job {job_id}: UNKNOWN" in doubt
    assert "Unable to contact slurm controller" in doubt
    assert said.exit_code == 0
    assert f"(job {job_id})." in said.stdout


def test_a_frozen_controller_does_not_delay_the_connection(alice: Scientist) -> None:
    """slurmctld hangs when Jupyter gets ready: the connection is printed, its end is unknown."""
    with _started(alice, "submit", "--setup", HELD_BACK, env=impatient(alice)) as waiting:
        job_id = _submitted(waiting)
        await_that(lambda: "slurm-nb started: " in _log(alice, job_id), "the job has started")
        alice.cluster.freeze_slurmctld()
        try:
            (alice.home / "bin/go").touch()
            said = _end_of(waiting)
        finally:
            alice.cluster.thaw_slurmctld()

    assert said.exit_code == 0
    assert f"Jupyter is running on c1 (job {job_id})." in said.stdout
    assert "Ends:        unknown, because Slurm does not respond" in said.stdout
    assert alice.squeue("%i %T") == [f"{job_id} RUNNING"]


def test_a_job_that_another_terminal_cancels_ends_the_wait(alice: Scientist) -> None:
    """The job is cancelled in another terminal: wait ends with 4, cause and cure; no job stays."""
    job_id = _submit(alice, "-p", "closed")
    with _started(alice, "wait", job_id) as waiting:
        cancelled = alice.slurm_nb("cancel", job_id)
        said = _end_of(waiting)

    assert cancelled.exit_code == 0
    assert said.exit_code == 4
    assert "CANCELLED" in said.stderr
    assert f"slurm-nb submit --again {job_id}" in said.stderr
    assert alice.squeue("%i") == []


def test_the_wait_can_be_resumed_however_a_waiting_submit_ended(alice: Scientist) -> None:
    """SIGTERM, a closed terminal, SIGKILL, SIGSTOP: the job lives; wait prints the connection."""
    with _started(alice, "submit", "--", "--hold") as waiting:
        job_id = _submitted(waiting)
        _read_to(waiting, "PENDING")
        waiting.terminate()
        terminated = _end_of(waiting)
    terminal = alice.cluster.login.open_terminal(
        ["slurm-nb", "wait", job_id], user="alice", env=SSH_CONNECTION
    )
    read_until(terminal, "PENDING")
    os.close(terminal.master)
    hung_up = terminal.process.wait(20)
    with _started(alice, "wait", job_id) as waiting:
        _read_to(waiting, "PENDING")
        waiting.kill()
        waiting.wait(20)
    with _started(alice, "wait", job_id) as waiting:
        _read_to(waiting, "PENDING")
        assert kill(alice, "slurm-nb wait", signal="STOP") == 1
        alice.cluster.login.run(["scontrol", "release", job_id])
        await_that(lambda: "slurm-nb ready: " in _log(alice, job_id), "Jupyter is ready")
        assert waiting.poll() is None
        kill(alice, "slurm-nb wait", signal="CONT")
        said = _end_of(waiting)

    assert (terminated.exit_code, hung_up) == (143, 129)
    assert f"Job {job_id} keeps running." in terminated.stderr
    assert f"slurm-nb wait {job_id}" in terminated.stderr
    assert said.exit_code == 0
    assert f"Jupyter is running on c1 (job {job_id})." in said.stdout
    assert alice.squeue("%i %T") == [f"{job_id} RUNNING"]


def test_a_requeued_job_is_followed_to_its_new_node(alice: Scientist) -> None:
    """The job is requeued before and after it is ready: submit and wait note it, and print the new
    connection.
    """
    with _started(alice, "submit", "-w", "c1", "--setup", HELD_BACK, "--json") as waiting:
        job_id = _submitted(waiting)
        await_that(lambda: "slurm-nb started: " in _log(alice, job_id), "the job has started")
        _read_to(waiting, "RUNNING")
        alice.cluster.login.run(["scontrol", "requeue", job_id])
        note = _read_to(waiting, "was requeued and will start again")
        (alice.home / "bin").mkdir(exist_ok=True)
        (alice.home / "bin/go").touch()
        _release_to(alice, job_id, "c2")
        first = json.loads(_end_of(waiting).stdout)
    old_token = alice.token(job_id)

    alice.cluster.login.run(["scontrol", "requeue", job_id])
    await_that(lambda: alice.squeue("%T") == ["PENDING"], "it is back in the queue")
    status = alice.slurm_nb("status", job_id)
    tunnel = alice.slurm_nb("tunnel-cmd", job_id)
    _release_to(alice, job_id, "c1")
    second = json.loads(alice.slurm_nb("wait", job_id, "--json").stdout)
    again = alice.slurm_nb("tunnel-cmd", job_id)

    assert f"job {job_id} was requeued and will start again" in note
    assert (first["node"], second["node"]) == ("c2", "c1")
    assert second["local_port"] == first["local_port"]
    assert status.exit_code == 0
    assert "PENDING (BeginTime)" in status.stdout
    assert (tunnel.exit_code, tunnel.stdout) == (5, "")
    assert f"slurm-nb wait {job_id}" in tunnel.stderr
    assert again.stdout == f"{second['tunnel_command']}\n"
    # The token is new on purpose: what an open page sent meanwhile opens nothing.
    node, token = alice.cluster.hosts["c1"], alice.token(job_id)
    base = f"http://127.0.0.1:{second['port']}"
    asked = node.run(["python3", "-c", OLD_PAGE, base, old_token, token], user="alice")
    assert token != old_token
    assert asked.stdout.split() == ["403", "200", "200"]


def test_a_followed_output_may_shrink_and_ends_with_the_job(alice: Scientist) -> None:
    """The output is emptied while logs -f follows it: new lines are shown until the job ends."""
    job_id = _submit(alice, "--setup", "echo one of these; sleep 600 & wait")
    with _started(alice, "logs", "-f", job_id) as following:
        assert following.stdout is not None
        while "one of these" not in following.stdout.readline():
            assert following.poll() is None
        with (alice.state / f"jobs/{job_id}_0_log.out").open("w") as log:
            log.write("another\n")
        assert following.stdout.readline() == "another\n"
        cancelled = alice.slurm_nb("cancel", job_id)
        said = _end_of(following)

    assert cancelled.exit_code == 0
    assert said.exit_code == 0
    assert "slurm-nb: Jupyter ended" in said.stdout


def test_ten_terminals_query_slurm_no_more_often_than_one(alice: Scientist) -> None:
    """Ten terminals wait for one job, and query Slurm as often as one does; each ends with 5."""
    env = alice.program("squeue", COUNTED_SQUEUE)
    job_id = _submit(alice, "-p", "closed")
    words = ["slurm-nb", "wait", job_id, "--wait-timeout", "12"]
    env = {**SSH_CONNECTION, **env}
    ten = [alice.cluster.login.popen(words, user="alice", env=env) for _ in range(10)]
    said = [_end_of(each) for each in ten]

    asked = (alice.home / "bin/asked").read_text().splitlines()
    assert [each.exit_code for each in said] == [5] * 10
    assert all("PENDING (PartitionDown)" in each.stderr for each in said)
    assert len(asked) <= 4, asked
    assert alice.squeue("%i") == [job_id]


@contextmanager
def _started(
    alice: Scientist, *words: str, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start slurm-nb on the login node and end it with the block."""
    env = {**SSH_CONNECTION, **(env or {})}
    with alice.cluster.login.popen(["slurm-nb", *words], user="alice", env=env) as running:
        try:
            yield running
        finally:
            running.kill()


def _read_to(running: subprocess.Popen[str], text: str) -> str:
    """Return its stderr up to a line that contains `text`."""
    assert running.stderr is not None
    said = ""
    patience = Timer(PATIENCE_S, running.kill)
    patience.start()
    while text not in said:
        line = running.stderr.readline()
        assert line, f"ended without {text!r}:\n{said}"
        said += line
    patience.cancel()
    return said


def _submitted(running: subprocess.Popen[str]) -> str:
    """Return the job id that a submit prints."""
    return _read_to(running, "Submitted job").split("Submitted job ")[1].split(".")[0]


def _end_of(running: subprocess.Popen[str]) -> Said:
    """Return the rest of its output, and how it ended."""
    output, errors = running.communicate(timeout=60)
    return Said(running.returncode, output, errors)


def _submit(alice: Scientist, *words: str) -> str:
    said = alice.slurm_nb("submit", "--no-wait", "--json", *words)
    assert said.exit_code == 0, said
    return str(json.loads(said.stdout)["job_id"])


def _release_to(alice: Scientist, job_id: str, node: str) -> None:
    """Start a requeued job on a node now; by itself it would pend for two minutes."""
    change = ["scontrol", "update", f"jobid={job_id}", f"ReqNodeList={node}", "StartTime=now"]
    login = alice.cluster.login
    await_that(lambda: login.run(change, check=False).returncode == 0, "the job can be changed")


def _measured(alice: Scientist, *words: str) -> tuple[Said, float, int]:
    """Run a command; return its output, its seconds on a processor and its peak memory in KiB."""
    done = alice.cluster.login.run(
        ["/srv/venv/bin/python", "-c", MEASURED, *words],
        user="alice",
        env=SSH_CONNECTION,
        check=False,
        timeout_s=PATIENCE_S,
    )
    errors, _, used = done.stderr.rstrip().rpartition("\n")
    work_s, peak_kib = used.split()
    return Said(done.returncode, done.stdout, errors), float(work_s), int(peak_kib)


def _log(alice: Scientist, job_id: str) -> str:
    path = alice.state / f"jobs/{job_id}_0_log.out"
    return path.read_text() if path.exists() else ""


def _write(lasting: Lasting, log: Path, text: str) -> None:
    """Show this part of the output to the login node."""
    log.write_text(text)
    os.chown(log, lasting.alice.user.uid, lasting.alice.user.uid)
