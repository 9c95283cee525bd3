"""A job's processes on a node, as root sees them from outside."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.cluster import Host


def pids_of_job(node: Host, job_id: str, word: str) -> list[str]:
    """Return the ids, on the node, of a job's processes whose command line contains a word."""
    found = []
    for folder in Path(node.root / "proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            environ = (folder / "environ").read_bytes().split(b"\0")
            mine = f"SLURM_JOB_ID={job_id}".encode() in environ
            if mine and word.encode() in (folder / "cmdline").read_bytes():
                found.append(folder.name)
    return found
