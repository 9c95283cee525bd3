"""Starts Jupyter if the node has everything it needs; otherwise reports all that is missing.

Jupyter's interpreter runs it as `-m slurm_nb_kit.preflight notebook --no-browser`: the process that
runs the checks then becomes Jupyter. If the environment has no usable Jupyter, slurm-nb's own one
starts and offers the environment as a kernel. Python 3.5 can parse this file, to report that it is
too old.
"""

import errno
import importlib
import json
import os
import pwd
import runpy
import signal
import sys
import traceback
from typing import Any, Dict, List, Optional

from .environment import packages

# The modules that `python -m` imports.
_APPS = {"notebook": "notebook.app", "jupyterlab": "jupyterlab.labapp"}
_PROBE_BYTES = 65536
_FREE_BYTES = 20 << 20
_PR_SET_PDEATHSIG = 1
_MISPLACED = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EROFS)


class Failed(Exception):
    """Jupyter cannot start; the arguments are text and cure, a sentence each."""


def main() -> None:
    """Run the checks, then become `python -m MODULE ...` with the words of the command line."""
    end_with_parent()
    open(os.path.join(os.environ["SLURM_NB_RUN_DIR"], "python-started"), "w").close()
    try:
        check(sys.argv[1])
    except Failed as failed:
        tell("failed", text=failed.args[0], cure=failed.args[1])
        sys.exit(1)
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    from .security import guard  # noqa: PLC0415  needs the packages that check() requires

    guard.install()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            _explain_configuration()
        raise
    finally:
        guard.check_that_it_listened()


def end_with_parent() -> None:
    """Have the kernel send SIGTERM to this process when the job script dies.

    A killed script cannot do it, and without cgroups Slurm does not find the script's children
    (proctrack/linuxproc, seen on 22.05). See PR_SET_PDEATHSIG in prctl(2). In a container, the
    parent may be its runtime.
    """
    parent = os.getppid()
    try:
        import ctypes  # noqa: PLC0415  some Pythons do not have it

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        return
    if os.getppid() != parent:
        sys.exit(1)


def check(module: str) -> None:
    """Raise `Failed` with every problem that would stop Jupyter."""
    found = packages.look()
    _check_packages(found, module)
    session_dir = os.path.dirname(os.environ["SLURM_NB_TOKEN_FILE"])
    checks = [
        (check_notebook_dir, (os.environ["SLURM_NB_NOTEBOOK_DIR"],)),
        (_check_writable, ("the session directory", session_dir)),
        (_check_writable, ("your home", os.path.expanduser("~"))),
        (_check_data_dir, (_data_dir(),)),
        (_check_space, (os.environ["SLURM_NB_RUN_DIR"],)),
        (_check_import, (found, module)),
    ]  # type: List[Any]
    failures = []
    for look, arguments in checks:
        try:
            look(*arguments)
        except Failed as failed:
            failures.append(failed.args)
    if failures:
        ways = dict.fromkeys(way for _, way in failures)
        raise Failed("; ".join(text for text, _ in failures), "; ".join(ways))


def _check_packages(found: Dict[str, Any], module: str) -> None:
    """Raise `Failed`, or become slurm-nb's own Jupyter, if this interpreter's is not usable."""
    own = os.environ.pop("SLURM_NB_OWN_PYTHON", "")
    brought_by = os.environ.pop("SLURM_NB_BROUGHT_BY", "")
    inside = bool(os.environ.pop("SLURM_NB_INSIDE", ""))
    lacks = packages.lacking(found, module)
    if not lacks:
        if brought_by.startswith("the module "):
            tell("notice", text="Jupyter runs in %s from %s" % (sys.executable, brought_by))
        return
    has_kernel = packages.has_kernel(found)
    named = "--module" if brought_by else "--python"
    if brought_by.startswith("the environment "):
        named = "--env"
    usable = os.access(own, os.X_OK) and not inside and not _is_same(own, sys.executable)
    text = packages.text(found, lacks, module, _node())
    cures = packages.cures(found, module, named=named, own=usable, inside=inside)
    if not usable or named == "--python" or (named == "--env" and not has_kernel):
        raise Failed(text, cures)
    use = "which runs %s as a kernel" % found["python"]
    if has_kernel:
        _offer_kernel(found)
    else:
        use = "without %s as a kernel, because it does not have ipykernel" % found["python"]
    tell("notice", text="%s; so slurm-nb starts its own Jupyter (%s), %s" % (text, own, use))
    if cures:
        tell("notice", text="to use the Python of %s: %s" % (brought_by, cures))
    os.execv(own, [own, "-m", "slurm_nb_kit.preflight", *sys.argv[1:]])  # noqa: S606


def _is_same(own: str, this: str) -> bool:
    """Return whether both are in one environment. Two environments may share an interpreter."""
    return os.path.realpath(os.path.dirname(own)) == os.path.realpath(os.path.dirname(this))


def _offer_kernel(found: Dict[str, Any]) -> None:
    """Write a kernel that replaces slurm-nb's own; server.py offers it to Jupyter.

    It has the usual name, so that its notebooks work in other installations.
    """
    folder = os.path.join(os.environ["SLURM_NB_RUN_DIR"], "kernels", "python3")
    os.makedirs(folder, mode=0o700)
    kernel = {
        "argv": [found["python"], "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python %d.%d (%s)"
        % (found["version"][0], found["version"][1], os.path.basename(found["prefix"])),
        "language": "python",
        "metadata": {"debugger": True},
    }
    with open(os.path.join(folder, "kernel.json"), "w") as file:
        json.dump(kernel, file)


def _check_import(found: Dict[str, Any], name: str) -> None:
    """Raise `Failed` if a package is incomplete or does not run on this node."""
    try:
        importlib.import_module(_APPS[name])
    except Exception as error:  # a broken package can raise anything
        traceback.print_exc()
        said = ("%s: %s" % (type(error).__name__, error)).splitlines()[0].rstrip(": ")
        if _ran_out_of_memory(error):
            raise Failed(
                "%s cannot allocate memory for %s on %s (%s)"
                % (sys.executable, name, _node(), _memory_limit()),
                "request more memory (--mem), or raise the limit: --setup 'ulimit -v unlimited'",
            ) from error
        cure = "repair it: %s" % "; or ".join(
            [*packages.install(found, [name]), "use another Python: --python PATH or --env DIR"]
        )
        hiding = _loaded_from(packages.user_site(), error)
        if hiding:
            said += "; %s has %s, which Python prefers to the environment's own" % (
                packages.user_site(),
                ", ".join(hiding[:5]),
            )
            cure = "ignore ~/.local: --setup 'export PYTHONNOUSERSITE=1'; or " + cure
        raise Failed(
            "cannot import %s of %s on %s: %s" % (name, sys.executable, _node(), said), cure
        ) from error


def _ran_out_of_memory(error: Optional[BaseException]) -> bool:
    """Return whether an error, or one that it came from, says so; a package may wrap it."""
    while error is not None:
        if isinstance(error, MemoryError) or "annot allocate memory" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _loaded_from(folder: str, error: BaseException) -> List[str]:
    """Return the packages of `folder` that an import loaded or failed in."""
    if not folder:
        return []
    files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    files += [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    inside = [os.path.relpath(path, folder) for path in files if path.startswith(folder + "/")]
    return sorted({path.split("/")[0].partition(".")[0] for path in inside})


def _memory_limit() -> str:
    import resource  # noqa: PLC0415

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return "no limit of `ulimit -v` is set"
    return "the limit of `ulimit -v` is %d MiB" % (limit >> 20)


def check_notebook_dir(folder: str) -> None:
    """Raise `Failed` if Jupyter cannot read the directory; only warn if it cannot write to it."""
    if not os.path.isdir(folder):
        raise Failed(
            "the notebook directory %s does not exist on %s" % (folder, _node()),
            "use a directory that login and compute nodes share: --notebook-dir DIR",
        )
    if not os.access(folder, os.R_OK | os.X_OK):
        raise Failed(
            "cannot read the notebook directory %s on %s" % (folder, _node()),
            "use another directory: --notebook-dir DIR",
        )
    if not os.access(folder, os.W_OK):
        tell("notice", text="you cannot write to %s, so save notebooks elsewhere" % folder)


def _data_dir() -> str:
    """Return Jupyter's data directory, needed to save notebooks (jupyter_core 5, paths.py)."""
    share = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return os.environ.get("JUPYTER_DATA_DIR") or os.path.join(share, "jupyter")


def _check_data_dir(folder: str) -> None:
    """Raise `Failed` if Jupyter cannot sign notebooks, because then it cannot save them."""
    what = "Jupyter's data directory"
    there = folder
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        said = "%s is not a directory" % there
        if os.path.islink(there):
            said = "%s is a link to %s, which does not exist" % (there, os.readlink(there))
        raise Failed(
            "cannot write to %s, %s, on %s: %s" % (what, folder, _node(), said),
            "repair or remove it, or use another: --setup 'export JUPYTER_DATA_DIR=DIR'",
        )
    _check_writable(what, there)
    for name in ("nbsignatures.db", "notebook_secret"):
        path = os.path.join(folder, name)
        if os.path.lexists(path) and not os.access(path, os.R_OK | os.W_OK):
            raise Failed(
                "cannot write to %s, which Jupyter needs to save notebooks" % path,
                "remove it; Jupyter creates a new one",
            )


def _check_writable(what: str, folder: str) -> None:
    """Raise `Failed` if this process cannot write a file: only writing shows a full quota."""
    path = os.path.join(folder, ".slurm-nb-probe-%s-%d" % (_node(), os.getpid()))
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            left = _PROBE_BYTES
            while left:  # an almost full disk accepts only a part
                left -= os.write(handle, bytes(left))
        finally:
            os.close(handle)  # NFS reports a full disk only here
            os.unlink(path)
    except OSError as error:
        raise Failed(
            "cannot write to %s, %s, on %s: %s" % (what, folder, _node(), error.strerror),
            (error.errno in _MISPLACED and _home_cure())
            or "free some space (see `quota` and `df`), or ask your site about the node",
        ) from error


def _home_cure() -> str:
    """Return a cure if HOME is not the user's home directory, else an empty string."""
    try:
        home = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return ""
    if os.path.expanduser("~") == home or not os.path.isdir(home):
        return ""
    return "HOME is %s, but your home directory is %s: run `export HOME=%s` and submit again" % (
        os.environ.get("HOME"),
        home,
        home,
    )


def _check_space(folder: str) -> None:
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < _FREE_BYTES:
        raise Failed(
            "%s on %s has only %d MiB free" % (os.path.dirname(folder), _node(), free >> 20),
            "use another node (--exclude %s), or a directory with more space:"
            " --setup 'export TMPDIR=DIR'" % _node(),
        )


def _explain_configuration() -> None:
    """Report a class in the user's configuration that this Python does not have."""
    try:
        from .environment import user_config  # noqa: PLC0415  needs traitlets

        missing = user_config.missing_class()
    except Exception:  # Jupyter's own message is in the log
        return
    if not missing:
        return
    package, where = missing
    command = packages.install(packages.look(), [package])
    tell(
        "failed",
        text="your Jupyter configuration %s, and %s does not have %s"
        % (where, sys.executable, package),
        cure="; or ".join(
            [
                *("install it: %s" % each for each in command),
                "use the environment that has it: --env DIR",
                "remove the line",
            ]
        ),
    )


def tell(what: str, **record: str) -> None:
    """Print a line that slurm-nb reads: `failed` with text and cure, `notice` with text."""
    cluster, _, job_id = os.environ["SLURM_NB_SESSION"].partition("/")
    who = {"cluster": cluster, "job_id": job_id, "nonce": os.environ.get("SLURM_NB_NONCE", _NONCE)}
    who["submission"] = os.environ.get("SLURM_NB_SUBMISSION", _SUBMISSION)
    who.update(record)
    print("\nslurm-nb %s: %s" % (what, json.dumps(who)))
    sys.stdout.flush()


def _node() -> str:
    return os.environ.get("SLURMD_NODENAME") or os.uname().nodename


# server.py removes them from the environment
_NONCE = os.environ.get("SLURM_NB_NONCE", "")
_SUBMISSION = os.environ.get("SLURM_NB_SUBMISSION", "")

if __name__ == "__main__":
    main()
