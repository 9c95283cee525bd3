"""The one place where a program is run for its answer."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from slurm_nb.errors import SchedulerError
from slurm_nb.scheduler.job import Job

# Variables of Slurm's commands that say where Slurm is. Not SLURM_CLUSTERS: a session knows its
# cluster, and is asked after there.
_WHERE = frozenset({"SLURM_CONF", "SLURM_JWT"})
# squeue gives up after 18 to 20 s by itself when the controller hangs (seen on 22.05).
QUERY_TIMEOUT_S = 25.0


@dataclass(frozen=True)
class Result:
    """What a program said."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def words(self) -> str:
        """On one line: its complaint, else its answer, else its exit code."""
        ended = f"exit code {self.exit_code}"
        if self.exit_code < 0:
            ended = f"killed by signal {-self.exit_code}"
        return " ".join((self.stderr or self.stdout).split()) or ended


def run(
    argv: list[str],
    *,
    timeout_s: float,
    stdin: str = "",
    cwd: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Result:
    """Run `argv` in a session of its own, so that Ctrl-C at the terminal does not reach it.

    `stdin` is all that it reads. `SQUEUE_FORMAT` and its like, and the variables of a job that
    this runs in, are left out.
    Raises `SchedulerError` when there is no such program or it takes longer than `timeout_s`.
    """
    inherited = os.environ if environ is None else environ
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            cwd=cwd,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            env=query_environ(inherited),
            start_new_session=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise SchedulerError(f"{argv[0]} is not on PATH", hint="is this a login node?") from error
    except subprocess.TimeoutExpired as error:
        said = error.stderr if isinstance(error.stderr, bytes) else b""
        words = " ".join(said.decode("utf-8", "replace").split())
        raise SchedulerError(
            f"{argv[0]} did not answer within {timeout_s:g} s{f': {words}' if words else ''}"
        ) from error
    except OSError as error:
        raise SchedulerError(f"{argv[0]} can't be run: {error.strerror}") from error
    return Result(done.returncode, done.stdout, done.stderr)


def cluster_option(job: Job) -> list[str]:
    """Return the words that have a Slurm command ask the cluster of `job`."""
    return ["-M", job.cluster] if job.needs_cluster_option else []


def query_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for a Slurm command whose output is parsed."""
    prefixes = ("SLURM_", "SQUEUE_", "SACCT_", "SCANCEL_")
    kept = {k: v for k, v in environ.items() if not k.startswith(prefixes) or k in _WHERE}
    return {**kept, "LC_ALL": "C"}
