"""A host: one process tree in namespaces of its own, and running commands in it."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .users import home_of

DEBIAN_PYTHON = "/usr/bin/python3"
PATH = "/srv/venv/bin:/usr/local/bin:/usr/bin:/bin"
HERE = Path(__file__).resolve().parent


class CommandError(subprocess.CalledProcessError):
    """A checked command ended with another exit code than 0; its text shows both outputs."""

    def __str__(self) -> str:
        return f"{super().__str__()}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


def run_here(command: Sequence[str], *, timeout_s: float, cwd: Path | None = None) -> str:
    """Run a command on this machine and return its stdout; raise CommandError if it fails."""
    ended = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if ended.returncode != 0:
        raise CommandError(ended.returncode, list(command), ended.stdout, ended.stderr)
    return ended.stdout


@dataclass(frozen=True)
class Terminal:
    """A command on a pseudo-terminal."""

    process: subprocess.Popen[bytes]
    """Signals sent to it reach the command's process group."""
    master: int
    """File descriptor of the near end: write the user's input, read the screen.

    b"\\x03" is Ctrl-C. Reading fails with EIO once the command has ended.
    """

    def close(self) -> None:
        """Kill the command and close the near end."""
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@dataclass(frozen=True)
class Host:
    """One machine of the cluster."""

    name: str
    init_pid: int
    """PID, on this machine, of the host's PID 1."""
    unshare: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)
    """The process that holds the namespaces; None for a host that another process started."""

    @property
    def root(self) -> Path:
        """The host's file tree as seen from outside: `host.root / "home/alice"`.

        An absolute symbolic link below it leads out of it.
        """
        return Path(f"/proc/{self.init_pid}/root")

    def run(  # noqa: PLR0913  one keyword per property of a process, as in subprocess
        self,
        command: Sequence[str],
        *,
        user: str = "root",
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin_text: str | None = None,
        timeout_s: float = 30,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with the environment of a fresh login plus `env`.

        cwd: the user's home without it. check: raise CommandError unless it exits with 0. A command
        that outlives `timeout_s` is killed (its own children are not), and TimeoutExpired raised.
        Without stdin_text, stdin is empty.
        """
        ended = subprocess.run(
            self._entry(command, user=user, cwd=cwd, mode="session"),
            env=environment(user, env or {}),
            input=stdin_text,
            stdin=subprocess.DEVNULL if stdin_text is None else None,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            start_new_session=True,
            check=False,
        )
        if check and ended.returncode != 0:
            raise CommandError(ended.returncode, list(command), ended.stdout, ended.stderr)
        return subprocess.CompletedProcess(
            list(command), ended.returncode, ended.stdout, ended.stderr
        )

    def popen(
        self,
        command: Sequence[str],
        *,
        user: str = "root",
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a command with three pipes; it ends no later than the cluster.

        Signals sent to it reach its whole process group, as a Ctrl-C would; `kill()` kills only the
        command.
        """
        return subprocess.Popen(
            self._entry(command, user=user, cwd=cwd, mode="session"),
            env=environment(user, env or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )

    def open_terminal(
        self,
        command: Sequence[str],
        *,
        user: str,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Terminal:
        """Start a command on its own pseudo-terminal."""
        master, slave = os.openpty()
        try:
            process = subprocess.Popen(
                self._entry(command, user=user, cwd=cwd, mode="terminal"),
                env=environment(user, {"TERM": "xterm", **(env or {})}),
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        return Terminal(process, master)

    def login_shell(self, user: str) -> int:
        """Open an interactive login shell on the caller's own terminal and return its exit code."""
        entry = self._entry(["/bin/bash", "--login"], user=user, cwd=None, mode="foreground")
        env = environment(user, {"TERM": os.environ.get("TERM", "dumb")})
        return subprocess.run(entry, env=env, check=False).returncode

    def _entry(
        self, command: Sequence[str], *, user: str, cwd: str | Path | None, mode: str
    ) -> list[str]:
        enter = [DEBIAN_PYTHON, "-I", str(HERE / "enter.py"), str(self.init_pid)]
        return [*enter, user, str(cwd or home_of(user)), mode, *command]


def environment(user: str, added: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a fresh login of a user, plus what is added."""
    path = f"{PATH}:/usr/sbin:/sbin" if user == "root" else PATH
    return {
        "HOME": home_of(user),
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/bash",
        "PATH": path,
        "LANG": "C.UTF-8",
        **added,
    }


def start_host(name: str, plan: Path, *, stay: bool) -> Host:
    """Start the namespaces of a host; it is not furnished before `await_ready`.

    plan: see init.py. stay: let the host outlive this process.
    """
    unshare = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--mount-proc"]
    init = [DEBIAN_PYTHON, "-I", str(HERE / "init.py"), str(plan), *(["--stay"] if stay else [])]
    with plan.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            [*unshare, "--kill-child", "--", *init],
            stdin=subprocess.DEVNULL if stay else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        )
    return Host(name, 0, process)


def await_ready(starting: Host) -> Host:
    """Wait until a host's PID 1 has furnished it; return the host with its `init_pid`."""
    process = starting.unshare
    assert process is not None
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        raise RuntimeError(f"host {starting.name} did not start")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii")
    return Host(starting.name, int(children), process)
