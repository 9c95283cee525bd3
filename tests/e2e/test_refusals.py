"""Errors on a real cluster: the messages to the user, and the state afterwards."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

from tests.cluster import REFUSED_ACCOUNT, Terminal
from tests.e2e.scientist import SSH_CONNECTION, Scientist
from tests.e2e.watched import await_that, read_until
from tests.faults.breakage import impatient

# Tells that it was called, waits to be let go, and is sbatch.
PAUSED_SBATCH = """#!/bin/bash
touch "$HOME/bin/called"
read -r < "$HOME/bin/go"
exec /usr/bin/sbatch "$@"
"""
# The job is accepted, and the answer lost: as a hung controller was seen to do.
LOST_ANSWER = """#!/bin/bash
/usr/bin/sbatch "$@" > /dev/null
echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2
exit 1
"""


def test_jupyter_missing_in_the_environment_is_reported_at_once(alice: Scientist) -> None:
    """A --python without Jupyter ends with 4, Slurm's state, what is missing, and the cure. This
    host does not know whether --setup brings one, so it says so and submits.
    """
    words = ["--python", "/usr/bin/python3", "--setup", "true"]
    said = alice.slurm_nb("submit", *words, timeout_s=30)

    assert said.exit_code == 4
    assert "FAILED (NonZeroExitCode)" in said.stderr
    before, _, after = said.stderr.partition("Submitted job")
    assert "jupyter_server 2.0 or later" in before
    assert "as seen from this host" in before
    assert "/usr/bin/python3 on c" in after
    assert "it does not have jupyter_server 2.0 or later" in after
    assert "--env" in after


def test_an_account_that_slurm_refuses_leaves_no_job_and_no_session(alice: Scientist) -> None:
    """The error shows sbatch's message, once, with exit code 3."""
    said = alice.slurm_nb("submit", "-A", REFUSED_ACCOUNT)

    assert said.exit_code == 3
    assert said.stderr.count(f"account {REFUSED_ACCOUNT} does not exist here") == 1
    assert alice.squeue("%i") == []
    assert list(alice.state.glob("sessions/*/*")) == list((alice.state / "jobs").iterdir()) == []


RETRIES = """#!/bin/bash
echo "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying" >&2
sleep 4
printf 'sbatch: error: %s\\n' 'the queue is full' 'see https://hpc.edu/queue' 'or ask us' >&2
exit 1
"""


def test_sbatchs_retries_are_shown_while_slurm_takes_no_jobs(alice: Scientist) -> None:
    """MaxJobCount is reached (seen in sbatch's message): the user does not wait before a silent
    terminal, the site's lines stay lines, and no note of a submission remains.
    """
    env = alice.program("sbatch", RETRIES)

    said = alice.slurm_nb("submit", env=env)

    lines = said.stderr.splitlines()
    retrying = "Note: sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying"
    assert said.exit_code == 3
    assert lines[0] == retrying
    assert "  sbatch: error: see https://hpc.edu/queue" in lines
    assert "nothing was submitted" in lines[-1]
    assert list((alice.state / "submitting").iterdir()) == []


def test_a_partition_that_does_not_exist_is_refused(alice: Scientist) -> None:
    """Exit code 3, and the partitions that the user has."""
    said = alice.slurm_nb("submit", "-p", "nosuchpartition")

    assert said.exit_code == 3
    assert said.stderr.startswith(
        "slurm-nb: you cannot use partition 'nosuchpartition'. Your partitions: main, tiny,"
    )


def test_an_impossible_value_never_reaches_slurm(alice: Scientist) -> None:
    """The option and the value are named, with exit code 1."""
    said = alice.slurm_nb("submit", "--time", "2h", env={"PATH": "/srv/venv/bin"})

    assert said.exit_code == 1
    assert "--time '2h': is not a time limit" in said.stderr


def test_a_job_that_pends_for_long_is_left_in_the_queue(alice: Scientist) -> None:
    """After --wait-timeout: exit code 5, Slurm's reason, and how to come back or cancel."""
    said = alice.slurm_nb("submit", "-p", "closed", "--wait-timeout", "2")

    (job_id,) = alice.squeue("%i")
    assert said.exit_code == 5
    assert f"job {job_id}: PENDING (PartitionDown)" in said.stderr
    assert f"slurm-nb tunnel-cmd {job_id}" in said.stderr
    assert f"slurm-nb cancel {job_id}" in said.stderr
    assert alice.slurm_nb("tunnel-cmd", job_id).exit_code == 5


def test_a_script_learns_the_job_id_even_if_it_gives_up_waiting(alice: Scientist) -> None:
    """With --json the object is printed before the exit code 5."""
    said = alice.slurm_nb("submit", "--json", "-p", "closed", "--wait-timeout", "2")

    record = json.loads(said.stdout)
    assert said.exit_code == 5
    assert [record["job_id"]] == alice.squeue("%i")
    assert (record["state"], record["node"]) == ("PENDING", None)


def test_no_wait_returns_while_the_job_is_pending(alice: Scientist) -> None:
    """--no-wait ends with 0 and says how to get the line later."""
    said = alice.slurm_nb("submit", "-p", "closed", "--no-wait")

    (job_id,) = alice.squeue("%i")
    assert said.exit_code == 0
    assert f"slurm-nb tunnel-cmd {job_id}" in said.stderr


def test_a_job_cancelled_elsewhere_ends_the_wait(alice: Scientist) -> None:
    """Scancel in another terminal: exit code 4 and Slurm's state."""
    waiting = alice.cluster.login.popen(["slurm-nb", "submit", "-p", "closed"], user="alice")
    assert waiting.stderr is not None
    job_id = waiting.stderr.readline().split()[2].rstrip(".")

    alice.cluster.login.run(["scancel", job_id], user="alice")
    _, errors = waiting.communicate(timeout=60)

    assert waiting.returncode == 4
    assert "the job ended before Jupyter was ready: CANCELLED" in errors


def test_ctrl_c_while_waiting_does_not_end_the_job(alice: Scientist) -> None:
    """Exit code 130; the job keeps running, and the user reads how to come back and cancel."""
    terminal = _on_terminal(alice, "submit", "-p", "closed")
    screen = read_until(terminal, "PENDING (PartitionDown)")

    os.write(terminal.master, b"\x03")
    screen += read_until(terminal, "Cancel:      slurm-nb cancel")

    assert terminal.process.wait(20) == 130
    (job_id,) = alice.squeue("%i")
    assert f"Job {job_id} keeps running." in screen
    assert f"slurm-nb tunnel-cmd {job_id}" in screen


def test_ctrl_c_while_sbatch_works_still_names_the_job(alice: Scientist) -> None:
    """A Ctrl-C before the id is known takes effect once slurm-nb has printed the job."""
    env = alice.program("sbatch", PAUSED_SBATCH)
    os.mkfifo(alice.home / "bin/go", 0o666)
    terminal = _on_terminal(alice, "submit", "-p", "closed", env=env)
    await_that((alice.home / "bin/called").exists, "sbatch is called")

    os.write(terminal.master, b"\x03")
    (alice.home / "bin/go").write_text("\n")
    screen = read_until(terminal, "Cancel:      slurm-nb cancel")

    assert terminal.process.wait(20) == 130
    (job_id,) = alice.squeue("%i")
    assert f"Submitted job {job_id}." in screen
    assert alice.slurm_nb("cancel", job_id).exit_code == 0
    assert alice.squeue("%i") == []


def test_ctrl_c_while_the_controller_hangs_does_not_hide_that_a_job_may_exist(
    alice: Scientist,
) -> None:
    """sbatch gives up without an answer: the user reads how to check, not "nothing"."""
    env = alice.program("sbatch", PAUSED_SBATCH)
    os.mkfifo(alice.home / "bin/go", 0o666)
    terminal = _on_terminal(alice, "submit", "-p", "closed", env=env)
    await_that((alice.home / "bin/called").exists, "sbatch is called")

    alice.cluster.freeze_slurmctld()
    try:
        os.write(terminal.master, b"\x03")
        (alice.home / "bin/go").write_text("\n")
        screen = read_until(terminal, "Before you try again")
        assert terminal.process.wait(20) == 130
    finally:
        alice.cluster.thaw_slurmctld()

    assert "Socket timed out" in screen
    assert "squeue --me" in screen
    assert "nothing was submitted" not in screen


def test_ctrl_c_before_sbatch_submits_nothing(alice: Scientist) -> None:
    """While slurm-nb still queries Slurm for its name, Ctrl-C ends with 130 and no job."""
    env = alice.program("scontrol", '#!/bin/bash\ntouch "$HOME/bin/called"\nexec sleep 30\n')
    terminal = _on_terminal(alice, "submit", env=env)
    await_that((alice.home / "bin/called").exists, "scontrol is called")

    os.write(terminal.master, b"\x03")
    screen = read_until(terminal, "nothing was submitted")

    assert terminal.process.wait(20) == 130
    assert alice.squeue("%i") == []
    assert "Traceback" not in screen


def test_a_job_whose_answer_from_sbatch_is_lost_is_found(alice: Scientist) -> None:
    """sbatch fails though the job was accepted: slurm-nb finds it and continues; one job exists."""
    env = alice.program("sbatch", LOST_ANSWER)

    record = alice.submit(env=env)

    assert alice.squeue("%i") == [record["job_id"]]
    assert record["tunnel_command"]


def test_an_option_that_sbatch_does_not_know_is_refused(alice: Scientist) -> None:
    """The error shows sbatch's message, exit code 3, and nothing about a job that may exist."""
    said = alice.slurm_nb("submit", "--", "--nosuchoption")

    assert said.exit_code == 3
    assert "unrecognized option '--nosuchoption'" in said.stderr
    assert "nothing was submitted" in said.stderr


def test_on_a_node_whose_tmp_is_full_jupyter_does_not_start(alice: Scientist) -> None:
    """The error says that the node has no room left, and names another node as the cure."""
    node = alice.cluster.hosts["c1"]
    node.run(["mount", "-o", "remount,size=4k", "/tmp"])
    try:
        said = alice.slurm_nb("submit", "-w", "c1")
    finally:
        node.run(["mount", "-o", "remount,size=50%", "/tmp"])

    assert said.exit_code == 4
    assert "has only 0 MiB" in said.stderr
    assert "--exclude c1" in said.stderr
    (log,) = (alice.state / "jobs").glob("*_log.out")
    assert "ServerApp" not in log.read_text()


def test_without_a_controller_nothing_is_lost(alice: Scientist) -> None:
    """Submit ends with 3; tunnel-cmd still prints the line and says that the state is not known."""
    record = alice.submit()
    env = impatient(alice)
    alice.cluster.stop_slurmctld()
    try:  # each takes some seconds to give up: at the same time
        with ThreadPoolExecutor() as pool:
            words = [["submit"], ["tunnel-cmd", record["job_id"]], ["cancel", record["job_id"]]]
            refused, again, cancel = pool.map(lambda each: alice.slurm_nb(*each, env=env), words)
    finally:
        alice.cluster.start_slurmctld()

    assert (refused.exit_code, cancel.exit_code) == (3, 3)
    assert "Unable to contact slurm controller" in refused.stderr
    assert again.stdout == record["tunnel_command"] + "\n"
    assert f"Job {record['job_id']} may have ended; Slurm does not respond" in again.stderr
    assert alice.slurm_nb("cancel", record["job_id"]).exit_code == 0


def test_a_job_that_slurm_nb_did_not_start_is_refused(alice: Scientist) -> None:
    """Cancel and tunnel-cmd refuse a job that slurm-nb did not start, naming the scancel line."""
    own = alice.cluster.login.run(["sbatch", "--parsable", "--wrap=sleep 60"], user="alice").stdout
    job_id = own.strip()

    cancel = alice.slurm_nb("cancel", job_id)
    tunnel = alice.slurm_nb("tunnel-cmd", job_id)

    assert (cancel.exit_code, tunnel.exit_code) == (1, 1)
    assert f"scancel {job_id}" in cancel.stderr
    assert alice.squeue("%i") == [job_id]


def test_an_ended_job_is_an_error_for_tunnel_cmd_and_not_for_cancel(alice: Scientist) -> None:
    """Cancel ends with 0, tunnel-cmd with 4 and Slurm's state."""
    job_id = alice.submit()["job_id"]
    alice.slurm_nb("cancel", job_id)

    assert alice.slurm_nb("cancel", job_id).exit_code == 0
    tunnel = alice.slurm_nb("tunnel-cmd", job_id)
    assert (tunnel.exit_code, tunnel.stdout) == (4, "")
    assert "CANCELLED" in tunnel.stderr


def _on_terminal(alice: Scientist, *words: str, env: dict[str, str] | None = None) -> Terminal:
    return alice.cluster.login.open_terminal(
        ["slurm-nb", *words], user="alice", env={**SSH_CONNECTION, **(env or {})}
    )
