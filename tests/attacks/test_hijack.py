"""Ports taken by a stranger, before, between and after sessions."""

from __future__ import annotations

import json
import shutil
import signal
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest

from tests.attacks.conftest import plain_session, slurm_nb_session
from tests.attacks.score_table import Trial
from tests.attacks.target import PYTHON, Stranger, await_line
from tests.e2e.scientist import STATE, Scientist, await_port

# The first local port and how many there are, as slurm-nb chooses them, and others that one tries.
_PORT_RANGES = ((12_000, 20_000), (1024, 64_512), (8888, 1000), (10_000, 10_000), (20_000, 10_000))


@contextmanager
def held(stranger: Stranger, ports: str, address: str = "127.0.0.1") -> Iterator[list[str]]:
    """Mallory listens; what he was sent is in the list after the block."""
    process = stranger.start("hold_ports", PORTS=ports, ADDRESS=address)
    said = [await_line(process)]
    try:
        yield said
    finally:
        process.terminate()
        out, errors = process.communicate(timeout=20)
        said += [out, errors]


def test_port_taken_before(trial: Trial, alice: Scientist) -> None:
    """Listen on the usual ports before she submits: hers is any free one, and is verified."""
    node = "c1" if trial.target.node == "c2" else "c2"  # its 8888 is free
    with held(Stranger(alice.cluster.hosts[node]), "8880-8999 40000-40100", "0.0.0.0") as said:  # noqa: S104
        assert int(said[0].split()[1]) > 200, said
        wiki = plain_session(alice, node, 8891) if trial.target.kind == "plain" else None
        # What the wiki prints is port 8888, wherever Jupyter went.
        with wiki or slurm_nb_session(alice, "-w", node) as target:
            port = 8888 if target.kind == "plain" else target.port
            there = replace(target, port=port)
            (answer,) = there.web([{"path": "/api"}], host=node, user="alice")

    trial.verdict(answer["body"] == "mallory", answer)


def test_port_taken_after(our_trial: Trial, alice: Scientist) -> None:
    """Listen on her port once her session has ended: tunnel-cmd prints no tunnel to it."""
    record = alice.submit("-w", "c1")
    alice.cluster.login.run(["scancel", record["job_id"]], user="alice")
    mallory = Stranger(alice.cluster.hosts["c1"])
    for _ in range(50):  # until it is free
        with held(mallory, str(record["port"])) as said:
            told = alice.slurm_nb("tunnel-cmd", record["job_id"])
        if said[0] == "listening 1":
            break

    assert said[0] == "listening 1"
    our_trial.verdict("ssh " in told.stdout or told.exit_code == 0, told)


def test_token_of_an_earlier_run(our_trial: Trial, alice: Scientist) -> None:
    """Use the token that her open page sent to whoever took the port of a requeued job: the next
    run has another.
    """
    record = alice.submit("-w", "c1")
    job_id, token = record["job_id"], alice.token(record["job_id"])
    deadline = time.monotonic() + 90
    at_login = partial(alice.cluster.login.run, user="alice")
    at_login(["scontrol", "requeue", job_id])
    while at_login(["squeue", "-h", "-j", job_id, "-o", "%T"]).stdout != "PENDING\n":
        assert time.monotonic() < deadline
    at_login(["scontrol", "update", f"jobid={job_id}", "starttime=now"])
    while (again := alice.slurm_nb("tunnel-cmd", job_id, "--json")).exit_code:
        assert time.monotonic() < deadline, again
    port = json.loads(again.stdout)["port"]
    asked = replace(our_trial.target, port=port)
    # As herself, for another user is not even served: it is the old token that is tried.
    (answer,) = asked.web([{"path": f"/api/status?token={token}"}], host="c1", user="alice")
    alice.slurm_nb("cancel", job_id)

    our_trial.verdict(answer["status"] != 403, answer)


def test_other_loopback_of_the_laptop(our_trial: Trial) -> None:
    """Listen on [::1] of the tunnel's port on the laptop: the printed URL names 127.0.0.1."""
    target = our_trial.target
    with held(Stranger(target.cluster.laptop, "lea"), str(target.local_port), "::1") as said:
        assert said[0] == "listening 1"
        printed = target.cluster.login.run(
            ["slurm-nb", "tunnel-cmd", target.job_id, "--json"], user="alice"
        )
        url = json.loads(printed.stdout)["url"]
        fetch = f"import urllib.request as u; print(u.urlopen({url!r}).status)"
        seen = target.cluster.laptop.run([PYTHON, "-c", fetch], user="lea").stdout

    our_trial.verdict(seen != "200\n" or target.token in said[1], (seen, said))


def test_port_taken_between(our_trial: Trial, alice: Scientist) -> None:
    """Listen on her last port while she submits anew: the new session is on another one."""
    first = alice.submit("-w", "c1")
    alice.slurm_nb("cancel", first["job_id"])
    mallory = Stranger(alice.cluster.hosts["c1"])
    with (
        held(mallory, str(first["port"])) as said,
        slurm_nb_session(alice, "-w", "c1") as target,
    ):
        (answer,) = target.web([{"path": "/api"}])

    got_in = target.port == first["port"] or "mallory" in answer["body"]
    our_trial.verdict(got_in or len(said[1]) > 0, (said, answer))


def test_same_port_of_the_other_loopback(trial: Trial) -> None:
    """Listen on [::1] of her very port while her tunnel is up: it leads to 127.0.0.1 by number."""
    target = trial.target
    with held(target.on_node, str(target.port), "::1") as said:
        assert said[0] == "listening 1"
        (answer,) = target.web([{"path": f"/api?token={target.token}"}])

    trial.verdict("mallory" in answer["body"] or target.token in said[1], said, on_plain=False)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "127.0.0.2"])  # noqa: S104
def test_sharing_her_port(trial: Trial, address: str) -> None:
    """Bind her very port again with SO_REUSEPORT: the kernel refuses another user's."""
    target = trial.target
    with held(target.on_node, str(target.port), address) as said:
        answers = target.web([{"path": f"/api?token={target.token}"}] * 3)

    stolen = any("mallory" in answer["body"] for answer in answers) or len(said[1]) > 0
    trial.verdict(stolen, (said, answers), on_plain=False)


def test_local_port_taken(trial: Trial) -> None:
    """Hold the tunnel's port on the laptop: ssh gives up and says so, for ExitOnForwardFailure."""
    target = trial.target
    login, local_port = target.cluster.laptop, target.local_port  # her own tunnel holds it
    if target.kind == "plain":
        command = f"ssh -N -L 8888:{target.node}:8888 alice@login"
    else:
        printed = target.cluster.login.run(["slurm-nb", "tunnel-cmd", target.job_id], user="alice")
        command = printed.stdout.strip()
        assert f":{local_port}:" in command, command
    done = login.run(["bash", "-c", f"timeout 4 {command}"], user="lea", check=False, timeout_s=30)

    stays_up = done.returncode == 124
    trial.verdict(stays_up, done)


def test_local_port_foretold(our_trial: Trial) -> None:
    """Compute the local port of the session from what squeue shows, to hold it on a shared laptop:
    it follows from a secret of the session.
    """
    target = our_trial.target
    number = int(target.job_id)
    cluster = zlib.crc32(b"testbed")
    seeds = {number, cluster + number, zlib.crc32(str(number).encode())}
    guesses = {first + seed % size for seed in seeds for first, size in _PORT_RANGES}

    our_trial.verdict(target.local_port in guesses, (target.local_port, guesses))


MASTER = """
Host *
  ControlMaster auto
  ControlPath ~/.ssh/left-%C
  ControlPersist yes
"""
_END_MASTERS = "for each in ~/.ssh/left-*; do ssh -S $each -O exit nobody; done"


def test_tunnel_left_behind(trial: Trial) -> None:
    """Answer on the port, after the session, through the tunnel that a ControlMaster kept after
    Ctrl-C: the printed ssh leaves nothing to it.
    """
    target = trial.target
    laptop, login = target.cluster.laptop, target.cluster.login
    command = f"ssh -N -L 18899:{target.node}:{target.port} alice@login"
    if target.kind != "plain":
        words = ["slurm-nb", "tunnel-cmd", target.job_id, "--local-port", "18899"]
        command = login.run(words, user="alice").stdout.strip()
    config = laptop.root / "home/lea/.ssh/config"
    config.write_text(MASTER)
    try:
        ssh = laptop.popen(["bash", "-c", f"exec {command}"], user="lea")
        await_port(laptop, 18899)
        ssh.send_signal(signal.SIGINT)
        said = ssh.communicate(timeout=20)
        left = laptop.run(["ss", "-H", "-l", "-t", "-n", "sport", "=", ":18899"]).stdout
        laptop.run(["bash", "-c", _END_MASTERS], user="lea", check=False)
    finally:
        config.unlink()

    trial.verdict(bool(left), (left, said))


def test_reused_job_id(our_trial: Trial, alice: Scientist) -> None:
    """Have a record of hers stand for his job: job and record must be of one owner."""
    record = alice.submit("-w", "c1")
    other = alice.cluster.login.run(
        ["sbatch", "--parsable", "-w", "c1", "--wrap=sleep 100"], user="mallory"
    ).stdout.strip()
    sessions = alice.state / "sessions/testbed"
    record_file = f"{other}/session.json"
    ids = f's/"job_id": "{record["job_id"]}"/"job_id": "{other}"/'
    script = f"cp -a {record['job_id']} {other} && sed -i '{ids}' {record_file}"
    script += f" && sed 's/{record['job_id']}/{other}/' ../../jobs/{record['job_id']}_0_log.out"
    script += f" >../../jobs/{other}_0_log.out"
    alice.cluster.login.run(
        ["bash", "-c", script], user="alice", cwd=f"/home/alice/{STATE}/sessions/testbed"
    )
    told = alice.slurm_nb("tunnel-cmd", other)
    alice.cluster.login.run(["scancel", record["job_id"]], user="alice")
    alice.cluster.login.run(["scancel", other], user="mallory")
    shutil.rmtree(sessions / other)

    our_trial.verdict("ssh " in told.stdout or told.exit_code == 0, told)
