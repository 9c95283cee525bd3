"""The actions of a scientist: slurm-nb on the login node, ssh and a browser on the laptop."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import Cluster, Host
from tests.cluster.users import ALICE, User

# As sshd sets it for someone who came from the laptop.
SSH_CONNECTION = {"SSH_CONNECTION": "10.97.0.2 50000 10.97.0.1 22"}
STATE = Path(".local/state/slurm-nb")
_CLIENT = Path(__file__).with_name("laptop_client.py").read_text(encoding="utf-8")


def await_port(host: Host, port: int) -> None:
    """Return when something listens on a port of the host's loopback."""
    look = f"for _ in {{1..200}}; do : </dev/tcp/127.0.0.1/{port} && exit; sleep 0.1; done"
    host.run(["bash", "-c", f"{{ {look}; }} 2>/dev/null; exit 1"])


@dataclass(frozen=True)
class Said:
    """The output of a command, and how it ended."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Scientist:
    """Alice (or another owner) on the login node, and at their laptop."""

    cluster: Cluster
    user: User = ALICE

    @property
    def home(self) -> Path:
        """The home on the cluster, as this process sees it."""
        return self.cluster.login.root / self.user.home.removeprefix("/")

    @property
    def state(self) -> Path:
        """The state directory of slurm-nb, as this process sees it."""
        return self.home / STATE

    def slurm_nb(
        self,
        *words: str,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 90,
        host: str = "login",
    ) -> Said:
        """Run slurm-nb on the login node, or on another host."""
        done = self.cluster.hosts[host].run(
            ["slurm-nb", *words],
            user=self.user.name,
            env={**SSH_CONNECTION, **(env or {})},
            timeout_s=timeout_s,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def on_terminal(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        """Return what slurm-nb leaves on the terminal, its live line erased; without ssh."""
        command = ["slurm-nb", *words]
        terminal = self.cluster.login.open_terminal(command, user=self.user.name, env=env)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: it has ended
            while more := os.read(terminal.master, 65536):
                shown += more
        terminal.close()
        text = shown.decode().replace("\r\n", "\n")
        return re.sub(r"\r[^\n]*\x1b\[K", "", text)

    def submit(self, *words: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Submit, wait until it is ready, and return the JSON object."""
        said = self.slurm_nb("submit", "--json", *words, env=env)
        assert said.exit_code == 0, said
        record: dict[str, Any] = json.loads(said.stdout)
        return record

    def token(self, job_id: str) -> str:
        """Return the token in the session's own file."""
        return (self.state / "sessions/testbed" / job_id / "token").read_text()

    def log(self, job_id: str) -> str:
        """Return the job's output."""
        return (self.state / f"jobs/{job_id}_0_log.out").read_text()

    @contextlib.contextmanager
    def tunnel(self, command: str) -> Iterator[None]:
        """Run a printed command on the laptop, unchanged, while the block lasts.

        A relay says itself when it is ready.
        """
        ssh = self.cluster.laptop.popen(["bash", "-c", f"exec {command}"], user="lea")
        try:
            if command.startswith("ssh -t "):
                assert ssh.stdout is not None
                assert any("Leave this running" in line for line in ssh.stdout)
            yield
        finally:
            ssh.terminate()
            _, errors = ssh.communicate(timeout=20)
            print(errors)  # noqa: T201  pytest shows it where a test fails

    def run_cell(
        self, url: str, code: str, *, notebook: str = "", leave_at: str = ""
    ) -> dict[str, Any]:
        """Open the URL on the laptop and run a cell in a new kernel.

        notebook: whose kernel it is. leave_at: go when it has printed this, while it still runs.

        `{"page_status": 200, "no_token_status": 403, "output": "..."}`
        """
        done = self.cluster.laptop.run(
            ["/srv/venv/bin/python", "-"],
            user="lea",
            env={"NB_URL": url, "NB_CODE": code, "NB_NOTEBOOK": notebook, "NB_LEAVE_AT": leave_at},
            stdin_text=_CLIENT,
            timeout_s=90,
        )
        record: dict[str, Any] = json.loads(done.stdout)
        return record

    def squeue(self, form: str) -> list[str]:
        """Return lines of squeue on the user's jobs that have not ended."""
        done = self.cluster.login.run(
            ["squeue", f"--user={self.user.name}", "-h", "-o", form], user=self.user.name
        )
        return done.stdout.split("\n")[:-1]

    def processes(self, host: str) -> str:
        """Return the user's processes on a host: `PID COMMAND` lines.

        Zombies are left out: this machine's PID 1 reaps the killed processes of a host, or never
        does.
        """
        listed = ["ps", "-u", self.user.name, "-o", "stat=,pid=,args="]
        done = self.cluster.hosts[host].run(listed, check=False)
        lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
        return "".join(f"{line}\n" for state, line in lines if not state.startswith("Z"))

    def program(self, name: str, text: str) -> dict[str, str]:
        """Put a program first on the user's PATH; return the environment with that PATH."""
        folder = self.home / "bin"
        folder.mkdir(exist_ok=True)
        os.chown(folder, self.user.uid, self.user.uid)
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
        return {"PATH": f"{self.user.home}/bin:/srv/venv/bin:/usr/local/bin:/usr/bin:/bin"}

    def run_folders(self) -> list[Path]:
        """Return the jobs' node-local directories, on every node."""
        nodes = [host for name, host in self.cluster.hosts.items() if name.startswith("c")]
        return [path for host in nodes for path in (host.root / "tmp").glob("slurm-nb.*")]

    def clean_up(self) -> None:
        """End the user's jobs and local sessions, and remove the files of slurm-nb."""
        self.cluster.cancel_jobs()
        if (self.state / "sessions/local").exists():
            self.slurm_nb("cancel", "--all")
        for name in (".local", "bin", ".jupyter", ".ipython"):
            subprocess.run(["rm", "-rf", str(self.home / name)], check=True, timeout=20)
