"""From a JobSpec to the text of a job script."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from slurm_nb.errors import UserError
from slurm_nb.job.quoting import on_disk
from slurm_nb.job.spec import JobSpec
from slurm_nb.job.template import fill_in
from slurm_nb.paths import template_folders

_KIT = (
    "jupyter_config.py",
    "jupyter_server_config.py",
    "slurm_nb_activity.py",
    "slurm_nb_checks.py",
    "slurm_nb_idle.py",
    "slurm_nb_kernel.py",
    "slurm_nb_kernels.py",
    "slurm_nb_kit.py",
    "slurm_nb_memory.py",
    "slurm_nb_notices.py",
    "slurm_nb_orphan.py",
    "slurm_nb_overruled.py",
    "slurm_nb_page.js",
    "slurm_nb_page.py",
    "slurm_nb_sqlite.py",
    "slurm_nb_start.py",
    "slurm_nb_time.py",
    "slurm_nb_versions.py",
    "slurm_nb_watch.py",
)


def render(
    spec: JobSpec,
    *,
    state_dir: Path,
    template: str | None = None,
    folders: Sequence[Path] | None = None,
    own_python: Path | None = None,
) -> str:
    """The job script: bash with #SBATCH directives, complete in itself.

    `state_dir` is absolute and seen by login and compute nodes alike. template: a path or a name,
    looked up in `folders` (by default those of `template_folders`); None: the base template.
    own_python: the interpreter for a job that names none, by default slurm-nb's own.
    Raises `UserError` when a value holds a control character, or for a template with a fault.
    """
    variables = {
        "spec": spec,
        "own_python": own_python or Path(sys.executable),
        "state_dir": state_dir,
        "log_pattern": log_pattern(state_dir),
        "kit": _kit(),
    }
    places = template_folders(os.environ) if folders is None else folders
    return fill_in(template, variables, folders=places)


def log_pattern(state_dir: Path) -> str:
    """sbatch's `--output`: `/home/u/.local/state/slurm-nb/jobs/%j_0_log.out`.

    The name is submitit's own (JobPaths.stdout). Raises `UserError` for a percent sign or a
    backslash in it: submitit and sbatch read them as more than characters.
    """
    if set("%\\") & set(str(state_dir)):
        raise UserError(
            f"the state directory {str(state_dir)!r} holds a percent sign or a backslash",
            hint="set SLURM_NB_HOME to a directory without one",
        )
    return f"{on_disk(state_dir)}/jobs/%j_0_log.out"


def _kit() -> dict[str, str]:
    folder = resources.files("slurm_nb.jobside")
    return {name: (folder / name).read_text(encoding="utf-8") for name in _KIT}
