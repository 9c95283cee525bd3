"""The other ways to run a session: socket, direct, TLS, password, with a debugger."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.attacks.owner import Owner
from tests.attacks.score_table import Trial
from tests.attacks.target import PYTHON, Stranger, await_line, finish
from tests.cluster.users import ALICE
from tests.e2e.scientist import Scientist


@contextmanager
def submitted(alice: Scientist, *words: str) -> Iterator[dict[str, Any]]:
    """Submit a session on c1 in one of the other ways."""
    record = alice.submit("-w", "c1", *words)
    try:
        yield record
    finally:
        alice.slurm_nb("cancel", record["job_id"])


@pytest.fixture(scope="module")
def before(alice: Scientist) -> list[list[Any]]:
    """Return Alice's listeners on c1 that exist already: other sessions of this run."""
    return _on_c1(Stranger(alice.cluster.hosts["c1"]))


@pytest.fixture(scope="module")
def on_socket(alice: Scientist) -> Iterator[tuple[dict[str, Any], Owner]]:
    """Start a session with nothing on TCP, and a kernel in it."""
    with submitted(alice, "--listen", "socket") as record:
        token = alice.token(record["job_id"])
        owner = Owner.start(alice.cluster.hosts["c1"], f"unix:{_socket(record)}", token)
        yield record, owner
        owner.close()


@pytest.fixture(scope="module")
def direct(alice: Scientist) -> Iterator[dict[str, Any]]:
    """Start a session that the login node reaches by TCP, with a certificate."""
    with submitted(alice, "--route", "direct", "--tls") as record:
        yield record


@pytest.fixture
def mallory(alice: Scientist) -> Stranger:
    """Return Mallory on the node of these sessions."""
    return Stranger(alice.cluster.hosts["c1"])


SocketSession = tuple[dict[str, Any], Owner]


def _on_c1(mallory: Stranger) -> list[list[Any]]:
    listeners: list[list[Any]] = json.loads(mallory.run("listening"))
    return [each for each in listeners if each[2] == ALICE.uid]


def test_socket_session_on_tcp(
    our_trial: Trial, before: list[list[Any]], on_socket: SocketSession, mallory: Stranger
) -> None:
    """Look for a TCP port of a socket session: none but a kernel's inbound pipe, on loopback."""
    assert on_socket[0]["port"] is None
    added = [each for each in _on_c1(mallory) if each not in before]
    wide = [each for each in added if each[0] != "0100007F"]

    our_trial.verdict(bool(wide) or len(added) > 1, added)


def test_socket_session_by_its_socket(
    our_trial: Trial, on_socket: SocketSession, mallory: Stranger
) -> None:
    """Connect to a socket session's path, which Slurm does not hide: its folder is 0700."""
    told = mallory.run("unix_sockets", OWNER="alice")
    path = _socket(on_socket[0])
    told += mallory.bash(f"ls -l {path}")

    our_trial.verdict("connected" in told or "srw" in told, told)


def test_socket_session_iopub(
    our_trial: Trial, on_socket: SocketSession, mallory: Stranger
) -> None:
    """Subscribe to every port of the node during a socket session: nothing is heard."""
    spy = mallory.start("eavesdrop", WANTED="SOCKET-VALUE", SECONDS_="2")
    assert await_line(spy) == "listening"
    on_socket[1].run("import time\nfor _ in range(15): print('SOCKET-' + 'VALUE'); time.sleep(.1)")

    heard = finish(spy)

    our_trial.verdict("SOCKET-VALUE" in heard, heard)


def test_direct_on_one_address(our_trial: Trial, direct: dict[str, Any], mallory: Stranger) -> None:
    """Reach a direct session on another address of the node: it is bound to one, never to all."""
    ours = [each for each in _on_c1(mallory) if each[1] == direct["port"]]

    our_trial.verdict(any(int(address, 16) == 0 for address, _, _ in ours) or len(ours) != 1, ours)


def test_direct_without_token(our_trial: Trial, direct: dict[str, Any], alice: Scientist) -> None:
    """Call a direct session's REST from the login node without a token: 403."""
    seen = _from_login(alice, direct, "/api/kernels", tls=True)

    assert seen["status"] in {403, 401}, seen
    our_trial.verdict(seen["status"] == 200, seen)


def test_direct_unencrypted(our_trial: Trial, direct: dict[str, Any], alice: Scientist) -> None:
    """Talk plain HTTP to a direct session with TLS, to read along: everything is encrypted."""
    seen = _from_login(alice, direct, "/api", tls=False)

    our_trial.verdict("version" in seen["body"], seen)


def test_direct_by_another_certificate(
    our_trial: Trial, direct: dict[str, Any], alice: Scientist
) -> None:
    """Impersonate a direct session with another certificate: its fingerprint is printed."""
    port = direct["port"]
    fetch = (
        "import ssl, hashlib; print(hashlib.sha256(ssl.PEM_cert_to_DER_cert("
        f"ssl.get_server_certificate(('c1', {port})))).hexdigest())"
    )
    seen = alice.cluster.login.run([PYTHON, "-c", fetch], user="mallory").stdout.strip()
    told = alice.slurm_nb("tunnel-cmd", direct["job_id"])
    words = (told.stdout + told.stderr).replace(":", "").lower()

    our_trial.verdict(seen not in words, (seen, told))


def test_password_url(our_trial: Trial, alice: Scientist) -> None:
    """Read the printed URL of a password session over Alice's shoulder: it contains no secret."""
    password = "correct horse battery staple"  # noqa: S105  of this test only
    terminal = alice.cluster.login.open_terminal(["slurm-nb", "password"], user="alice")
    for _ in range(2):
        while not os.read(terminal.master, 4096).rstrip().endswith(b":"):  # the prompt
            pass
        os.write(terminal.master, f"{password}\n".encode())
    terminal.process.wait(30)
    terminal.close()
    with submitted(alice, "--auth", "password") as record:
        found = alice.cluster.login.run(
            ["grep", "-rl", password, "/home/alice/.local"], user="alice", check=False
        ).stdout
        plan = {"address": "127.0.0.1", "port": record["port"], "requests": []}
        wrong = {"path": "/login", "method": "POST", "body": "password=guess", "cookies": True}
        plan["requests"] = [{"path": "/login"}, wrong, {"path": "/api/kernels", "cookies": True}]
        answers = json.loads(Stranger(alice.cluster.hosts["c1"]).run("web", PLAN=json.dumps(plan)))

    got_in = "token=" in record["url"] or bool(found) or answers[-1]["status"] == 200
    our_trial.verdict(got_in, (record["url"], found, answers))


def test_debugger_that_the_owner_allowed(our_trial: Trial, alice: Scientist) -> None:
    """Speak DAP to a debugger that Alice allowed: open on purpose, and slurm-nb says so."""
    said = alice.slurm_nb("submit", "--allow-debugger", "--json")
    job_id = json.loads(said.stdout)["job_id"]
    again = alice.slurm_nb("tunnel-cmd", job_id)
    alice.slurm_nb("cancel", job_id)

    told = "Note: while a notebook's debugger is on, any user on this node can run code as you\n"
    our_trial.verdict(told not in said.stderr or told not in again.stderr, said)


def _from_login(alice: Scientist, direct: dict[str, Any], path: str, *, tls: bool) -> Any:
    """Return the answer of a direct session to a stranger on the login node."""
    plan = {"address": "c1", "port": direct["port"], "tls": tls, "requests": [{"path": path}]}
    told = Stranger(alice.cluster.login).run("web", PLAN=json.dumps(plan))
    return json.loads(told)[0]


def _socket(record: dict[str, Any]) -> str:
    """Return the path that a socket session's tunnel leads to."""
    words: list[str] = record["tunnel_command"].split()
    return words[words.index("-L") + 1].split(":", 2)[2]
