"""Jupyter on a Slurm compute node, and the one ssh line that brings it to your laptop.

From Python: `slurm_nb.api`, whose functions are here as well.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slurm_nb.api import Cancelled, cancel, render, submit
    from slurm_nb.connection.connection import WayIn
    from slurm_nb.job.spec import JobSpec
    from slurm_nb.operations.connect import await_way_in, find_way_in
    from slurm_nb.operations.lookup import find_session
    from slurm_nb.session.session import Session

__version__ = "0.1.0"
__all__ = [
    "Cancelled",
    "JobSpec",
    "Session",
    "WayIn",
    "await_way_in",
    "cancel",
    "find_session",
    "find_way_in",
    "render",
    "submit",
]
_ELSEWHERE = {"JobSpec": "slurm_nb.job.spec", "Session": "slurm_nb.session.session"}


def __getattr__(name: str) -> object:
    """The API, imported when it is used: `slurm-nb --version` has no need of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE.get(name, "slurm_nb.api")), name)
