"""Jupyter on a Slurm compute node, and the one ssh line that brings it to your laptop.

Sessions from Python: what the commands do, without their words.

    from pathlib import Path
    from slurm_nb import JobSpec, await_way_in, submit
    session = submit(JobSpec(notebook_dir=Path.home(), time="2:00:00", account="project"))
    way_in = await_way_in(session)
    print(way_in.connection.command, way_in.connection.url)

Everything raises `slurm_nb.errors.SlurmNbError`, whose text says what failed and whose `hint` what
to do next. Config files are the commands' business: a `JobSpec` holds what it is given.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slurm_nb.connection.connection import WayIn as WayIn
    from slurm_nb.job.spec import JobSpec as JobSpec
    from slurm_nb.operations.cancel import Cancelled as Cancelled
    from slurm_nb.operations.cancel import cancel as cancel
    from slurm_nb.operations.connect import await_way_in as await_way_in
    from slurm_nb.operations.connect import find_way_in as find_way_in
    from slurm_nb.operations.lookup import find_session as find_session
    from slurm_nb.operations.submit import render as render
    from slurm_nb.operations.submit import submit as submit
    from slurm_nb.session.session import Session as Session

__version__ = "0.1.0"
_PUBLIC = {
    "Cancelled": "operations.cancel",
    "JobSpec": "job.spec",
    "Session": "session.session",
    "WayIn": "connection.connection",
    "await_way_in": "operations.connect",
    "cancel": "operations.cancel",
    "find_session": "operations.lookup",
    "find_way_in": "operations.connect",
    "render": "operations.submit",
    "submit": "operations.submit",
}
"""The public names, and where each is defined."""
__all__ = tuple(_PUBLIC)


def __getattr__(name: str) -> object:
    """Import a public name when it is used: `slurm-nb --version` needs none of them."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
