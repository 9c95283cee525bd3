"""Resolve the paths and names that the user gave on the login node for the job."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from slurm_nb.errors import UserError
from slurm_nb.job.spec import JobSpec
from slurm_nb.job.text import refuse_control_characters


def resolve_notebook(option: str | None) -> Path | None:
    """Return the absolute path of the notebook to open. Raises `UserError` if it does not exist."""
    if option is None:
        return None
    refuse_control_characters("--open", option, options=("open",))
    path = _absolute("open", option)
    if not path.is_file():
        raise UserError(f"--open {option!r}: there is no such file", options=("open",))
    return path


def resolve_notebook_dir(option: str | None, *, notebook: Path | None = None) -> Path:
    """Return `option` as an absolute path; without it the current directory.

    notebook: a file to open, which must be in the directory; if it is not in the current one, its
    own directory is the default. Raises `UserError`.
    """
    if option is None:
        folder = _current_folder()
        return folder if notebook is None or notebook.is_relative_to(folder) else notebook.parent
    folder = _absolute("notebook-dir", option)
    if not folder.is_dir():
        raise UserError(
            f"--notebook-dir {option!r}: there is no such directory", options=("notebook-dir",)
        )
    if notebook and not notebook.is_relative_to(folder):
        raise UserError(
            f"--open {str(notebook)!r}: is not in --notebook-dir {option!r}",
            options=("open", "notebook-dir"),
        )
    return folder


def resolve_python(option: str | None, *, looked_up_there: bool) -> Path | None:
    """Return the interpreter; a bare name stays one if the node looks it up in an environment."""
    if option is None:
        return None
    if os.sep in option:
        return _absolute("python", option)
    return Path(option) if looked_up_there else _absolute("python", shutil.which(option) or option)


def resolve_env(option: str | None) -> str | None:
    """Return the path of an environment that exists here, else the name of a conda environment."""
    if option is None:
        return None
    here = any(Path(option, mark).exists() for mark in ("pyvenv.cfg", "conda-meta"))
    return str(_absolute("env", option)) if here or os.sep in option else option


def resolve_image(option: str | None) -> str | None:
    """Return the absolute path of an image, or its URI unchanged."""
    if option is None or "://" in option:
        return option
    return str(_absolute("container", option))


def python_of_node(spec: JobSpec) -> Path:
    """Return an interpreter for slurm-nb's own programs that needs no environment loaded."""
    if spec.python is not None and spec.python.is_absolute() and spec.container is None:
        return spec.python
    return Path(sys.executable)


def _current_folder() -> Path:
    """Return the shell's path: a home behind a symlink may have another real path on the nodes."""
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
            "the current directory does not exist any more",
            hint="cd to another one, or use --notebook-dir",
        ) from error


def _absolute(option: str, path: str) -> Path:
    if not path:
        raise UserError(f"--{option} '': is empty", options=(option,))
    try:
        return Path(os.path.abspath(Path(path).expanduser()))
    except RuntimeError as error:
        raise UserError(f"--{option} {path!r}: there is no such user", options=(option,)) from error
