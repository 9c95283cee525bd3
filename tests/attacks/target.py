"""The target of attacks: Alice's running Jupyter, with the connections that a stranger has."""

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
    """Return the text of an attack program."""
    return (_PROGRAMS / f"{name}.py").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Stranger:
    """Mallory, logged in on one host."""

    host: Host
    user: str = "mallory"
    """On the laptop, where Mallory has no account, one of Lea's programs acts for them."""

    def bash(self, script: str, timeout_s: float = 60) -> str:
        """Return the output of a script, errors too, however it ends."""
        done = self.host.run(
            ["bash", "-c", script], user=self.user, check=False, timeout_s=timeout_s
        )
        return done.stdout + done.stderr

    def start(self, name: str, **env: str) -> subprocess.Popen[str]:
        """Start an attack program; `finish` ends it."""
        process = self.host.popen([PYTHON, "-c", program(name)], user=self.user, env=env)
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
        return process

    def run(self, name: str, timeout_s: float = 60, **env: str) -> str:
        """Return the output of an attack program."""
        return finish(self.start(name, **env), timeout_s)


def finish(process: subprocess.Popen[str], timeout_s: float = 60) -> str:
    """Return the rest of an attack program's output, errors too."""
    try:
        out, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate(timeout=20)
        raise
    return out + errors


def await_line(process: subprocess.Popen[str]) -> str:
    """Return the next line of a running program; empty when it has ended."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@dataclass(frozen=True)
class Target:
    """One running Jupyter of Alice."""

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
    """Where Alice's tunnel ends on the laptop."""
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
        """Send HTTP requests, one after the other; programs/web.py describes them.

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
        """Send the same as Mallory on the node, to the loopback port."""
        return self.web(requests, host=self.node, user="mallory")

    def listening(self) -> list[tuple[str, int, int]]:
        """Return the listeners on the node: address as /proc writes it, port, uid."""
        told = json.loads(self.on_node.run("listening"))
        return [(address, port, uid) for address, port, uid in told]
