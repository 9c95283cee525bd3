"""The processes of a relay: ssh-keygen, and the login node's ssh with srun below it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from slurm_nb.errors import SchedulerError
from slurm_nb.scheduler.run import QUERY_TIMEOUT_S, query_environ, run

_PR_SET_PDEATHSIG = 1
_END_S = 3.0
_LOOK_S = 0.05
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


# ssh leaves its socket behind. The shell outlives this program if that is killed, ends ssh then,
# and removes the socket. It inherits the socket's lock, so that no new relay has it meanwhile.
_KEEPER = """\
ssh= over=
trap 'over=yes; [ -z "$ssh" ] || kill "$ssh" 2>/dev/null' TERM HUP INT
ssh -F "$1" -N "$2" &
ssh=$!
[ -z "$over" ] || kill "$ssh"
wait "$ssh"
while kill -0 "$ssh" 2>/dev/null; do wait "$ssh"; done
rm -f -- "$3"
[ -z "$4" ] || rmdir -- "$4" 2>/dev/null
"""


class RelayProcess:
    """The login node's ssh, which ends with this object or with this program."""

    def __init__(self, config: Path, host: str, socket: Path, *, lock: int | None) -> None:
        """config: of ssh, which listens on `socket`. lock: a descriptor that keeps the socket.

        Raises `SchedulerError`.
        """
        if shutil.which("ssh") is None:
            raise SchedulerError(
                "ssh is not on PATH, and the relay needs it", hint="install OpenSSH's client"
            )
        in_tmp = str(socket.parent) if socket.parent.parent == Path("/tmp") else ""  # noqa: S108
        words = [str(config), host, str(socket), in_tmp]
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        try:
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", _KEEPER, "sh", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._words,
                env=query_environ(os.environ),
                pass_fds=[] if lock is None else [lock],
                start_new_session=True,  # Ctrl-C is for this program
                preexec_fn=partial(_end_with_parent, os.getpid()),  # noqa: PLW1509  there is one thread
            )
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
        return self._keeper.poll() is None

    def words(self) -> str:
        """Return the last of what ssh, srun and sshd said, on one line."""
        end = self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, end - _WORDS_BYTES))
        return " ".join(self._words.read().decode(errors="replace").split())

    def stop(self) -> None:
        """End ssh and srun, and with it the step."""
        self._signal(signal.SIGTERM)
        until = time.monotonic() + _END_S
        while self._signal(0) and time.monotonic() < until:
            self._keeper.poll()  # a zombie is in its group
            time.sleep(_LOOK_S)
        self._signal(signal.SIGKILL)
        self._keeper.wait()
        self._words.close()

    def _signal(self, number: int) -> bool:
        """Return whether a process of the relay exists, and send it a signal unless that is 0."""
        try:
            os.killpg(self._keeper.pid, number)  # srun may outlive ssh, in its group
        except ProcessLookupError:
            return False
        return True


def _end_with_parent(parent: int) -> None:
    """Have the kernel end ssh when this program dies, however that happens (prctl(2))."""
    try:
        import ctypes  # noqa: PLC0415  not every Python was built with it

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        return
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if os.getppid() != parent:
        sys.exit(1)
