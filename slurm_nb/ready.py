"""What a job's output says of its Jupyter: started, ready on a node and port, ended.

The job writes one line for each, among whatever else Jupyter logs:

    slurm-nb started: {"cluster": "hpc", "job_id": "7"}
    slurm-nb ready: {"cluster": "hpc", "job_id": "7", "node": "c1", "port": 40123, "path": "/tree"}
    slurm-nb ended: {"cluster": "hpc", "job_id": "7", "exit_code": 0}

Pure: no I/O, no clock. The writers are job_templates/jupyter.sh.j2 (started, ended)
and jobside/slurm_nb_kit.py (ready).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

MARK = "slurm-nb "
_LINE = re.compile(r"slurm-nb (started|ready|ended): (\{.*\})", re.ASCII)
# Host names (RFC 1123, also with underscores, which Slurm allows); never a leading dash.
_NODE = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?", re.ASCII)
# A path that needs no quoting, neither in a URL nor in a shell.
_PATH = re.compile(r"(?:/[A-Za-z0-9_.~@%+-]+)+/?", re.ASCII)


@dataclass(frozen=True)
class Ready:
    """Where Jupyter listens."""

    node: str
    """As Slurm names it, and as ssh reaches it: `c1`."""
    port: int
    """TCP, on 127.0.0.1 of the node; 1 to 65535."""
    path: str
    """What follows the port in the URL: `/tree`, `/lab`."""


@dataclass(frozen=True)
class Progress:
    """How far a job has come, by its own account."""

    started: bool = False
    ready: Ready | None = None
    exit_code: int | None = None
    """Of Jupyter, once the job script is over; None before."""


def read_progress(
    lines: Iterable[str], *, cluster: str, job_id: str, so_far: Progress | None = None
) -> Progress:
    """Follow complete `lines` (without newlines) on from `so_far`.

    Lines of other jobs and malformed ones are passed over. The last ready line of the
    current run counts: a requeued job appends to its log and starts over with `started`.
    """
    progress = so_far or Progress()
    for line in lines:
        match = _LINE.fullmatch(line.rstrip("\r"))
        record = _record(match[2]) if match else {}
        if match is None or (record.get("cluster"), record.get("job_id")) != (cluster, job_id):
            continue
        if match[1] == "started":
            progress = Progress(started=True)
        elif match[1] == "ready" and (ready := _ready(record)):
            progress = Progress(started=True, ready=ready)
        elif match[1] == "ended" and type(record.get("exit_code")) is int:
            progress = Progress(started=True, exit_code=record["exit_code"])
    return progress


def is_node(text: str) -> bool:
    """Whether `text` can be a node's or a login node's name or IPv4 address."""
    return _NODE.fullmatch(text) is not None


def _record(text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _ready(record: dict[str, Any]) -> Ready | None:
    match record:
        case {"node": str(node), "port": int(port), "path": str(path)} if (
            type(port) is int and 0 < port < 65536 and is_node(node) and _PATH.fullmatch(path)
        ):
            return Ready(node, port, path)
    return None
