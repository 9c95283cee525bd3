"""What the user named on the login node, as the job will be told of it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from slurm_nb.errors import UserError
from slurm_nb.job.spec import JobSpec


def resolve_notebook_dir(option: str | None) -> Path:
    """`option`, absolute, or where the user is; raises `UserError` for no directory."""
    if option is None:
        return _current_folder()
    folder = _absolute("notebook-dir", option)
    if not folder.is_dir():
        raise UserError(
            f"--notebook-dir {option!r}: there is no such directory", options=("notebook-dir",)
        )
    return folder


def resolve_python(option: str | None, *, looked_up_there: bool) -> Path | None:
    """The interpreter; a bare name stays one where the node has an environment to look it up in."""
    if option is None:
        return None
    if os.sep in option:
        return _absolute("python", option)
    return Path(option) if looked_up_there else _absolute("python", shutil.which(option) or option)


def resolve_env(option: str | None) -> str | None:
    """An environment that is here by its path; another name is a conda environment's."""
    if option is None:
        return None
    here = any(Path(option, mark).exists() for mark in ("pyvenv.cfg", "conda-meta"))
    return str(_absolute("env", option)) if here or os.sep in option else option


def resolve_image(option: str | None) -> str | None:
    """An image's absolute path, or its URI as it is."""
    if option is None or "://" in option:
        return option
    return str(_absolute("container", option))


def python_of_node(spec: JobSpec) -> Path:
    """An interpreter for what is not Jupyter; one in an environment needs that to be loaded."""
    if spec.python is not None and spec.python.is_absolute() and spec.container is None:
        return spec.python
    return Path(sys.executable)


def _current_folder() -> Path:
    """As the shell calls it: a home behind a symlink may have another real path on the nodes."""
    logical = os.environ.get("PWD", "")
    try:
        if Path(logical).is_absolute() and Path(logical).samefile(Path.cwd()):
            return Path(logical)
    except OSError:
        pass
    try:
        return Path.cwd()
    except OSError as error:
        raise UserError(
            "the current directory is gone", hint="cd to another one, or use --notebook-dir"
        ) from error


def _absolute(option: str, path: str) -> Path:
    if not path:
        raise UserError(f"--{option} '': is empty", options=(option,))
    try:
        return Path(os.path.abspath(Path(path).expanduser()))
    except RuntimeError as error:
        raise UserError(f"--{option} {path!r}: there is no such user", options=(option,)) from error
