"""The audit's checks that run inside the job."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import zmq

from slurm_nb.joblog.events import Ready
from slurm_nb.kit import processes
from slurm_nb.kit.audit import audit as node_part
from slurm_nb.kit.audit import listeners, probe
from slurm_nb.operations.audit import LISTENER, NODE_CHECKS, Check, parse_node

TOKEN = "ab" * 32


@contextmanager
def started(environ: dict[str, str], code: str) -> Iterator[subprocess.Popen[str]]:
    """Start a Python process and yield it once it has printed its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


CHILD = (
    "import pathlib, subprocess\n"
    "c = subprocess.Popen(['sleep', '60'], env={})\n"
    "while not pathlib.Path(f'/proc/{c.pid}/cmdline').read_bytes(): pass\n"  # exec has happened
    "print(1, flush=True); c.wait()"
)


@pytest.mark.parametrize(
    ("environ", "asked", "found"),
    [
        ({"SLURM_NB_SESSION": "local/local-990009"}, ("local", "local-990009"), 2),
        ({"SLURM_NB_SESSION": "local/local-990009"}, ("local", "local-990008"), 0),
        ({"SLURM_NB_SESSION": "audited/9", "SLURM_JOB_ID": "9"}, ("audited", "9"), 2),
        ({"SLURM_JOB_ID": "999999"}, ("audited", "999999"), 2),
        ({"SLURM_NB_SESSION": "audited/9", "SLURM_JOB_ID": "10"}, ("audited", "9"), 0),
    ],
)
def test_the_audit_finds_the_jobs_processes(
    environ: dict[str, str], asked: tuple[str, str], found: int
) -> None:
    """It knows them by the mark or Slurm's job id, also children that emptied their environment."""
    with started(environ, CHILD) as parent:
        found_processes = list(processes.of_session(*asked))

        assert len(found_processes) == found
        assert not found or str(parent.pid) in str(found_processes[0])
        subprocess.run(["pkill", "-P", str(parent.pid)], check=False)


def test_the_audit_recognises_the_inbound_pipe_among_listeners() -> None:
    """A socket that sends anything is not ipykernel's inbound pipe."""
    context: Any = zmq.Context()
    with context.socket(zmq.PULL) as pull, context.socket(zmq.PUB) as publisher:
        ports = [each.bind_to_random_port("tcp://127.0.0.1") for each in (pull, publisher)]
        answers = [probe.is_pull(f"127.0.0.1:{port}") for port in ports]
    context.term()

    assert answers == [True, False]
    assert not probe.is_pull("127.0.0.1:1")
    assert not probe.is_pull("0.0.0.0:1")


class Open(BaseHTTPRequestHandler):
    """A server that lets everybody in."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Log nothing."""


def test_an_open_server_fails_the_audit() -> None:
    """It must answer 403 without the token and for other Hosts, and 200 with the token."""
    server = HTTPServer(("127.0.0.1", 0), Open)
    ready = asdict(Ready(node="c1", port=server.server_port, path="/tree"))
    server_process = processes.Process(51, [b"python"], [], set())
    job = node_part.Job([], server_process, "/tmp", ready, "token", TOKEN, terminals=False)
    with server:
        Thread(target=server.serve_forever, daemon=True).start()
        opened = list(node_part._door(job))  # noqa: SLF001  it runs as a program
        (terminals,) = node_part._terminals(job)  # noqa: SLF001
        server.shutdown()
    shut = list(node_part._door(job))  # noqa: SLF001  it runs as a program

    assert [passed for _, passed, _ in opened] == [False, False, True, False]
    assert not any(passed for _, passed, _ in shut)
    assert opened[3][2] == "Host: evil.example -> 200"
    assert terminals == ("terminals", False, "on: GET /api/terminals -> 200")


@pytest.mark.parametrize(("soft", "passed"), [("0", True), ("unlimited", False), ("1", False)])
def test_core_dumps_must_be_off(monkeypatch: pytest.MonkeyPatch, soft: str, passed: bool) -> None:  # noqa: FBT001
    """A core file would hold the token, so the server's soft limit must be 0."""
    limits = f"Limit  Soft Limit\nMax core file size        {soft}    unlimited   bytes\n"
    monkeypatch.setattr(processes, "read", lambda _path: limits.encode())
    server = processes.Process(51, [b"/opt/python", b"-m", b"notebook"], [], set())
    job = node_part.Job([server], server, "/tmp", {}, "token", TOKEN, terminals=True)

    ((name, verdict, evidence),) = node_part._core(job)  # noqa: SLF001  it runs as a program

    assert (name, verdict) == ("core dumps", passed)
    assert evidence == f"limit {soft} bytes, process 51 (python -m notebook)"


def test_the_node_uses_the_check_names_that_the_login_node_expects() -> None:
    """Both sides spell every name in the same way."""
    text = "".join(Path(str(part.__file__)).read_text("utf-8") for part in (node_part, listeners))

    assert [name for name in NODE_CHECKS if f'"{name}"' not in text] == []


def test_a_stopped_server_is_reported_after_one_timeout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The kernel accepts the connection, but nobody answers."""
    monkeypatch.setattr(probe, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(probe.get, "__defaults__", (0.3,))
    monkeypatch.setattr(node_part, "_PARTS", (node_part._door, node_part._report))  # noqa: SLF001
    (tmp_path / "token").write_text(TOKEN, encoding="ascii")
    asked = {"cluster": "hpc", "job_id": "7", "token_file": str(tmp_path / "token")}
    with socket.create_server(("127.0.0.1", 0)) as stopped:
        ready = asdict(Ready(node="c1", port=stopped.getsockname()[1], path="/tree"))
        server = processes.Process(51, [b"python"], [], set())
        job = node_part.Job([], server, "/tmp", ready, "token", TOKEN, terminals=False)
        monkeypatch.setattr(node_part, "_job", lambda *_: job)
        began = time.monotonic()
        node_part.main(asked)

    assert time.monotonic() - began < 0.6
    (check,) = parse_node(capsys.readouterr().out)
    assert check == Check(
        LISTENER, passed=False, evidence="Jupyter accepts no request: no answer within 0.3 s"
    )
