"""Nodes that fail and jobs that others end: the messages to the user, and the leftovers."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.cluster.slurm import start_slurmd
from tests.e2e.scientist import Said, Scientist
from tests.e2e.watched import await_that
from tests.faults.admin import (
    age_witness,
    await_state,
    closed,
    end_wait,
    occupied,
    pid_of,
    scontrol,
    without_slurmd,
)


def _pending(alice: Scientist, *words: str) -> str:
    """Return the id of a session whose job waits."""
    said = alice.slurm_nb("submit", "--no-wait", *words)
    assert said.exit_code == 0, said
    return said.stderr.partition("Submitted job ")[2].split()[0].rstrip(".")


def _tunnel(alice: Scientist, job_id: str) -> dict[str, Any]:
    said = alice.slurm_nb("tunnel-cmd", "--json", job_id)
    assert said.exit_code == 0, said
    record: dict[str, Any] = json.loads(said.stdout)
    return record


def _told(said: Said, name: str) -> str:
    """Return the value next to a name in the output of `status`."""
    return "".join(re.findall(rf"^{name}: +(.*)$", said.stdout, re.MULTILINE))


def _row(alice: Scientist, job_id: str) -> str:
    """Return the line of a session in `list`."""
    said = alice.slurm_nb("list")
    assert said.exit_code == 0, said
    (row,) = [line for line in said.stdout.splitlines() if line.split()[0] == job_id]
    return row


def _files(alice: Scientist, job_id: str) -> set[str]:
    return {path.name for path in (alice.state / "sessions/testbed" / job_id).iterdir()}


def _await_proof(alice: Scientist, job_id: str) -> None:
    """Run list twice, like a user: one answer of Slurm does not prove an ending."""
    await_that(
        lambda: alice.slurm_nb("list").exit_code == 0 and "witness.json" in _files(alice, job_id),
        "Slurm to say that it has ended",
    )
    age_witness(alice.state / "sessions/testbed" / job_id)
    assert alice.slurm_nb("list").exit_code == 0
    assert "token" not in _files(alice, job_id)


def test_a_killed_slurmd_does_not_affect_the_session(alice: Scientist) -> None:
    """slurmd dies: list, status and tunnel-cmd answer as before (0), and cells still run later."""
    record = alice.submit("-w", "c1")
    job_id = record["job_id"]

    with without_slurmd(alice.cluster.hosts["c1"]):
        status = alice.slurm_nb("status", job_id)
        row = _row(alice, job_id)
        again = _tunnel(alice, job_id)
    with alice.tunnel(again["tunnel_command"]):
        reached = alice.run_cell(again["url"], "print(6 * 7)")

    assert (_told(status, "State"), _told(status, "Node")) == ("RUNNING", "c1")
    assert "RUNNING" in row
    assert again["tunnel_command"] == record["tunnel_command"]
    assert reached["output"] == "42\n"


def test_a_session_without_slurmd_is_cancelled_once_slurmd_is_back(alice: Scientist) -> None:
    """Without slurmd cancel waits, and status says that the job ends; with it the job is cancelled,
    and nothing is left.
    """
    job_id = alice.submit("-w", "c1")["job_id"]
    node = alice.cluster.hosts["c1"]

    with without_slurmd(node):
        cancel = alice.cluster.login.popen(["slurm-nb", "cancel", job_id], user="alice")
        await_state(alice.cluster, job_id, "COMPLETING")
        status = alice.slurm_nb("status", job_id)
        tunnel = alice.slurm_nb("tunnel-cmd", job_id)
        assert cancel.poll() is None
        start_slurmd(node)
        _, words = cancel.communicate(timeout=60)

    assert _told(status, "State") == "COMPLETING"
    assert _told(status, "Jupyter").startswith("ending")
    assert tunnel.exit_code == 5
    assert f"job {job_id} is COMPLETING" in tunnel.stderr
    assert (cancel.returncode, f"Cancelled job {job_id}.\n" in words) == (0, True), words
    assert "CANCELLED (cancelled)" in _row(alice, job_id)
    assert "token" not in _files(alice, job_id)
    assert alice.processes("c1") == ""


def test_a_node_that_is_set_down_ends_a_session_that_may_not_be_requeued(alice: Scientist) -> None:
    """The node is down: wait ends with 4, NODE_FAIL and the cure; the
    token is gone after a second query, and no process is left.
    """
    job_id = alice.submit("-w", "c1", "--", "--no-requeue")["job_id"]

    scontrol(alice.cluster, "update", "nodename=c1", "state=down", "reason=broken")
    wait = alice.slurm_nb("wait", job_id)
    status = alice.slurm_nb("status", job_id)

    assert wait.exit_code == 4
    assert f"job {job_id} has ended: NODE_FAIL (NodeDown): c1 failed" in wait.stderr
    assert f"slurm-nb submit --again {job_id} --exclude c1" in wait.stderr
    assert _told(status, "State") == "NODE_FAIL (NodeDown)"
    assert "--exclude c1" in _told(status, "Next")
    _await_proof(alice, job_id)
    await_that(lambda: alice.processes("c1") == "", "her processes to be gone")


def test_a_session_of_a_node_that_is_set_down_comes_back_on_another(alice: Scientist) -> None:
    """The node is down: status says that it was put back, tunnel-cmd 5; then the same local port
    and a new token on another node."""
    record = alice.submit()
    job_id, node = record["job_id"], record["node"]
    token = alice.token(job_id)

    with closed(alice.cluster, node):
        scontrol(alice.cluster, "update", f"nodename={node}", "state=down", "reason=broken")
        await_state(alice.cluster, job_id, "PENDING")
        status = alice.slurm_nb("status", job_id)
        tunnel = alice.slurm_nb("tunnel-cmd", job_id)
        end_wait(alice.cluster, job_id)
        wait = alice.slurm_nb("wait", job_id)
        again = _tunnel(alice, job_id)

    assert "the job ran and was requeued" in _told(status, "Before")
    assert "its node failed" in _told(status, "Before")
    assert (tunnel.exit_code, tunnel.stdout) == (5, "")
    assert wait.exit_code == 0, wait
    assert {node, again["node"]} == {"c1", "c2"}
    assert again["local_port"] == record["local_port"]
    assert again["tunnel_command"] in wait.stdout
    assert alice.token(job_id) != token


def test_a_session_of_a_node_that_is_rebooted_comes_back(alice: Scientist) -> None:
    """Everything on the node is killed, /tmp emptied: the session is shown as running (0) until
    Slurm finds out, then put back, and starts on another node with the same local port and a new
    token; nothing is left on the first.
    """
    record = alice.submit()
    job_id, node = record["job_id"], alice.cluster.hosts[record["node"]]

    with without_slurmd(node):
        node.run(["pkill", "-KILL", "slurmstepd"])
        node.run(["pkill", "-KILL", "-u", "alice"])
        node.run(["bash", "-c", "rm -rf /tmp/* /tmp/.[!.]*"])
        before = alice.slurm_nb("status", job_id)
        # slurmctld does this after SlurmdTimeout.
        down = ("state=down", "reason=Not responding")
        scontrol(alice.cluster, "update", f"nodename={node.name}", *down)
        end_wait(alice.cluster, job_id)
        wait = alice.slurm_nb("wait", job_id)
    again = _tunnel(alice, job_id)
    idle = ["sinfo", "-h", "-n", node.name, "-p", "main", "-t", "idle", "-o", "%D"]
    await_that(lambda: alice.cluster.login.run(idle).stdout.strip() == "1", "the node to be back")

    assert _told(before, "State") == "RUNNING"
    assert wait.exit_code == 0, wait
    assert {node.name, again["node"]} == {"c1", "c2"}
    assert again["local_port"] == record["local_port"]
    assert again["url"] != record["url"]
    assert alice.processes(node.name) == ""
    assert len(alice.run_folders()) == 1
    with alice.tunnel(again["tunnel_command"]):
        assert alice.run_cell(again["url"], "print(6 * 7)")["output"] == "42\n"


def test_the_message_after_a_killed_job_script_says_killed(alice: Scientist) -> None:
    """SIGKILL of the script: wait ends with 4, `killed`, and the cure; Slurm ends Jupyter, the
    token is gone after a second query, a directory in the node's /tmp stays.
    """
    job_id = alice.submit("-w", "c1")["job_id"]

    alice.cluster.hosts["c1"].run(["kill", "-KILL", pid_of(alice, "c1", "slurm_script")])
    await_state(alice.cluster, job_id, "FAILED")
    wait = alice.slurm_nb("wait", job_id)

    assert wait.exit_code == 4
    assert "the job script ended without a message, so it was probably killed" in wait.stderr
    assert f"slurm-nb submit --again {job_id} --mem" in wait.stderr
    assert "FAILED (killed)" in _row(alice, job_id)
    _await_proof(alice, job_id)
    await_that(lambda: alice.processes("c1") == "", "her processes to be gone")
    for folder in alice.run_folders():  # a killed script cleans nothing up
        alice.cluster.hosts["c1"].run(["rm", "-rf", f"/tmp/{folder.name}"])


def test_the_message_after_a_killed_jupyter_says_killed(alice: Scientist) -> None:
    """SIGKILL of Jupyter: wait ends with 4, `killed`, and the cure; nothing is left on the node."""
    job_id = alice.submit("-w", "c1")["job_id"]

    alice.cluster.hosts["c1"].run(["kill", "-KILL", pid_of(alice, "c1", "slurm_nb_kit.preflight")])
    await_state(alice.cluster, job_id, "FAILED")
    wait = alice.slurm_nb("wait", job_id)

    assert wait.exit_code == 4
    assert "Jupyter was killed (SIGKILL)" in wait.stderr
    assert f"slurm-nb submit --again {job_id} --mem" in wait.stderr
    assert "FAILED (killed)" in _row(alice, job_id)
    assert "token" not in _files(alice, job_id)
    assert (alice.processes("c1"), alice.run_folders()) == ("", [])


def test_a_killed_kernel_does_not_affect_the_session(alice: Scientist) -> None:
    """SIGKILL of a kernel: the state stays RUNNING (0), and the next cell runs in a new kernel."""
    record = alice.submit("-w", "c1")

    with alice.tunnel(record["tunnel_command"]):
        kernel = alice.run_cell(record["url"], "import os; print(os.getpid())")["output"].strip()
        alice.cluster.hosts["c1"].run(["kill", "-KILL", kernel])
        status = alice.slurm_nb("status", record["job_id"])
        reached = alice.run_cell(record["url"], "print(6 * 7)")

    assert (status.exit_code, _told(status, "State")) == (0, "RUNNING")
    assert reached["output"] == "42\n"


def test_a_preempted_session_comes_back(alice: Scientist) -> None:
    """A job with higher priority takes the node: status says so, tunnel-cmd ends with 5; afterwards
    the session returns with the same local port and another token.
    """
    record = alice.submit("-w", "c1")
    job_id = record["job_id"]

    with occupied(alice.cluster, "c1", partition="urgent"):
        await_state(alice.cluster, job_id, "PENDING")
        status = alice.slurm_nb("status", job_id)
        tunnel = alice.slurm_nb("tunnel-cmd", job_id)
    end_wait(alice.cluster, job_id)
    wait = alice.slurm_nb("wait", job_id)
    again = _tunnel(alice, job_id)

    why = "according to its output, a job with higher priority preempted this one"
    assert f"the job ran and was requeued: {why}" in _told(status, "Before")
    assert (tunnel.exit_code, tunnel.stdout) == (5, "")
    assert wait.exit_code == 0, wait
    assert again["local_port"] == record["local_port"]
    assert again["url"] != record["url"]


def test_a_preempted_session_that_may_not_come_back_has_ended(alice: Scientist) -> None:
    """Slurm cancels preempted jobs (PreemptMode=CANCEL): wait ends with 4, PREEMPTED, the cure; no
    token is left.
    """
    job_id = alice.submit("-p", "cheap", "-w", "c1")["job_id"]

    with occupied(alice.cluster, "c1", partition="urgent"):
        await_state(alice.cluster, job_id, "PREEMPTED")
    wait = alice.slurm_nb("wait", job_id)

    assert wait.exit_code == 4
    assert (
        f"job {job_id} has ended: PREEMPTED: a job with higher priority preempted this one"
        in wait.stderr
    )
    assert f"slurm-nb submit --again {job_id}" in wait.stderr
    assert "PREEMPTED (preempted)" in _row(alice, job_id)
    assert "token" not in _files(alice, job_id)


def test_a_session_that_root_cancels_is_cancelled(alice: Scientist) -> None:
    """Scancel by root: status (0) and tunnel-cmd (4) say that it was cancelled, and with accounting
    that it was root; how to start it again; the token is gone."""
    job_id = alice.submit("-w", "c1")["job_id"]

    alice.cluster.login.run(["scancel", job_id])
    await_state(alice.cluster, job_id, "CANCELLED", "")
    why = "root cancelled the job" if alice.cluster.accounting else "the job was cancelled"
    await_that(  # slurmdbd learns it a moment later
        lambda: _told(alice.slurm_nb("status", job_id), "Why") == why, f"status to say: {why}"
    )
    tunnel = alice.slurm_nb("tunnel-cmd", job_id)

    assert (tunnel.exit_code, tunnel.stdout) == (4, "")
    assert f"job {job_id} has ended: CANCELLED: {why}" in tunnel.stderr
    assert f"slurm-nb submit --again {job_id}" in tunnel.stderr
    assert "token" not in _files(alice, job_id)


def test_a_session_that_cannot_finish_by_its_deadline_ends(alice: Scientist) -> None:
    """No room before --deadline: wait ends with 4, DEADLINE, and the cure; it never ran."""
    with occupied(alice.cluster, "c1"):
        job_id = _pending(alice, "-w", "c1", "--time", "1", "--", "--deadline=now+62seconds")
        await_state(alice.cluster, job_id, "DEADLINE", timeout_s=90)  # Slurm looks every 30 s
        wait = alice.slurm_nb("wait", job_id)

    assert wait.exit_code == 4
    assert "DEADLINE (DeadLine): the job could not finish before its --deadline" in wait.stderr
    assert f"`slurm-nb submit --again {job_id}` with a later --deadline" in wait.stderr
    assert "DEADLINE (deadline)" in _row(alice, job_id)


def test_a_session_that_an_admin_holds_says_so(alice: Scientist) -> None:
    """Root holds the job: wait gives up with 5 and says who can release it; cancel works (0)."""
    job_id = _pending(alice, "-p", "closed")

    scontrol(alice.cluster, "hold", job_id)
    wait = alice.slurm_nb("wait", "--wait-timeout", "2", job_id)
    row = _row(alice, job_id)
    cancel = alice.slurm_nb("cancel", job_id)

    assert wait.exit_code == 5
    assert (
        "PENDING (JobHeldAdmin): an admin holds the job; only an admin can release it"
        in wait.stderr
    )
    assert "PENDING (JobHeldAdmin)" in row
    assert (cancel.exit_code, alice.squeue("%i")) == (0, [])


def test_a_suspended_session_has_not_ended(alice: Scientist) -> None:
    """Root suspends it: list and status say SUSPENDED, tunnel-cmd prints the line (0), the token
    stays; once resumed, it runs cells again.
    """
    record = alice.submit("-w", "c1")
    job_id = record["job_id"]

    scontrol(alice.cluster, "suspend", job_id)
    await_state(alice.cluster, job_id, "SUSPENDED")
    row = _row(alice, job_id)
    status = alice.slurm_nb("status", job_id)
    again = _tunnel(alice, job_id)
    scontrol(alice.cluster, "resume", job_id)

    assert "SUSPENDED" in row
    assert _told(status, "State") == "SUSPENDED"
    assert again["url"] == record["url"]
    with alice.tunnel(again["tunnel_command"]):
        assert alice.run_cell(again["url"], "print(6 * 7)")["output"] == "42\n"
