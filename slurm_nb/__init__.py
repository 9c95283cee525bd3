"""Jupyter on a Slurm compute node, and the one ssh line that brings it to your laptop.

Sessions from Python: what the commands do, without their words.

    from pathlib import Path
    from slurm_nb import JobSpec, submit, wait_until_ready
    session = submit(JobSpec(notebook_dir=Path.home(), time="2:00:00", account="project"))
    connection = wait_until_ready(session)
    print(connection.tunnel.command, connection.tunnel.url)

Everything raises `slurm_nb.errors.SlurmNbError`, whose text says what failed and whose `hint` what
to do next. Config files are the commands' business: a `JobSpec` holds what it is given.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slurm_nb.connection.connection import Connection as Connection
    from slurm_nb.connection.tunnel import Tunnel as Tunnel
    from slurm_nb.job.spec import JobSpec as JobSpec
    from slurm_nb.operations.cancel import Cancelled as Cancelled
    from slurm_nb.operations.cancel import cancel as cancel
    from slurm_nb.operations.connect import connect as connect
    from slurm_nb.operations.connect import wait_until_ready as wait_until_ready
    from slurm_nb.operations.lookup import find_session as find_session
    from slurm_nb.operations.render import render as render
    from slurm_nb.operations.submit import submit as submit
    from slurm_nb.session.session import Session as Session

__version__ = "0.1.0"
_PUBLIC = {
    "Cancelled": "operations.cancel",
    "Connection": "connection.connection",
    "JobSpec": "job.spec",
    "Session": "session.session",
    "Tunnel": "connection.tunnel",
    "cancel": "operations.cancel",
    "connect": "operations.connect",
    "find_session": "operations.lookup",
    "render": "operations.render",
    "submit": "operations.submit",
    "wait_until_ready": "operations.connect",
}
"""The public names, and where each is defined."""
__all__ = tuple(_PUBLIC)


def __getattr__(name: str) -> object:
    """Import a public name when it is used: `slurm-nb --version` needs none of them."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
