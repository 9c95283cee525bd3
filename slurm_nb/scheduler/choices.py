"""What to request instead: the partitions, accounts, QOS, GPUs and node sizes that Slurm offers.

Facts about Slurm's commands were seen on 22.05.8 unless a man page is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from slurm_nb.errors import SchedulerError
from slurm_nb.job.spec import JobSpec
from slurm_nb.scheduler.accounts import find_access
from slurm_nb.scheduler.run import run

# A message must not wait long for a controller that is busy.
_TIMEOUT_S = 5.0
_MIB = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}
_SIZE = re.compile(r"(\d{1,15})([KMGT]?)B?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Nodes:
    """The nodes of one partition, or of all."""

    partition: str
    """Empty: all partitions."""
    cpus: int
    """Of the largest node."""
    mem_mib: int
    """Of the largest node."""
    gres: tuple[str, ...]
    """`gpu:a100:4`."""


def explained(error: SchedulerError, spec: JobSpec) -> SchedulerError:
    """Return the error for a rejected job in one sentence, with what Slurm offers instead."""
    words, text = str(error).lower(), ""
    if "invalid partition" in words:
        names = [each.name for each in find_access(timeout_s=_TIMEOUT_S).partitions]
        text = _offer("partition", spec.partition, "partitions", names)
    elif "invalid account" in words:
        access = find_access(timeout_s=_TIMEOUT_S)
        text = _offer("account", spec.account, "accounts", access.accounts)
    elif "invalid qos" in words:
        text = _offer("QOS", spec.qos, "QOS", find_access(timeout_s=_TIMEOUT_S).qualities)
    elif "node configuration" in words or "generic resource" in words:
        text = _too_large(spec.cpus_per_task, spec.mem, spec.gpus or spec.gres, spec.partition)
    return SchedulerError(text, hint=error.hint) if text else error


def too_large(cpus: str | None, mem: str | None, partition: str | None) -> str:
    """Return why no node can ever run a job that requests this; empty if one can."""
    return _too_large(int(cpus) if cpus and cpus.isdecimal() else None, mem, None, partition)


def _offer(what: str, name: str | None, plural: str, names: Iterable[str]) -> str:
    offered = ", ".join(names)
    if not offered:
        return ""
    wrong = f"you cannot use {what} {name!r}" if name else f"Slurm needs another {what}"
    return f"{wrong}. Your {plural}: {offered}"


def _too_large(cpus: int | None, mem: str | None, gpus: str | None, partition: str | None) -> str:
    nodes = _nodes(partition)
    if nodes is None:
        return ""
    where = f" in partition {nodes.partition}" if nodes.partition else ""
    match = _SIZE.fullmatch(mem or "")
    mem_mib = int(match[1]) * _MIB[(match[2] or "M").upper()] if match else 0
    if cpus and cpus > nodes.cpus:
        return f"--cpus-per-task {cpus}: the largest node{where} has {nodes.cpus} CPUs"
    if mem_mib > nodes.mem_mib:
        return f"--mem {mem}: the largest node{where} has {nodes.mem_mib}M of memory"
    if gpus:
        offered = ", ".join(nodes.gres) or "none"
        return f"no node{where} has the requested GPUs ({gpus}). GPUs{where}: {offered}"
    return ""


def _nodes(partition: str | None) -> Nodes | None:
    """Return the sizes of the nodes; None if Slurm does not say."""
    asked = partition or ""
    where = ["-p", asked] if asked else []
    try:
        answer = run(["sinfo", "-h", "-N", *where, "-o", "%c|%m|%G"], timeout_s=_TIMEOUT_S)
    except SchedulerError:
        return None
    rows = [line.strip().split("|") for line in answer.stdout.splitlines()]
    sizes = [
        (int(row[0]), int(row[1]), row[2])
        for row in rows
        if len(row) == 3 and row[0].isdecimal() and row[1].isdecimal()
    ]
    if answer.exit_code or not sizes:
        return None
    gres = {each for *_, text in sizes for each in text.split(",") if each.startswith("gpu")}
    return Nodes(
        asked, max(size[0] for size in sizes), max(size[1] for size in sizes), tuple(sorted(gres))
    )
