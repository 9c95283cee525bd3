"""This program, as `ssh HOST COMMAND` starts it on the login node."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from slurm_nb.paths import state_dir

_NAME = "slurm-nb"
# sshd's PATH for `ssh HOST COMMAND` has these two; that of a login shell does not apply.
_ON_PATH = (Path("/usr/local/bin"), Path("/usr/bin"))
# A login shell may set these, and the command needs them.
_PASSED = ("SLURM_NB_TRUST", "SLURM_CONF")


def program(state: Path) -> tuple[str, ...]:
    """Return the words that start this slurm-nb with the state directory `state`."""
    settings = [f"{name}={os.environ[name]}" for name in _PASSED if os.environ.get(name)]
    if state != state_dir({}):
        settings.insert(0, f"SLURM_NB_HOME={state}")
    return (*(["env", *settings] if settings else []), *_words())


def _words() -> tuple[str, ...]:
    script = _script()
    if script is None:
        return (sys.executable, "-m", "slurm_nb")
    if any(_is_same(folder / _NAME, script) for folder in _ON_PATH):
        return (_NAME,)
    return (str(script),)


def _script() -> Path | None:
    """Return the console script of this installation; None if it has no script."""
    started = Path(os.path.abspath(sys.argv[0]))
    for path in (started, Path(sys.executable).with_name(_NAME)):
        if path.name == _NAME and os.access(path, os.X_OK) and path.is_file():
            return path
    return None


def _is_same(path: Path, script: Path) -> bool:
    with suppress(OSError):
        return path.samefile(script)
    return False
