"""One login carries a session, without an sshd on the compute nodes, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cluster import Cluster, Host, Terminal, sshd
from tests.e2e.scientist import Scientist
from tests.e2e.watched import await_that, read_until

READY = "Leave this running"
CONNECTED = "connected to job"
CHAIN = ("connect", "sh -c", "ssh -F", "srun")
LEFT_S = 60.0
"""After so long nothing may be left, however a relay ended."""


@pytest.fixture(scope="module", autouse=True)
def no_sshd(cluster: Cluster) -> Iterator[None]:
    """Stop the nodes' own sshd."""
    for node in cluster.nodes:
        node.run(["bash", "-c", "kill $(cat /run/sshd.pid)"])
    yield
    for node in cluster.nodes:
        sshd.start(node)


def submit(alice: Scientist, *words: str) -> dict[str, Any]:
    return alice.submit("-w", "c1", "--login-host", "login", "--route", "relay", *words)


@contextmanager
def relay(alice: Scientist, command: str, until: str = READY) -> Iterator[Terminal]:
    """Run a command on the laptop's terminal; begin when it shows this."""
    terminal = alice.cluster.laptop.open_terminal(["bash", "-c", f"exec {command}"], user="lea")
    try:
        if until:
            read_until(terminal, until)
        yield terminal
    finally:
        terminal.close()


def cell(alice: Scientist, url: str) -> str:
    return str(alice.run_cell(url, "print(6 * 7)")["output"])


def steps(alice: Scientist) -> list[str]:
    """Return the steps of relays that Slurm knows."""
    words = ["squeue", "-h", "-s", "--user=alice", "-o", "%i %j"]
    said = alice.cluster.login.run(words, user="alice").stdout
    return [line for line in said.splitlines() if line.endswith(" relay")]


def left(alice: Scientist) -> list[str]:
    """Return the processes, steps and sockets of relays."""
    login = [line for line in alice.processes("login").splitlines() if _is_of_relay(line)]
    node = [line for line in alice.processes("c1").splitlines() if "sshd" in line]
    folder = alice.state / "relay"
    names = [each.name for each in folder.iterdir()] if folder.exists() else []
    return [*login, *node, *steps(alice), *(set(names) - {"lock", "secret"})]


def _is_of_relay(line: str) -> bool:
    return any(each in line for each in CHAIN) or "slurm-nb" in line


def await_nothing_left(alice: Scientist) -> None:
    began = time.monotonic()
    while there := left(alice):
        assert time.monotonic() - began < LEFT_S, there
        time.sleep(0.2)


def logins(host: Host) -> int:
    return (host.root / "var/log/sshd.log").read_text().count("Accepted publickey for alice")


def kill(alice: Scientist, name: str, host: str = "login") -> None:
    """Kill the first of the user's processes whose command has this text; srun has a second."""
    found = [line.split()[0] for line in alice.processes(host).splitlines() if name in line]
    assert found, name
    alice.cluster.hosts[host].run(["kill", "-KILL", found[0]])


@pytest.mark.parametrize(
    "words", [[], ["--listen", "socket"], ["--ui", "lab"]], ids=["port", "socket", "lab"]
)
def test_the_printed_line_leads_to_a_cell_with_one_login(
    alice: Scientist, words: list[str]
) -> None:
    """It says ready when the page has answered, and Ctrl-C ends it, not the session."""
    record = submit(alice, *words)
    before = logins(alice.cluster.login)

    with relay(alice, record["tunnel_command"]) as terminal:
        output = cell(alice, record["url"])
        os.write(terminal.master, b"\x03")
        read_until(terminal, f"slurm-nb connect {record['job_id']}")

    await_nothing_left(alice)
    assert output == "42\n"
    assert logins(alice.cluster.login) - before == 1
    assert alice.squeue("%i %T") == [f"{record['job_id']} RUNNING"]
    assert alice.log(record["job_id"]).count("slurm-nb: a relay from login begins, step ") == 1


def test_a_session_with_a_password_is_carried_too(alice: Scientist) -> None:
    """The URL has no token, and the page asks."""
    alice.cluster.login.run(
        ["slurm-nb", "password"], user="alice", stdin_text="correct horse\ncorrect horse\n"
    )
    record = submit(alice, "--auth", "password")

    with relay(alice, record["tunnel_command"]):
        output = cell(alice, f"{record['url']}?token={alice.token(record['job_id'])}")

    assert "token" not in record["url"]
    assert output == "42\n"


@pytest.fixture
def held(alice: Scientist) -> Iterator[tuple[dict[str, Any], Terminal]]:
    record = submit(alice)
    with relay(alice, record["tunnel_command"]) as terminal:
        yield record, terminal


def test_the_relay_connects_again_when_a_part_of_it_was_killed(
    alice: Scientist, held: tuple[dict[str, Any], Terminal]
) -> None:
    """Of the chain on the login node and the step's sshd, each in turn; one step is left."""
    record, terminal = held
    for name, host in (
        ("ssh -F /", "login"),
        (" srun", "login"),
        (": alice", "c1"),
        ("sh -c", "login"),
    ):
        kill(alice, name, host)
        read_until(terminal, "the relay works again")
        await_that(lambda: len(steps(alice)) == 1, f"one step after {name}")
    assert cell(alice, record["url"]) == "42\n"


def test_a_requeued_job_is_followed_on_the_same_port(
    alice: Scientist, held: tuple[dict[str, Any], Terminal]
) -> None:
    """The relay prints the new URL, with the new token."""
    record, terminal = held
    job_id = record["job_id"]

    login = alice.cluster.login
    login.run(["scontrol", "requeue", job_id])
    await_that(lambda: alice.squeue("%T") == ["PENDING"], "it is back in the queue")
    login.run(["scontrol", "update", f"jobid={job_id}", "StartTime=now", "ReqNodeList=c2"])
    screen = read_until(terminal, READY, 120)

    (url,) = set(re.findall(r"http://127\.0\.0\.1:\d+/\?token=[0-9a-f]+", screen))
    assert "the job started again on c2; the URL is new" in screen
    assert url.partition("?")[0] == record["url"].partition("?")[0]
    assert url != record["url"]
    assert cell(alice, url) == "42\n"


def test_a_cancelled_session_ends_its_relay_and_says_why(
    alice: Scientist, held: tuple[dict[str, Any], Terminal]
) -> None:
    """Its keys are gone with the token."""
    record, terminal = held
    folder = alice.state / "sessions/testbed" / record["job_id"]
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder / "relay").iterdir()}

    alice.slurm_nb("cancel", record["job_id"])
    screen = read_until(terminal, "Connection to login closed")

    await_nothing_left(alice)
    assert set(modes.values()) == {0o600}
    assert {"client", "host", "known_hosts"} < set(modes)
    assert "was cancelled" in screen
    assert not (folder / "relay").exists()


def test_however_it_ends_nothing_is_left(alice: Scientist) -> None:
    """No ssh, srun, sshd, step and socket, on login and node; the session runs."""
    record = submit(alice)
    for how in ("hang up", "kill ssh", "kill connect", "kill sshd"):
        with relay(alice, record["tunnel_command"]) as terminal:
            assert steps(alice), how
            if how == "hang up":
                terminal.process.send_signal(signal.SIGHUP)
            elif how == "kill ssh":
                alice.cluster.laptop.run(["pkill", "-KILL", "-u", "lea", "-x", "ssh"])
            else:
                kill(alice, "slurm-nb connect" if how == "kill connect" else ": alice@")
            await_nothing_left(alice)
    assert alice.squeue("%i %T") == [f"{record['job_id']} RUNNING"]


def test_without_a_terminal_the_end_of_ssh_is_noticed(alice: Scientist) -> None:
    """Nothing sends a signal then; the relay reads its standard input to the end."""
    record = submit(alice)
    command = record["tunnel_command"].replace("ssh -t", "exec ssh -T")
    ssh = alice.cluster.laptop.popen(["bash", "-c", command], user="lea")
    assert ssh.stdout is not None
    while READY not in ssh.stdout.readline():
        assert ssh.poll() is None
    assert steps(alice)

    ssh.kill()
    ssh.communicate()
    alice.cluster.laptop.run(["pkill", "-KILL", "-u", "lea", "-x", "ssh"], check=False)

    await_nothing_left(alice)


def test_when_the_network_is_gone_nothing_is_left(alice: Scientist) -> None:
    """No side tells the other; the kernel sends the live line again, and gets no answer."""
    record = submit(alice)
    with relay(alice, record["tunnel_command"], CONNECTED):
        assert steps(alice)
        laptop, nowhere = alice.cluster.laptop, ["blackhole", "10.97.0.1/32"]
        laptop.run(["ip", "route", "add", *nowhere])
        try:
            await_nothing_left(alice)
        finally:
            laptop.run(["ip", "route", "del", *nowhere])


def test_twenty_connections_leave_no_step(alice: Scientist) -> None:
    """Each is a step of the job while it lasts."""
    record = submit(alice)
    for _ in range(20):
        words = ["slurm-nb", "connect", record["job_id"]]
        terminal = alice.cluster.login.open_terminal(words, user="alice")
        read_until(terminal, READY)
        os.write(terminal.master, b"\x03")
        read_until(terminal, "The connection has ended")
        terminal.close()

    await_nothing_left(alice)
    assert alice.log(record["job_id"]).count("slurm-nb: a relay from login begins") == 20


def test_a_second_session_at_once_has_its_own_line(
    alice: Scientist, held: tuple[dict[str, Any], Terminal]
) -> None:
    """connect says so and prints it; it has another port and socket."""
    record, _ = held
    other = submit(alice)

    refused = alice.slurm_nb("connect", other["job_id"])

    (command,) = [line.strip() for line in refused.stderr.splitlines() if " ssh -t" in line]
    assert refused.exit_code == 1
    assert f"your relay already carries session {record['job_id']}" in refused.stderr
    with relay(alice, command):
        printed = alice.slurm_nb("url", other["job_id"]).stdout.strip()
        assert printed.partition("?")[0] != record["url"].partition("?")[0]
        assert cell(alice, printed) == cell(alice, record["url"]) == "42\n"


@contextmanager
def laptop_config(alice: Scientist, text: str) -> Iterator[Host]:
    laptop = alice.cluster.laptop
    path = laptop.root / "home/lea/.ssh/config"
    path.write_text(text)
    try:
        yield laptop
    finally:
        path.unlink()
        laptop.run(["bash", "-c", "pkill -u lea -x ssh; rm -f ~/.ssh/master-*"], user="lea")


def test_submit_connect_does_everything_in_one_login(alice: Scientist) -> None:
    """With the printed lines in the laptop's ssh configuration: submit, wait, and the page."""
    lines = alice.slurm_nb("ssh-config", "--login", "--login-host", "login").stdout
    before = logins(alice.cluster.login)

    with (
        laptop_config(alice, lines),
        relay(alice, "ssh -t login -l alice slurm-nb submit --connect -w c1", "") as terminal,
    ):
        screen = read_until(terminal, READY)
        (url,) = set(re.findall(r"http://127\.0\.0\.1:\d+/\?token=[0-9a-f]+", screen))
        output = cell(alice, url)
        later = alice.slurm_nb("tunnel-cmd").stdout

    assert output == "42\n"
    assert logins(alice.cluster.login) - before == 1
    assert later.startswith("ssh -t ")


MASTER = "Host *\n  ControlMaster auto\n  ControlPath ~/.ssh/master-%C\n  ControlPersist yes\n"


def test_a_shared_connection_carries_the_relay_again_and_again(alice: Scientist) -> None:
    """After Ctrl-C the laptop's shared connection keeps the forward, to the same socket."""
    record = submit(alice)
    with laptop_config(alice, MASTER) as laptop:
        laptop.run(["ssh", "-f", "alice@login", "sleep 1"], user="lea")
        before = logins(alice.cluster.login)
        outputs = []
        for _ in range(2):
            with relay(alice, record["tunnel_command"]) as terminal:
                outputs.append(cell(alice, record["url"]))
                os.write(terminal.master, b"\x03")
                read_until(terminal, "The connection has ended")
            await_nothing_left(alice)
        more = logins(alice.cluster.login) - before

    assert outputs == ["42\n", "42\n"]
    assert more == 0


def test_slurm_is_found_where_ssh_has_no_path_for_it(alice: Scientist) -> None:
    """The command takes PATH from the login shell."""
    record = submit(alice)
    words = ["/srv/venv/bin/slurm-nb", "connect", record["job_id"]]
    login, nothing = alice.cluster.login, {"PATH": "/nonexistent"}

    terminal = login.open_terminal(words, user="alice", env=nothing)
    try:
        read_until(terminal, READY)
    finally:
        terminal.close()

    await_nothing_left(alice)


def test_a_site_that_locks_another_route_has_no_relay(alice: Scientist) -> None:
    """connect, tunnel-cmd and submit name the site's file."""
    record = alice.submit("-w", "c1")
    path = alice.home / "site.toml"
    path.write_text('locked = ["route"]\nroute = "jump"\n')
    os.chown(path, alice.user.uid, alice.user.uid)
    env = {"SLURM_NB_SITE_CONFIG": "/home/alice/site.toml"}

    said = [
        alice.slurm_nb(*words, env=env)
        for words in (
            ["connect", record["job_id"]],
            ["tunnel-cmd", record["job_id"], "--route", "relay"],
            ["submit", "--connect"],
        )
    ]
    path.unlink()

    for each in said:
        assert each.exit_code == 1
        assert "route is locked to jump by /home/alice/site.toml:1" in each.stderr
