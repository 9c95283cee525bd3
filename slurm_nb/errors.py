"""The error tree, and the exit code of each kind of error.

    SlurmNbError
    ├── UserError          1    an option's value, a job id or a file is wrong
    ├── UsageError         2    there is no such command or option
    ├── SchedulerError     3    Slurm rejected the request or cannot be reached
    │   └── SubmissionUnknown    3    sbatch did not say whether there is a job
    ├── JobEnded           4    the job has ended, before Jupyter was ready or later
    └── NotReady           5    the wait timed out; the job still exists

click's own usage errors end with 2 as well, an interrupt with 130, and an internal error with 70
(EX_SOFTWARE of sysexits.h).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

EXIT_INTERRUPTED = 130
EXIT_BUG = 70

EXIT_CODES = {
    0: "success",
    1: "an option's value, a config file or another file is not accepted",
    2: "usage error: an unknown option or a missing argument",
    3: "Slurm rejected the request or cannot be reached",
    4: "the job has ended, before Jupyter was ready or later",
    5: "Jupyter is not ready yet; the job still exists",
    EXIT_BUG: "internal error; the message names a file with details",
    129: "the terminal was closed (SIGHUP); a submitted job keeps running",
    EXIT_INTERRUPTED: "interrupted; a submitted job keeps running",
    143: "terminated (SIGTERM); a submitted job keeps running",
}


class SlurmNbError(Exception):
    """One line for the user: what failed and with which value; `hint` is the next step."""

    exit_code = 1

    def __init__(
        self, message: str, *, hint: str = "", record: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.record = record or {}
        """More keys for the object that --json prints."""


class UserError(SlurmNbError):
    """A value that the user gave, or a file that slurm-nb read, is wrong."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", options: Collection[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.options = options
        """Names of the options of `submit` whose values it is about: `("time",)`."""


class UsageError(SlurmNbError):
    """The command line names a command or an option that does not exist."""

    exit_code = 2


class SchedulerError(SlurmNbError):
    """Slurm (or the local machine) rejected the request, or did not respond."""

    exit_code = 3


class SubmissionUnknown(SchedulerError):
    """sbatch ended without an answer, so it may have created a job."""

    def __init__(self, message: str, *, script: str, clusters: str = "") -> None:
        where = f"-M {clusters} " if clusters else ""
        hint = (
            "it may have created a job. Before you try again, check for one that runs"
            f" {script} with: squeue {where}--me -o '%i %o'"
        )
        super().__init__(message, hint=hint)
        self.script = script
        self.clusters = clusters
        """Cluster names, as for `-M`; empty: the login node's own cluster."""


class JobEnded(SlurmNbError):
    """The job is over, so there is nothing to connect to."""

    exit_code = 4


class NotReady(SlurmNbError):
    """The job exists, but has not reported yet where Jupyter listens."""

    exit_code = 5


def closest(name: str, known: Collection[str]) -> str:
    """Return the one of `known` that is most similar to `name`; empty if none is."""
    from difflib import get_close_matches  # noqa: PLC0415  only for a mistyped name

    return next(iter(get_close_matches(name, list(known), n=1)), "")


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return `did you mean X? ` for the one of `known` that is most similar; empty if none is."""
    close = closest(name, known)
    return f"did you mean {close}? " if close else ""
