"""What can go wrong, and the exit code that each kind ends the program with.

    SlurmNbError
    ├── UserError          1    an option's value, a job id or a file is wrong
    ├── SchedulerError    3    Slurm refused, or can't be reached
    │   └── SubmissionUnknown    3    sbatch did not say whether there is a job
    ├── JobEnded          4    the job ended before it was ready
    └── NotReady          5    waited long enough; the job still lives

click's own usage errors end with 2, an interrupt with 130, and an error that is
slurm-nb's own fault with 70 (EX_SOFTWARE of sysexits.h).
"""

from __future__ import annotations

from collections.abc import Collection

EXIT_INTERRUPTED = 130
EXIT_BUG = 70

EXIT_CODES = {
    0: "done",
    1: "a value or a file is wrong",
    2: "usage: an unknown option or a missing argument",
    3: "Slurm refused, or can't be reached",
    4: "the job ended before it was ready (or, for tunnel-cmd, has ended)",
    5: "waited long enough, or not ready yet; the job still lives",
    EXIT_BUG: "a fault of slurm-nb itself; the message names a file with details",
    129: "the terminal was closed (SIGHUP); a submitted job goes on",
    EXIT_INTERRUPTED: "interrupted; a submitted job goes on",
    143: "told to end (SIGTERM); a submitted job goes on",
}


class SlurmNbError(Exception):
    """One line for the user: what failed and with which value; `hint` says what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UserError(SlurmNbError):
    """A value that the user gave, or a file that was read, can't be right."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", options: Collection[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.options = options
        """Names of the options of `submit` whose values it is about: `("time",)`."""


class SchedulerError(SlurmNbError):
    """Slurm (or the local machine) refused the request, or did not answer."""

    exit_code = 3


class SubmissionUnknown(SchedulerError):
    """sbatch ended without an answer, so the job may exist all the same."""

    def __init__(self, message: str, *, script: str, clusters: str = "") -> None:
        where = f"-M {clusters} " if clusters else ""
        hint = (
            "a job may exist all the same: look for the one that runs"
            f" {script} with `squeue {where}--me -o '%i %o'` before you try again"
        )
        super().__init__(message, hint=hint)
        self.script = script
        self.clusters = clusters
        """As `-M` takes them; empty: the login node's own."""


class JobEnded(SlurmNbError):
    """The job is over, so there is nothing to connect to."""

    exit_code = 4


class NotReady(SlurmNbError):
    """The job lives, but has not said yet where Jupyter listens."""

    exit_code = 5


def did_you_mean(name: str, known: Collection[str]) -> str:
    """The question whether one of `known` was meant, with a blank; empty when none is alike."""
    from difflib import get_close_matches  # noqa: PLC0415  only where a name was mistyped

    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}? " if close else ""
