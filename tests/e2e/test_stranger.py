"""A second user, logged in on the same node and on the login node, searches for the token."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.cluster import Cluster
from tests.e2e.scientist import Scientist

# All that a user can read of processes and files: prints it, whatever fails.
LOOK_AROUND = """
ps auxewww
cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ
for folder in /home/alice /tmp /dev/shm /run /var/spool /var/log; do
  find "$folder" -xdev -type f -size -20M -readable -exec cat {} +
done
""".strip()
ASK_SLURM = """
squeue -o %all
squeue -O jobid,name,comment,command,stdout,stderr,workdir,admin_comment:200
scontrol -d -d show job
for job in $(squeue -h -o %i); do scontrol write batch_script "$job" -; done
sacct -a -o ALL
""".strip()


@pytest.mark.parametrize("host", ["login", "node"])
def test_a_stranger_reads_the_token_nowhere(alice: Scientist, host: str) -> None:
    """Neither ps, /proc, Slurm, the job's output nor any file tells a stranger the token."""
    record = alice.submit()
    token = alice.token(record["job_id"])
    with alice.tunnel(record["tunnel_command"]):
        alice.run_cell(record["url"], "print(1)")
        where = record["node"] if host == "node" else "login"

        stranger = _all_that_is_seen(alice.cluster, where, "mallory")
        owner = _all_that_is_seen(alice.cluster, where, "alice")

    assert token in owner, "the search itself must be able to find it"
    assert token not in stranger
    assert record["job_id"] in stranger


def test_the_token_is_in_no_output_and_no_argument_even_for_the_owner(alice: Scientist) -> None:
    """The job's output, the kept script and the arguments of processes hold no token."""
    record = alice.submit()
    token = alice.token(record["job_id"])

    jobs = alice.state / "jobs"
    kept = "".join(path.read_text() for path in jobs.iterdir())
    arguments = alice.processes("c1") + alice.processes("c2") + alice.processes("login")

    assert "slurm-nb ready: " in kept
    assert "-m slurm_nb_kit.preflight notebook" in arguments
    assert token not in kept + arguments


def test_only_the_owner_can_read_the_files_of_a_session(alice: Scientist) -> None:
    """This holds under a permissive umask too: directories 0700, files 0600."""
    alice.cluster.login.run(
        ["bash", "-c", "umask 000; exec slurm-nb submit"], user="alice", timeout_s=60
    )

    listing = subprocess.run(
        ["find", str(alice.state), "!", "-type", "l", "-printf", "%y %m\n"],
        check=True, capture_output=True, text=True, timeout=20,
    ).stdout  # fmt: skip
    (node,) = alice.squeue("%N")
    run_folders = list((alice.cluster.hosts[node].root / "tmp").glob("slurm-nb.*"))

    assert set(listing.splitlines()) == {"d 700", "f 600"}
    assert [oct(folder.stat().st_mode & 0o777) for folder in run_folders] == ["0o700"]


def test_a_session_that_is_shut_down_from_its_page_leaves_no_token(alice: Scientist) -> None:
    """The job ends by itself, and takes the secret with it before anybody asks."""
    record = alice.submit()
    token = alice.state / "sessions/testbed" / record["job_id"] / "token"
    shut_down = (
        "import urllib.request as u; u.urlopen(u.Request("
        f"'http://localhost:{record['port']}/api/shutdown', method='POST',"
        " headers={'Authorization': 'token ' + input()}))"
    )

    alice.cluster.hosts[record["node"]].run(
        ["/srv/venv/bin/python", "-c", shut_down], user="alice", stdin_text=token.read_text() + "\n"
    )
    deadline = time.monotonic() + 30
    while alice.squeue("%i"):
        assert time.monotonic() < deadline
        time.sleep(0.1)

    assert not token.exists()


def test_jupyter_listens_on_loopback_only(alice: Scientist) -> None:
    """From the login node the notebook's port is closed; only ssh leads there."""
    record = alice.submit()
    probe = f"import socket; socket.create_connection(('{record['node']}', {record['port']}), 5)"

    done = alice.cluster.login.run(["/usr/bin/python3", "-c", probe], user="mallory", check=False)

    assert "ConnectionRefusedError" in done.stderr


def _all_that_is_seen(cluster: Cluster, host: str, user: str) -> str:
    seen = cluster.hosts[host].run(["bash", "-c", LOOK_AROUND], user=user, check=False).stdout
    return seen + cluster.login.run(["bash", "-c", ASK_SLURM], user=user, check=False).stdout
