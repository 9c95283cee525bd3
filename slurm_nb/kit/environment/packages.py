"""Finds the Jupyter packages of a Python interpreter, what is missing, and how to install it.

The interpreter itself runs this file: in the job through preflight.py, on the login node as
`-m slurm_nb_kit.environment.packages MODULE OPTION`. Python 3.5 can parse it.
"""

import importlib.util
import json
import os
import shlex
import shutil
import site
import sys
import sysconfig
from typing import Any, Dict, List, Optional

PYTHON = (3, 8)
# The oldest versions that slurm-nb supports; versions.py lists those without security holes.
# Notebook 6 does not read jupyter_server's configuration, so it would run without slurm-nb's lock.
NEEDED = {"jupyter_server": (2, 0), "notebook": (7, 0), "jupyterlab": (3, 6)}
PAGES = {"notebook": "Notebook", "jupyterlab": "Lab"}
_UI = {"notebook": "notebook", "jupyterlab": "lab"}
_KERNEL = "ipykernel"


def look() -> Dict[str, Any]:
    """Return facts about this interpreter, for `lacking` and `cures`.

    packages: versions; "" if unknown, None if the package is missing.
    behind: versions in the environment that packages in ~/.local hide.
    """
    names = [*NEEDED, _KERNEL]
    return {
        "python": sys.executable,
        "version": list(sys.version_info[:2]),
        "prefix": sys.prefix,
        "packages": {name: _version(name) for name in names},
        "behind": {name: _version_behind(name) for name in names},
        "user_site": user_site(),
        "tool": _tool(),
    }


def lacking(found: Dict[str, Any], module: str) -> List[str]:
    """Return why an interpreter cannot run `module`: `["it does not have notebook"]`."""
    if tuple(found["version"]) < PYTHON:
        return [
            "it is Python %s, and %s or later is needed"
            % (_dotted(found["version"]), _dotted(PYTHON))
        ]
    lacks = []
    for name in ("jupyter_server", module):
        version = found["packages"][name]
        if version is None:
            lacks.append("it does not have %s %s or later" % (name, _dotted(NEEDED[name])))
        elif not _is_enough(name, version):
            lacks.append(
                "its %s is %s, and %s or later is needed" % (name, version, _dotted(NEEDED[name]))
            )
    return lacks


def has_kernel(found: Dict[str, Any]) -> bool:
    """Return whether slurm-nb's own Jupyter can run an interpreter as a kernel."""
    return found["packages"][_KERNEL] is not None


def text(found: Dict[str, Any], lacks: List[str], module: str, node: str = "") -> str:
    """Return one sentence that names everything that is missing."""
    where = " on %s" % node if node else ""
    return "%s%s cannot run Jupyter %s: %s" % (
        found["python"],
        where,
        PAGES[module],
        "; ".join(lacks + shadows(found, module)),
    )


def shadows(found: Dict[str, Any], module: str) -> List[str]:
    """Return the packages in ~/.local that hide usable ones."""
    return [
        "%s hides its %s %s" % (found["user_site"], name, found["behind"][name])
        for name in ("jupyter_server", module)
        if found["behind"][name] and not _is_enough(name, found["packages"][name] or "0")
        if _is_enough(name, found["behind"][name])
    ]


def cures(
    found: Dict[str, Any], module: str, *, named: str, own: bool, inside: bool = False
) -> str:
    """Return every cure for this interpreter, the shortest first.

    named: the option that chose it. own: slurm-nb's own Jupyter can run it as a kernel.
    inside: it is in a container, where you cannot install packages.
    """
    ways = []
    if shadows(found, module):
        ways.append("ignore ~/.local: --setup 'export PYTHONNOUSERSITE=1'")
    (other,) = (name for name in _UI if name != module)
    if not lacking(found, other):
        ways.append("use --ui %s (it has %s %s)" % (_UI[other], other, found["packages"][other]))
    if inside:
        ways.append("use an image with Jupyter, or name its Python: --python PATH")
        return "; or ".join(ways)
    env = "--env %s" % shlex.quote(found["prefix"])
    if own and has_kernel(found) and named == "--python":
        ways.append("run slurm-nb's own Jupyter with it as a kernel: %s" % env)
    if tuple(found["version"]) >= PYTHON and not shadows(found, module):
        page = "%s>=%s" % (module, _dotted(NEEDED[module]))  # which requires jupyter_server
        ways += ["install %s: %s" % (PAGES[module], each) for each in install(found, [page])]
    if own and not has_kernel(found):
        run = "slurm-nb's own Jupyter with it as a kernel"
        run += " (%s)" % env if named == "--python" else ""
        ways += ["run %s: %s" % (run, each) for each in install(found, [_KERNEL])]
    if not found["tool"]:
        ways.append("use an environment that you can install into: --env DIR")
    return "; or ".join(ways)


def install(found: Dict[str, Any], wanted: List[str]) -> List[str]:
    """Return the command that installs packages with the environment's tool, if it has one."""
    python, prefix = shlex.quote(found["python"]), shlex.quote(found["prefix"])
    words = " ".join(shlex.quote(each) for each in wanted)
    pip = "%s -m pip install %s" % (python, words)
    commands = {
        "conda": "conda install -p %s -c conda-forge %s" % (prefix, words),
        "uv": "uv pip install --python %s %s" % (python, words),
        "pip": pip,
        "ensurepip": "%s -m ensurepip && %s" % (python, pip),
    }
    return [commands[found["tool"]]] if found["tool"] in commands else []


def user_site() -> str:
    """Return the directory of `pip install --user` if this interpreter uses it, else ""."""
    if not site.ENABLE_USER_SITE:
        return ""
    folder = site.getusersitepackages()
    return folder if folder in sys.path else ""


def _version(name: str) -> Optional[str]:
    try:
        if importlib.util.find_spec(name) is None:
            return None
    except (ImportError, ValueError):
        return ""  # it is broken: importing it later says why
    return _version_in(name, sys.path) or ""


def _version_behind(name: str) -> Optional[str]:
    """Return the version of a copy that one in ~/.local hides, or None."""
    user = user_site()
    if not user:
        return None
    at = sys.path.index(user)
    hides = _version_in(name, sys.path[:at]) is None and _version_in(name, [user]) is not None
    return _version_in(name, sys.path[at + 1 :]) if hides else None


def _version_in(name: str, paths: List[str]) -> Optional[str]:
    try:
        from importlib import metadata  # noqa: PLC0415  since Python 3.8
    except ImportError:
        return None
    for found in metadata.distributions(name=name, path=paths):
        return found.version
    return None


def _tool() -> str:
    """Return the tool that installs packages here; "" if the user cannot install any."""
    packages = sysconfig.get_path("purelib") or sys.prefix
    own = sys.prefix != getattr(sys, "base_prefix", sys.prefix)
    if os.path.isdir(os.path.join(sys.prefix, "conda-meta")):
        return "conda" if os.access(sys.prefix, os.W_OK) else ""
    managed = os.path.join(sysconfig.get_path("stdlib") or "", "EXTERNALLY-MANAGED")
    if (own and not os.access(packages, os.W_OK)) or (not own and os.path.exists(managed)):
        return ""
    if own and _made_by_uv():
        return "uv"
    if importlib.util.find_spec("pip"):
        return "pip"
    if shutil.which("uv"):
        return "uv"
    return "ensurepip" if importlib.util.find_spec("ensurepip") else ""


def _made_by_uv() -> bool:
    try:
        with open(os.path.join(sys.prefix, "pyvenv.cfg"), encoding="utf-8") as file:
            return any(line.startswith("uv = ") for line in file)
    except (OSError, ValueError):
        return False


def _is_enough(name: str, version: str) -> bool:
    from .. import versions  # noqa: PLC0415  needs Python 3.8

    return not version or versions.numbers(version) >= NEEDED[name]


def _dotted(version: Any) -> str:
    return ".".join(map(str, version))


def main() -> None:
    """Print as JSON why this interpreter cannot run Jupyter. Arguments: MODULE, OPTION."""
    module, named = sys.argv[1:]
    found = look()
    lacks = lacking(found, module)
    told = {
        "text": text(found, lacks, module) if lacks else "",
        "cures": cures(found, module, named=named, own=True),
        "kernel": has_kernel(found),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
