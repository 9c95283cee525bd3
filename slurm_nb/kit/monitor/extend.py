"""Extends the job's time limit, if Slurm allows it."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import List

_WITHIN_S = 20
# The reason that Slurm gives, such as `slurm_update error: Access/permission denied`.
_WORDS_CHARS = 200


class NotExtended(Exception):
    """Slurm did not extend the job; the text says why."""


def extend(job_id: str, minutes: int, end_file: str) -> int:
    """Extend a job's time limit and return its new end, in seconds since the epoch.

    end_file: the file in which the job script keeps the end. This takes up to 40 s. Raises
    `NotExtended`.
    """
    _run(["scontrol", "update", "JobId=%s" % job_id, "TimeLimit=+%d" % minutes])
    end = _run(["squeue", "-h", "-j", job_id, "-o", "%e"])
    if not end.isdigit():
        raise NotExtended("Slurm extended the job but does not report its new end")
    fresh = end_file + ".extended"
    with open(fresh, "w", encoding="ascii") as file:
        file.write(end + "\n")
    os.rename(fresh, end_file)
    return int(end)


def _run(command: List[str]) -> str:
    if not shutil.which(command[0]):
        raise NotExtended("Jupyter's environment on this node has no %s" % command[0])
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "SLURM_TIME_FORMAT": "%s"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotExtended("Slurm does not respond") from None
    except OSError as error:
        raise NotExtended("%s: %s" % (command[0], error.strerror)) from None
    if done.returncode != 0:
        words = " ".join(done.stderr.decode(errors="replace").split())
        raise NotExtended(words[:_WORDS_CHARS] or "exit code %d" % done.returncode)
    return done.stdout.decode(errors="replace").strip()
