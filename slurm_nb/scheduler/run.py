"""Run a program and read its output."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slurm_nb.errors import SchedulerError
from slurm_nb.scheduler.job import Job

# Variables with the location of Slurm. Not SLURM_CLUSTERS: queries name the session's cluster.
_WHERE = frozenset({"SLURM_CONF", "SLURM_JWT"})
_SLURMS = frozenset(
    {"sacct", "sacctmgr", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun"}
)
# squeue itself gives up after 18 to 20 s if the controller hangs (seen on 22.05).
QUERY_TIMEOUT_S = 25.0


@dataclass(frozen=True)
class Result:
    """The output of a program."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def words(self) -> str:
        """The error message on one line, else the output, else the exit code."""
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
    """Run `argv` in its own session, so that Ctrl-C at the terminal does not end it.

    Removes `SQUEUE_FORMAT` and similar variables, and those of an enclosing job. Raises
    `SchedulerError` if there is no such program, it takes longer than `timeout_s`, or it is one of
    Slurm's and cannot read its config file.
    """
    inherited = os.environ if environ is None else environ
    _check_slurm_conf(argv[0], inherited)
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
        raise SchedulerError(
            f"{argv[0]} is not on PATH", hint="run slurm-nb on a login node of your cluster"
        ) from error
    except subprocess.TimeoutExpired as error:
        said = error.stderr if isinstance(error.stderr, bytes) else b""
        words = " ".join(said.decode("utf-8", "replace").split())
        raise SchedulerError(
            f"{argv[0]} did not respond within {timeout_s:g} s{f': {words}' if words else ''}"
        ) from error
    except OSError as error:
        raise SchedulerError(f"cannot run {argv[0]}: {error.strerror}") from error
    return Result(done.returncode, done.stdout, done.stderr)


def _check_slurm_conf(program: str, environ: Mapping[str, str]) -> None:
    """Raise `SchedulerError` if SLURM_CONF is wrong: Slurm's commands would retry for a minute."""
    path = environ.get("SLURM_CONF")
    if path and Path(program).name in _SLURMS and not os.access(path, os.R_OK):
        raise SchedulerError(
            f"SLURM_CONF names {path}, which does not exist or is not readable",
            hint="load your site's Slurm module, or run: unset SLURM_CONF",
        )


def cluster_option(job: Job) -> list[str]:
    """Return the options that make a Slurm command query the cluster of `job`."""
    return ["-M", job.cluster] if job.needs_cluster_option else []


def query_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` for a Slurm command with output that slurm-nb parses."""
    prefixes = ("SLURM_", "SQUEUE_", "SACCT_", "SCANCEL_")
    kept = {k: v for k, v in environ.items() if not k.startswith(prefixes) or k in _WHERE}
    return {**kept, "LC_ALL": "C"}
