"""Sessions from Python: what the commands do, without their words.

    from pathlib import Path
    from slurm_nb import JobSpec, await_way_in, submit
    session = submit(JobSpec(notebook_dir=Path.home(), time="2:00:00", account="project"))
    way_in = await_way_in(session)
    print(way_in.connection.command, way_in.connection.url)

Everything raises `slurm_nb.errors.SlurmNbError`, whose text says what failed and whose `hint` what
to do next. Files of configuration are the commands' business: a `JobSpec` holds what it is given.
"""

from __future__ import annotations

from slurm_nb.connection.connection import WayIn
from slurm_nb.operations.cancel import Cancelled, cancel
from slurm_nb.operations.connect import await_way_in, find_way_in
from slurm_nb.operations.lookup import find_session
from slurm_nb.operations.submit import render, submit

__all__ = [
    "Cancelled",
    "WayIn",
    "await_way_in",
    "cancel",
    "find_session",
    "find_way_in",
    "render",
    "submit",
]
