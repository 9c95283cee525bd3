"""Alice at their notebook: a program on the node that acts like their browser."""

from __future__ import annotations

import json
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.cluster import Host

_PROGRAM = Path(__file__).with_name("programs") / "owner.py"


@dataclass(frozen=True)
class Owner:
    """One kernel of Alice, kept for the whole run."""

    process: subprocess.Popen[str]
    host: Host
    url: str
    token: str
    kernel: str = ""

    @classmethod
    def start(cls, host: Host, url: str, token: str) -> Owner:
        """Open the session at `url` (`http://127.0.0.1:8888`, `unix:/path`), start a kernel."""
        words = ["/srv/venv/bin/python", "-c", _PROGRAM.read_text(encoding="utf-8")]
        env = {"NB_URL": url, "NB_TOKEN": token}
        owner = cls(host.popen(words, user="alice", env=env), host, url, token)
        return replace(owner, kernel=str(owner.answer(timeout_s=60)["kernel"]))

    @contextmanager
    def other_kernel(self) -> Iterator[Owner]:
        """Start a second kernel in the same session, for code that may break it."""
        other = Owner.start(self.host, self.url, self.token)
        try:
            yield other
        finally:
            other.ask("rest", method="DELETE", path=f"/api/kernels/{other.kernel}")
            other.close()

    def answer(self, timeout_s: float = 30) -> dict[str, Any]:
        """Return the owner's next answer."""
        stdout = self.process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], timeout_s)
        line = stdout.readline() if ready else ""
        if not line:
            self.process.kill()
            raise AssertionError(f"the owner did not answer: {self.process.communicate()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, what: str, timeout_s: float = 30, **more: Any) -> dict[str, Any]:
        """Make the owner do one thing: `run` code, `debug` command, `rest` method path body."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self.process.stdin.flush()
        return self.answer(timeout_s)

    def run(self, code: str, timeout_s: float = 30) -> str:
        """Return the output of a cell."""
        return str(self.ask("run", timeout_s, code=code)["output"])

    def debug(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer of the kernel's debugger, as JupyterLab would get it."""
        return self.ask("debug", command=command, arguments=arguments)

    def close(self) -> None:
        """Close the owner's notebook."""
        self.process.kill()
        self.process.communicate(timeout=20)
