"""Render the job script of a JobSpec."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from slurm_nb.errors import UserError
from slurm_nb.job.kit import digest
from slurm_nb.job.quoting import on_disk
from slurm_nb.job.spec import JobSpec
from slurm_nb.job.template import fill_in
from slurm_nb.paths import template_folders


def render(  # noqa: PLR0913  all but the first are by name
    spec: JobSpec,
    *,
    state_dir: Path,
    template: str | None = None,
    folders: Sequence[Path] | None = None,
    own_python: Path | None = None,
    submission: str = "",
    login_addresses: Sequence[str] = (),
) -> str:
    """Return the job script: bash with #SBATCH directives, for an installed kit.

    state_dir: absolute, and shared by login and compute nodes. template: a path, or a name in
    `folders` (by default those of `template_folders`); None: the base template. own_python: the
    interpreter for a job that does not name one, by default slurm-nb's own. submission: random, for
    one job; empty for a script that can be submitted again. login_addresses: of this host, for the
    direct route. Raises `UserError` if a value contains a control character, or for an error in
    the template.
    """
    variables = {
        "spec": spec,
        "own_python": own_python or Path(sys.executable),
        "addresses": tuple(login_addresses),
        "state_dir": state_dir,
        "log_pattern": log_pattern(state_dir),
        "kit": digest(),
        "submission": submission,
    }
    places = template_folders(os.environ) if folders is None else folders
    return fill_in(template, variables, folders=places)


def log_pattern(state_dir: Path) -> str:
    """Return sbatch's `--output`: `/home/u/.local/state/slurm-nb/jobs/%j_0_log.out`.

    submitit uses this name (JobPaths.stdout). Raises `UserError` for a percent sign or a backslash,
    which are special in submitit and sbatch, and for a colon, which separates paths in the
    configuration of Jupyter.
    """
    if set("%\\:") & set(str(state_dir)):
        raise UserError(
            f"the state directory {str(state_dir)!r} contains a percent sign, backslash or colon",
            hint="set SLURM_NB_HOME to a directory without one",
        )
    return f"{on_disk(state_dir)}/jobs/%j_0_log.out"
