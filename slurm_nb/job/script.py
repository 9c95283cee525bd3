"""From a JobSpec to the text of a job script."""

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
    login_addresses: Sequence[str] = (),
) -> str:
    """The job script: bash with #SBATCH directives. It uses the kit, which must be installed.

    `state_dir` is absolute and seen by login and compute nodes alike. template: a path or a name,
    looked up in `folders` (by default those of `template_folders`); None: the base template.
    own_python: the interpreter for a job that names none, by default slurm-nb's own.
    login_addresses: of this host, for the direct route.
    Raises `UserError` when a value holds a control character, or for a template with a fault.
    """
    variables = {
        "spec": spec,
        "own_python": own_python or Path(sys.executable),
        "addresses": tuple(login_addresses),
        "state_dir": state_dir,
        "log_pattern": log_pattern(state_dir),
        "kit": digest(),
    }
    places = template_folders(os.environ) if folders is None else folders
    return fill_in(template, variables, folders=places)


def log_pattern(state_dir: Path) -> str:
    """sbatch's `--output`: `/home/u/.local/state/slurm-nb/jobs/%j_0_log.out`.

    The name is submitit's own (JobPaths.stdout). Raises `UserError` for a percent sign or a
    backslash in it, which submitit and sbatch read as more than characters, and for a colon, at
    which Jupyter would cut the path of the kit's configuration in two.
    """
    if set("%\\:") & set(str(state_dir)):
        raise UserError(
            f"the state directory {str(state_dir)!r} holds a percent sign, a backslash or a colon",
            hint="set SLURM_NB_HOME to a directory without one",
        )
    return f"{on_disk(state_dir)}/jobs/%j_0_log.out"
