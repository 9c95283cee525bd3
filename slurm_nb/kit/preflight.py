"""Starts Jupyter, once everything that it needs is seen to be there; else says what is not.

Run by the interpreter that is to run Jupyter, as `-m slurm_nb_kit.preflight notebook --no-browser`:
what is looked at is what will be used, and no second interpreter is started. Python 3.5 can read
it, to be told that it is too old.
"""

import importlib
import importlib.util
import json
import os
import runpy
import signal
import sys
import traceback
from typing import Tuple

_PYTHON = (3, 8)
# What slurm-nb can work with; versions.py has those without known holes. Notebook 6 does not
# read jupyter_server's configuration, and so would run without slurm-nb's lock.
_NEEDED = {"jupyter_server": (2, 0), "notebook": (7, 0), "jupyterlab": (3, 6)}
# What `python -m` goes on to import.
_APPS = {"notebook": "notebook.app", "jupyterlab": "jupyterlab.labapp"}
_PROBE_BYTES = 65536
_FREE_BYTES = 20 << 20
_PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """Jupyter can't be started; text and cure, a sentence each."""


def main() -> None:
    """Look, then become `python -m MODULE ...`, the words of the command line."""
    end_with_parent()
    open(os.path.join(os.environ["SLURM_NB_RUN_DIR"], "python-started"), "w").close()
    try:
        check(sys.argv[1])
    except Failed as failed:
        tell(*failed.args)
        sys.exit(1)
    sys.argv = sys.argv[1:]
    from .security import guard  # noqa: PLC0415  needs what was looked at

    guard.install()
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    finally:
        guard.check_that_it_listened()


def end_with_parent() -> None:
    """Have the kernel send SIGTERM when the job script dies: who is killed can't stop Jupyter.

    Without cgroups Slurm does not find what the script has started then (proctrack/linuxproc, seen
    on 22.05). PR_SET_PDEATHSIG of prctl(2); a container's runtime may be the parent instead.
    """
    parent = os.getppid()
    try:
        import ctypes  # noqa: PLC0415  not every Python was built with it

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        return
    if os.getppid() != parent:
        sys.exit(1)


def check(module: str) -> None:
    """Raise `Failed` for the first thing that is not as Jupyter needs it."""
    _check_python(tuple(sys.version_info[:2]))
    for name in ("jupyter_server", module):
        _check_package(name)
    _check_notebook_dir(os.environ["SLURM_NB_NOTEBOOK_DIR"])
    session_dir = os.path.dirname(os.environ["SLURM_NB_TOKEN_FILE"])
    home = os.path.expanduser("~")
    for what, folder in (("the session directory", session_dir), ("your home", home)):
        _check_writable(what, folder)
    _check_space(os.environ["SLURM_NB_RUN_DIR"])
    _check_import(module)


def _check_python(version: Tuple[int, ...]) -> None:
    if version < _PYTHON:
        raise Failed(
            "%s is Python %d.%d, and %d.%d or later is needed"
            % (sys.executable, version[0], version[1], _PYTHON[0], _PYTHON[1]),
            "name another one: --python PATH, --env, or --module",
        )


def _check_package(name: str) -> None:
    cure = _cure_of_package(name)
    try:
        missing = importlib.util.find_spec(name) is None
    except (ImportError, ValueError) as error:
        raise Failed(
            "%s of %s can't be imported: %s" % (name, sys.executable, error), cure
        ) from error
    if missing:
        raise Failed("%s on %s has no %s" % (sys.executable, _node(), name), cure)
    from importlib import metadata  # noqa: PLC0415  since Python 3.8

    from . import versions  # noqa: PLC0415  the same

    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return  # installed in another way
    if versions.numbers(version) < _NEEDED[name]:
        needed = ".".join(map(str, _NEEDED[name]))
        raise Failed(
            "%s of %s is %s, and %s or later is needed" % (name, sys.executable, version, needed),
            "update it: %s -m pip install --upgrade %s" % (sys.executable, name),
        )


def _check_import(name: str) -> None:
    """What is found may still lack what it needs, or not fit this node."""
    try:
        importlib.import_module(_APPS[name])
    except Exception as error:  # whatever a broken package raises
        traceback.print_exc()
        said = ("%s: %s" % (type(error).__name__, error)).splitlines()[0].rstrip(": ")
        raise Failed(
            "%s of %s can't be imported on %s: %s" % (name, sys.executable, _node(), said),
            _cure_of_package(name),
        ) from error


def _cure_of_package(name: str) -> str:
    return "install it: %s -m pip install %s; or name another Python: --python, --env" % (
        sys.executable,
        name,
    )


def _check_notebook_dir(folder: str) -> None:
    cure = "name another one: --notebook-dir DIR, on a file system that login and nodes share"
    if not os.path.isdir(folder):
        raise Failed("the notebook directory %s is not there on %s" % (folder, _node()), cure)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Failed("you can't write to the notebook directory %s" % folder, cure)


def _check_writable(what: str, folder: str) -> None:
    """By writing: a full quota shows only there."""
    path = os.path.join(folder, ".slurm-nb-probe-%s-%d" % (_node(), os.getpid()))
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            left = _PROBE_BYTES
            while left:  # a disk with a little room takes a part, and says so
                left -= os.write(handle, bytes(left))
        finally:
            os.close(handle)  # NFS says only here that the disk is full
            os.unlink(path)
    except OSError as error:
        raise Failed(
            "%s, %s, can't be written on %s: %s" % (what, folder, _node(), error.strerror),
            "make room there (`quota`, `df`), or ask your site about that node",
        ) from error


def _check_space(folder: str) -> None:
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < _FREE_BYTES:
        raise Failed(
            "%s on %s has only %d MiB left" % (os.path.dirname(folder), _node(), free >> 20),
            "take another node (--exclude %s), or set TMPDIR to a directory with room" % _node(),
        )


def tell(text: str, cure: str) -> None:
    """The line that slurm-nb shows as its error."""
    cluster, _, job_id = os.environ["SLURM_NB_SESSION"].partition("/")
    who = {"cluster": cluster, "job_id": job_id, "nonce": os.environ["SLURM_NB_NONCE"]}
    who.update(text=text, cure=cure)
    print("\nslurm-nb failed: %s" % json.dumps(who))
    sys.stdout.flush()


def _node() -> str:
    return os.environ.get("SLURMD_NODENAME") or os.uname().nodename


if __name__ == "__main__":
    main()
