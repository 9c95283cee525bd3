"""The main job: submit, the printed line on the laptop, a cell on the compute node, cancel."""

from __future__ import annotations

import json
import os
import re
import shlex
import time

from tests.e2e.scientist import Scientist

WHERE_AM_I = "import os, socket; print(socket.gethostname(), os.environ['SLURM_JOB_ID'])"

DISARM = """
c.ServerApp.token = ''
c.NotebookApp.token = ''
c.IdentityProvider.token = ''
c.PasswordIdentityProvider.token = ''
c.ServerApp.password = ''
c.ServerApp.ip = '0.0.0.0'
c.ServerApp.port = 8888
"""


def _printed_command(stdout: str) -> str:
    (line,) = [line for line in stdout.splitlines() if line.startswith("ssh ")]
    return line


def _printed_url(stdout: str) -> str:
    (line,) = [line for line in stdout.splitlines() if line.startswith("http://")]
    return line


def test_the_printed_lines_lead_to_a_cell_on_the_compute_node(alice: Scientist) -> None:
    """The ssh line and the URL, used as printed, run a cell inside the job on its node."""
    said = alice.slurm_nb("submit", "--time", "2:00:00", "-A", "project", "-w", "c2")

    assert said.exit_code == 0, said
    with alice.tunnel(_printed_command(said.stdout)):
        seen = alice.run_cell(_printed_url(said.stdout), WHERE_AM_I)
    (job_id,) = alice.squeue("%i")
    assert seen == {"page_status": 200, "no_token_status": 403, "output": f"c2 {job_id}\n"}


def test_submit_tells_the_user_all_that_comes_next(alice: Scientist) -> None:
    """Where it runs, when it ends, how to see the line again and how to cancel are printed."""
    said = alice.slurm_nb("submit", "--time", "2:00:00", "-A", "project")

    ((job_id, node, end),) = [line.split() for line in alice.squeue("%i %N %e")]
    assert f"Jupyter is running on {node} (job {job_id})." in said.stdout
    assert f"Ends:        {end.replace('T', ' ')[:16]}" in said.stdout
    assert f"slurm-nb tunnel-cmd {job_id}\n" in said.stdout
    assert f"slurm-nb cancel {job_id}\n" in said.stdout
    assert f"Submitted job {job_id}." in said.stderr


def test_what_the_user_asked_for_reaches_slurm(alice: Scientist) -> None:
    """Each option of Slurm's, and whatever follows `--`, is what Slurm then shows of the job."""
    record = alice.submit(
        "-A", "project", "-t", "0-12:30", "-p", "main", "-c", "2", "--mem", "1G", "-w", "c1",
        "-J", "my job", "--", "--comment", "it's \"a\" \\ # b", "--nice=5", "--exclusive=user",
    )  # fmt: skip

    form = "%a|%l|%P|%c|%m|%N|%j|%k"
    assert alice.squeue(form) == ['project|12:30:00|main|2|1G|c1|my job|it\'s "a" \\ # b']
    assert record["node"] == "c1"


def test_tunnel_cmd_prints_exactly_the_same_line_again(alice: Scientist) -> None:
    """The command alone is on stdout, also in a shell that knows nothing of the first."""
    submitted = alice.slurm_nb("submit")
    (job_id,) = alice.squeue("%i")

    said = alice.slurm_nb("tunnel-cmd", job_id, env={"SSH_CONNECTION": ""})

    assert said.stdout == _printed_command(submitted.stdout) + "\n"
    assert _printed_url(submitted.stdout) in said.stderr


def test_json_holds_what_the_text_says(alice: Scientist) -> None:
    """`--json` prints one object, the same from submit and from tunnel-cmd."""
    record = alice.submit("-t", "60", "--login-host", "login.cluster.test", "--local-port", "8899")
    said = alice.slurm_nb("tunnel-cmd", record["job_id"], "--json")

    assert json.loads(said.stdout) == record
    assert record == {
        "job_id": record["job_id"],
        "cluster": "testbed",
        "state": "RUNNING",
        "reason": "",
        "node": record["node"],
        "port": record["port"],
        "socket": None,
        "fingerprint": None,
        "local_port": 8899,
        "login_host": "login.cluster.test",
        "tunnel_command": (
            "ssh -N -o ExitOnForwardFailure=yes -o ControlPath=none -o ServerAliveInterval=30"
            f" -L 127.0.0.1:8899:127.0.0.1:{record['port']}"
            f" -J alice@login.cluster.test alice@{record['node']}"
        ),
        "url": f"http://127.0.0.1:8899/?token={alice.token(record['job_id'])}",
        "server_url": f"http://127.0.0.1:8899/?token={alice.token(record['job_id'])}",
    }


def test_the_notebook_directory_is_where_the_user_is(alice: Scientist) -> None:
    """Kernels start where submit was called, or in --notebook-dir, with odd letters in it."""
    folder = alice.home / "it's a dir é $(x)"
    folder.mkdir(exist_ok=True)
    os.chown(folder, alice.user.uid, alice.user.uid)
    record = alice.submit("--notebook-dir", "it's a dir é $(x)")

    with alice.tunnel(record["tunnel_command"]):
        seen = alice.run_cell(record["url"], "import os; print(os.getcwd())")

    assert seen["output"] == "/home/alice/it's a dir é $(x)\n"


def test_a_jupyter_config_that_disarms_the_token_is_overruled(alice: Scientist) -> None:
    """With every old and new way to an empty token in ~/.jupyter, who has no token gets 403."""
    folder = alice.home / ".jupyter"
    folder.mkdir(exist_ok=True)
    (folder / "jupyter_server_config.py").write_text(DISARM)
    (folder / "jupyter_server_config.json").write_text('{"ServerApp": {"token": ""}}')

    record = alice.submit()

    with alice.tunnel(record["tunnel_command"]):
        seen = alice.run_cell(record["url"], "print(1)")
    assert seen == {"page_status": 200, "no_token_status": 403, "output": "1\n"}


def test_two_sessions_of_one_user_live_side_by_side_on_a_node(alice: Scientist) -> None:
    """Both are reached at the same time, each through its own line; ending one leaves the other."""
    first = alice.submit("-w", "c1")
    second = alice.submit("-w", "c1", "--ui", "lab")

    with alice.tunnel(first["tunnel_command"]), alice.tunnel(second["tunnel_command"]):
        outputs = [alice.run_cell(each["url"], WHERE_AM_I)["output"] for each in (first, second)]
        alice.slurm_nb("cancel", first["job_id"])
        after = alice.run_cell(second["url"], WHERE_AM_I)
    assert outputs == [f"c1 {first['job_id']}\n", f"c1 {second['job_id']}\n"]
    assert after["output"] == f"c1 {second['job_id']}\n"
    assert first["local_port"] != second["local_port"]


def test_cancel_ends_the_job_and_leaves_no_secret_behind(alice: Scientist) -> None:
    """Processes, node-local files and the token are gone when cancel returns."""
    record = alice.submit("-w", "c1")
    stubborn = (
        "import signal, subprocess, sys; subprocess.Popen([sys.executable, '-c',"
        " 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(999)'],"
        " start_new_session=True); print('ok')"
    )
    with alice.tunnel(record["tunnel_command"]):
        assert alice.run_cell(record["url"], stubborn)["output"] == "ok\n"

    said = alice.slurm_nb("cancel", record["job_id"])

    assert (said.exit_code, said.stderr) == (0, f"Cancelled job {record['job_id']}.\n")
    assert alice.squeue("%i") == []
    assert not (alice.state / "sessions/testbed" / record["job_id"] / "token").exists()
    assert "python" not in alice.processes("c1")
    assert list((alice.cluster.hosts["c1"].root / "tmp").glob("slurm-nb.*")) == []


def test_cancel_all_ends_every_session_and_no_other_job(alice: Scientist) -> None:
    """--all cancels what slurm-nb started; a job of the user's own goes on."""
    own = alice.cluster.login.run(["sbatch", "--parsable", "--wrap=sleep 60"], user="alice").stdout
    started = [alice.submit()["job_id"] for _ in range(2)]

    said = alice.slurm_nb("cancel", "--all")

    assert said.exit_code == 0
    assert sorted(said.stderr.splitlines()) == sorted(f"Cancelled job {each}." for each in started)
    assert alice.squeue("%i") == [own.strip()]


def test_a_dry_run_is_the_script_that_plain_sbatch_runs(alice: Scientist) -> None:
    """The printed script equals the submitted one, but for the number that is of one submission;
    sbatched by hand it works all the same."""
    script = alice.slurm_nb("submit", "--dry-run", "-t", "30").stdout
    assert alice.squeue("%i") == []
    submitted = alice.submit("-t", "30")
    kept = (alice.state / f"jobs/{submitted['job_id']}_submission.sh").read_text()
    done = alice.cluster.login.run(["sbatch", "--parsable"], user="alice", stdin_text=script)
    job_id = done.stdout.strip()

    _await_ready_line(alice, job_id)
    record = json.loads(alice.slurm_nb("tunnel-cmd", "--json", job_id).stdout)

    submission = re.compile("^slurm_nb_submission=.* #", re.MULTILINE)
    assert submission.sub("", script) == submission.sub("", kept)
    with alice.tunnel(record["tunnel_command"]):
        assert alice.run_cell(record["url"], WHERE_AM_I)["output"].split()[1] == job_id
    assert alice.slurm_nb("cancel", job_id).exit_code == 0


def test_the_printed_command_is_plain_words_for_any_shell(alice: Scientist) -> None:
    """Nothing in the line needs a shell: split at blanks it is the same command."""
    command = alice.submit()["tunnel_command"]

    assert command.split() == shlex.split(command)


def _await_ready_line(alice: Scientist, job_id: str, timeout_s: float = 30) -> None:
    path = alice.state / f"jobs/{job_id}_0_log.out"
    deadline = time.monotonic() + timeout_s
    while not path.exists() or "slurm-nb ready: " not in path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
