"""A site's maxima: amounts of time, memory, CPUs and GPUs, compared with their units."""

from __future__ import annotations

import math
import re

from slurm_nb.errors import UserError
from slurm_nb.times import time_limit_s

MAXIMA = ("time", "mem", "cpus-per-task", "gpus", "idle-timeout")
"""The options that a site can set a maximum for."""

_MEM = re.compile(r"(\d{1,15})(?:([KMGT])B?)?", re.ASCII | re.IGNORECASE)
_MIB = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}
_COUNT = re.compile(r"(?:^|:)(\d{1,9})$", re.ASCII)


def amount(key: str, text: str) -> float:
    """Return the amount in `text`: seconds, MiB, CPUs or GPUs; infinite for no limit.

    `text` is written as for sbatch: `1-12`, `4G`, `a100:2`. Raises `UserError`.
    """
    if key in {"time", "idle-timeout"}:
        return time_limit_s(text, key) or math.inf
    if key == "mem":
        match = _MEM.fullmatch(text)
        if match is None:
            raise UserError(
                f"--mem {text!r}: is not a size",
                hint="write 4G, 500M or 4096 (MiB)",
                options=("mem",),
            )
        # Zero is all of the node's memory (sbatch(1), --mem).
        return int(match[1]) * _MIB[(match[2] or "M").upper()] or math.inf
    counts = [_COUNT.search(part) for part in text.split(",")]
    if key == "cpus-per-task" and not text.isdecimal():
        counts = [None]
    if None in counts:
        raise UserError(f"--{key} {text!r}: is not a number", options=(key,))
    return sum(int(count[1]) for count in counts if count)


def gpus_of_gres(text: str) -> str:
    """Return the GPUs in a `--gres`: `a100:2` for `gpu:a100:2,license:1`; empty without GPUs."""
    parts = [part.removeprefix("gres:").partition("(")[0] for part in text.split(",")]
    gpus = [part.removeprefix("gpu").removeprefix(":") for part in parts if _is_gpu(part)]
    return ",".join(each if _COUNT.search(each) else f"{each}:1".lstrip(":") for each in gpus)


def _is_gpu(part: str) -> bool:
    return part == "gpu" or part.startswith("gpu:")
