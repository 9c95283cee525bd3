"""Check a job on this host before Slurm queues it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from slurm_nb.errors import SchedulerError, UserError
from slurm_nb.files import cannot_write
from slurm_nb.job.kit import PACKAGE
from slurm_nb.job.spec import JobSpec
from slurm_nb.scheduler.environment import job_environment
from slurm_nb.scheduler.run import run

_MODULES = {"notebook": "notebook", "lab": "jupyterlab"}
# An interpreter on a slow file system is left to the job.
_LOOK_S = 5.0
_FIND_S = 2.0
_PROBE_BYTES = 65536


def check(
    spec: JobSpec,
    *,
    state_dir: Path,
    kit_dir: Path,
    environ: Mapping[str, str],
    template: str | None = None,
) -> Iterator[str]:
    """Yield a note for each thing that may fail in the job.

    Raises `UserError` for what is certain to fail: a directory, an image, an environment or an
    interpreter that is not usable, a state directory without room.
    """
    yield from _check_notebook_dir(spec.notebook_dir)
    _check_room(state_dir)
    for option, path in (("--container", spec.container), ("--env", spec.env)):
        if path is not None and path.startswith("/"):
            yield from _check_place(option, Path(path))
    # Lines of bash, modules and templates can change what the interpreter finds.
    sure = not (spec.setup or spec.module or template)
    yield from _check_data_dir(environ, sure=sure)
    yield from _check_python(spec, kit_dir, environ, sure=sure)


def _check_notebook_dir(folder: Path) -> Iterator[str]:
    if not os.path.lexists(folder):
        yield from _check_place("--notebook-dir", folder)
        return
    if not folder.is_dir():
        raise UserError(f"--notebook-dir {str(folder)!r} is not a directory")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UserError(
            f"cannot read the notebook directory {folder}", hint="use another: --notebook-dir DIR"
        )
    if not os.access(folder, os.W_OK):
        yield f"you cannot write to {folder}, so save notebooks elsewhere"


def _check_data_dir(environ: Mapping[str, str], *, sure: bool) -> Iterator[str]:
    """Check the directory of the signatures that Jupyter needs to save notebooks (jupyter_core)."""
    share = environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")  # noqa: PTH111
    folder = Path(environ.get("JUPYTER_DATA_DIR") or f"{share}/jupyter")
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if there.is_dir():
        return
    kind = f"a link to {there.readlink()}, which does not exist" if there.is_symlink() else "a file"
    text = f"Jupyter cannot save notebooks without its data directory {folder}: {there} is {kind}"
    if sure:
        raise UserError(text, hint="repair or remove it, or set JUPYTER_DATA_DIR to another")
    yield text


def _check_room(folder: Path) -> None:
    """Raise `UserError` if the state directory is full; only writing shows a full quota."""
    path = folder / f".probe-{os.getpid()}"
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(bytes(_PROBE_BYTES))
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise cannot_write(path, error) from error
        raise UserError(
            f"cannot write to the state directory {folder}: {error.strerror}",
            hint="free some space (check with `quota` and `df`), or set SLURM_NB_HOME to another"
            " directory that login and compute nodes share",
        ) from error
    finally:
        with suppress(OSError):
            path.unlink()


def _check_place(option: str, path: Path) -> Iterator[str]:
    """Raise `UserError` if the user's directory lacks the path; only the nodes may have another."""
    if os.path.lexists(path):
        if path.exists() and not os.access(path, os.R_OK):
            raise UserError(f"{option} {str(path)!r}: you have no permission to read it")
        return
    above = next(folder for folder in path.parents if folder.exists())
    if above.stat().st_uid == os.geteuid() != 0:
        raise UserError(
            f"{option} {str(path)!r} does not exist", hint=f"check the name: ls {above}"
        )
    yield (
        f"{option} {str(path)!r} does not exist on this host; if it does not exist on the node"
        " either, the job will fail"
    )


def _check_python(
    spec: JobSpec, kit_dir: Path, environ: Mapping[str, str], *, sure: bool
) -> Iterator[str]:
    """Ask the environment's Python, if it runs here, for everything that it lacks."""
    named, python = _find_python(spec, kit_dir, environ)
    if python is None:
        return
    if not os.path.lexists(python):
        if named == "--env" and python.parents[1].is_dir():
            raise UserError(
                f"--env {spec.env!r} has no bin/python3",
                hint="use a virtual or conda environment: --env DIR",
            )
        yield from _check_place(named, python)
        return
    module = f"{PACKAGE}.environment.packages"
    try:
        answer = run(
            [str(python), "-m", module, _MODULES[spec.ui], named],
            timeout_s=_LOOK_S,
            cwd=str(kit_dir),
            environ=job_environment(environ),
        )
        told = json.loads(answer.stdout)
        text, cures, kernel = str(told["text"]), str(told["cures"]), bool(told["kernel"])
    except (SchedulerError, ValueError, TypeError, KeyError):
        return  # it may run on the node
    if not text:
        return
    if named == "--env" and kernel:
        yield f"{text}; slurm-nb will start its own Jupyter, with this one as a kernel"
    elif sure:
        raise UserError(text, hint=cures)
    else:
        yield f"{text} as seen from this host; {cures}"


def _find_python(
    spec: JobSpec, kit_dir: Path, environ: Mapping[str, str]
) -> tuple[str, Path | None]:
    """Return the option that chooses the interpreter, and its path if this host knows it."""
    if spec.container is not None:
        return "--container", None
    if spec.python is not None:
        return "--python", spec.python if spec.python.is_absolute() else None
    if spec.env is None:
        return "--module", None
    folder = spec.env if "/" in spec.env else _conda_folder(spec.env, kit_dir, environ)
    return "--env", Path(folder, "bin/python3") if folder else None


def _conda_folder(name: str, kit_dir: Path, environ: Mapping[str, str]) -> str:
    """Return the directory of a conda environment, found as in the job; empty without one."""
    find = '. "$0" && slurm_nb_find_env "$1"'
    words = ["bash", "-c", find, str(kit_dir / PACKAGE / "functions.sh"), name]
    try:
        return run(words, timeout_s=_FIND_S, environ=job_environment(environ)).stdout
    except SchedulerError:
        return ""
