"""A stolen token, and a flood: the loopback serves only root's and the owner's processes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.score_table import Trial
from tests.attacks.target import PYTHON, Target, await_line, finish, program
from tests.attacks.test_web import JSON, UPGRADE
from tests.e2e.scientist import Scientist

CONNECTIONS = 4217
"""More than the limit on open files, 4096, that Jupyter sets itself."""
LOG_BYTES = 100_000
LISTEN = """
import socket, sys, time
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    print("listening", flush=True)
    time.sleep(60)
"""


def _header(target: Target) -> dict[str, str]:
    return {"Authorization": f"token {target.token}"}


def test_stolen_token(trial: Trial) -> None:
    """Run code with the stolen token on the node: another user's connection is closed."""
    wish = {"path": "/api/terminals", "method": "POST", "body": "{}"}
    (answer,) = trial.target.as_mallory({**wish, "headers": _header(trial.target) | JSON})

    trial.verdict(answer["status"] == 200, answer)


def test_stolen_token_by_websocket(trial: Trial) -> None:
    """Listen to the kernel's websocket with the stolen token: another user is not served."""
    listed = trial.target.owner.ask("rest", method="GET", path="/api/kernels")
    kernel = json.loads(listed["body"])[0]["id"]
    path = f"/api/kernels/{kernel}/channels?token={trial.target.token}"
    (answer,) = trial.target.as_mallory({"path": path, "headers": UPGRADE})

    trial.verdict(answer["status"] == 101, answer)


def test_stolen_token_by_ipv6(trial: Trial) -> None:
    """Use the stolen token by an IPv6 socket, ::ffff:127.0.0.1: its owner is found as well."""
    wish = {"path": "/api/contents", "headers": _header(trial.target)}
    target = trial.target
    (answer,) = target.web([wish], host=target.node, user="mallory", address="::ffff:127.0.0.1")

    trial.verdict(answer["status"] == 200, answer)


@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_stolen_token_blindly(trial: Trial, how: str) -> None:
    """Write with the stolen token and close at once, so that nobody owns the socket: not served."""
    target = trial.target
    mark = f"blind-{target.kind}-{how}.txt"
    told = target.on_node.run(
        "blind", PORT=str(target.port), TOKEN=target.token, MARK=mark, HOW=how
    )

    listed = target.owner.ask("rest", method="GET", path="/api/contents")
    trial.verdict(mark in listed["body"], told + listed["body"][:2000])


def test_stolen_token_from_the_owners_port(trial: Trial) -> None:
    """Use the stolen token while the server stalls, from a port that Alice listens on: not served.

    The attacker's socket ends before the server looks, and the kernel then shows Alice's.
    """
    target = trial.target
    host = target.cluster.hosts[target.node]
    mark = f"linger-{target.kind}.txt"
    server = target.owner.run("import os; print(os.getppid())").strip()
    variables = {"PORT": str(target.port), "TOKEN": target.token, "MARK": mark}
    with (
        host.popen([PYTHON, "-c", program("linger")], user="mallory", env=variables) as attack,
        host.popen([PYTHON, "-c", LISTEN, await_line(attack)], user="alice") as alice,
    ):
        assert await_line(alice) == "listening"
        host.run(["kill", "-STOP", server])
        assert attack.communicate("\n", timeout=20)[0] == "sent\n"
        time.sleep(2)  # the kernel keeps the closed socket for one second
        host.run(["kill", "-CONT", server])
        listed = target.owner.ask("rest", method="GET", path="/api/contents")
        alice.kill()

    trial.verdict(mark in listed["body"], listed["body"][:2000])


def test_advice_after_a_strangers_connection(our_trial: Trial, alice: Scientist) -> None:
    """Make Alice weaken sessions by connecting first: the note says when to ignore it."""
    record = alice.submit("-w", "c1")
    knock = f"exec 3<>/dev/tcp/127.0.0.1/{record['port']}; timeout 5 cat <&3"
    alice.cluster.hosts["c1"].run(["bash", "-c", knock], user="mallory", check=False)
    told = alice.slurm_nb("tunnel-cmd", record["job_id"]).stderr
    alice.slurm_nb("cancel", record["job_id"])
    words = " ".join(told.split())

    assert "refused a connection from mallory" in words, told
    our_trial.verdict("ignore this if the page opens" not in words, told)


def test_stolen_token_by_ssh(trial: Trial) -> None:
    """Use the stolen token through Mallory's own ssh to the node: sshd forwards as Mallory."""
    target = trial.target
    forward = f"ssh -o StrictHostKeyChecking=no -N -L 45871:127.0.0.1:{target.port} {target.node}"
    ask = (
        f"{forward} & for _ in {{1..99}}; do : </dev/tcp/127.0.0.1/45871 && break; sleep 0.1; done;"
        f" curl -s -m 10 -o /dev/null -w '%{{http_code}}' -H 'Authorization: token {target.token}'"
        " http://127.0.0.1:45871/api/contents; kill $!"
    )
    told = target.on_login.bash(f"{{ {ask}; }} 2>/dev/null")

    trial.verdict("200" in told, told)


def test_the_owners_own_ssh_is_served(trial: Trial) -> None:
    """Lock Alice out by closing connections: the owner's tunnel still gets everything."""
    (answer,) = trial.target.web([{"path": "/api/contents", "headers": _header(trial.target)}])

    trial.verdict(answer["status"] != 200, answer, on_plain=False)


def test_flood(trial: Trial) -> None:
    """Fill the home through the job's log, by 4,217 connections: closed and logged once."""
    written, answer = flood(trial.target)

    if trial.target.kind == "slurm-nb":
        assert answer["status"] == 200, answer
    trial.verdict(written > LOG_BYTES, (written, answer))


def flood(target: Target) -> tuple[int, dict[str, Any]]:
    """Return the bytes in the log after Mallory's flood, and an answer to Alice during it."""
    log = Path(target.cluster.login.root / str(target.log)[1:])
    before = log.stat().st_size
    number = str(CONNECTIONS)
    process = target.on_node.start("flood", PORT=str(target.port), NUMBER=number, SECONDS_="3")
    (answer,) = target.web([{"path": "/api/contents", "headers": _header(target)}])
    finish(process, timeout_s=120)
    return log.stat().st_size - before, answer
