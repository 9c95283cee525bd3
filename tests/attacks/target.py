"""What is attacked: Alice's running Jupyter, with the ways in that a stranger has."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.attacks.owner import Owner
from tests.cluster import Cluster, Host

PYTHON = "/srv/venv/bin/python"
_PROGRAMS = Path(__file__).with_name("programs")


def program(name: str) -> str:
    """The text of an attack program."""
    return (_PROGRAMS / f"{name}.py").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Stranger:
    """Mallory, logged in on one host."""

    host: Host
    user: str = "mallory"
    """On the laptop, where he has no account, a program of Lea's stands in for him."""

    def bash(self, script: str, timeout_s: float = 60) -> str:
        """What a script prints, errors too, however it ends."""
        done = self.host.run(
            ["bash", "-c", script], user=self.user, check=False, timeout_s=timeout_s
        )
        return done.stdout + done.stderr

    def start(self, name: str, **env: str) -> subprocess.Popen[str]:
        """An attack program, begun; `finish` ends it."""
        process = self.host.popen([PYTHON, "-c", program(name)], user=self.user, env=env)
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
        return process

    def run(self, name: str, timeout_s: float = 60, **env: str) -> str:
        """What an attack program prints."""
        return finish(self.start(name, **env), timeout_s)


def finish(process: subprocess.Popen[str], timeout_s: float = 60) -> str:
    """What is still to come of an attack program's output, errors too."""
    try:
        out, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate(timeout=20)
        raise
    return out + errors


def await_line(process: subprocess.Popen[str]) -> str:
    """The next line of a program that has been begun; empty when it has ended."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@dataclass(frozen=True)
class Target:
    """One running Jupyter of Alice's."""

    kind: str
    """`plain` or `slurm-nb`."""
    cluster: Cluster
    job_id: str
    node: str
    port: int
    token: str
    log: Path
    """The job's output, as the hosts see it."""
    local_port: int
    """Where her tunnel ends on the laptop."""
    owner: Owner

    @property
    def on_node(self) -> Stranger:
        """Mallory on the compute node of the session."""
        return Stranger(self.cluster.hosts[self.node])

    @property
    def on_login(self) -> Stranger:
        """Mallory on the login node."""
        return Stranger(self.cluster.login)

    def web(
        self,
        requests: Sequence[dict[str, Any]],
        *,
        host: str = "laptop",
        user: str = "lea",
        address: str = "127.0.0.1",
    ) -> list[dict[str, Any]]:
        """HTTP requests, one after the other; programs/web.py says what they hold.

        From the laptop they go through Alice's tunnel, from elsewhere to the port itself.
        """
        port = self.local_port if host == "laptop" else self.port
        plan = {"address": address, "port": port, "requests": list(requests)}
        done = self.cluster.hosts[host].run(
            [PYTHON, "-c", program("web")],
            user=user,
            env={"PLAN": json.dumps(plan)},
            timeout_s=60,
        )
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        return answers

    def as_mallory(self, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        """The same by Mallory on the node, to the loopback port."""
        return self.web(requests, host=self.node, user="mallory")

    def listening(self) -> list[tuple[str, int, int]]:
        """What listens on the node: address as /proc writes it, port, uid."""
        told = json.loads(self.on_node.run("listening"))
        return [(address, port, uid) for address, port, uid in told]
