"""The processes of a relay: ssh-keygen, and the login node's ssh with srun below it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from slurm_nb.errors import SchedulerError
from slurm_nb.scheduler.run import QUERY_TIMEOUT_S, query_environ, run

_PR_SET_PDEATHSIG = 1
_END_S = 5.0
_WORDS_BYTES = 2000


def make_key(path: Path, comment: str) -> None:
    """Make a key pair without a passphrase in `path` and `path`.pub, mode 0600.

    ECDSA, which FIPS 140 allows. Raises `SchedulerError`.
    """
    argv = ["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-C", comment, "-f", str(path)]
    answer = run(argv, timeout_s=QUERY_TIMEOUT_S)
    if answer.exit_code:
        raise SchedulerError(f"ssh-keygen cannot make {path}: {answer.words}")
    path.with_name(f"{path.name}.pub").chmod(0o600)


class RelayProcess:
    """The login node's ssh, which ends with this object or with this program."""

    def __init__(self, config: Path, host: str) -> None:
        """config: of ssh, which has the forward. Raises `SchedulerError`."""
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        try:
            self._ssh = subprocess.Popen(
                ["ssh", "-F", str(config), "-N", host],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._words,
                env=query_environ(os.environ),
                start_new_session=True,  # Ctrl-C is for this program
                preexec_fn=_end_with_parent,  # noqa: PLW1509  this program has one thread
            )
        except FileNotFoundError as error:
            raise SchedulerError(
                "ssh is not on PATH, and the relay needs it", hint="install OpenSSH's client"
            ) from error
        except OSError as error:
            raise SchedulerError(f"cannot run ssh: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()

    def is_running(self) -> bool:
        """Return whether ssh runs."""
        return self._ssh.poll() is None

    def words(self) -> str:
        """Return the last of what ssh, srun and sshd said, on one line."""
        end = self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, end - _WORDS_BYTES))
        return " ".join(self._words.read().decode(errors="replace").split())

    def stop(self) -> None:
        """End ssh and srun, and with it the step."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):  # srun may outlive ssh, in its group
                os.killpg(self._ssh.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._ssh.wait(_END_S)
        self._words.close()


def _end_with_parent() -> None:
    """Have the kernel end ssh when this program dies, however that happens (prctl(2))."""
    try:
        import ctypes  # noqa: PLC0415  not every Python was built with it

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        return
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if os.getppid() == 1:
        sys.exit(1)
