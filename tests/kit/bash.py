"""Run bash with the kit's functions, as the job script does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from slurm_nb.kit import server
from tests.conftest import NONCE

FUNCTIONS = Path(server.__file__).with_name("functions.sh")
# Set by the script before it sources the functions. These tests need no JSON from `tell`.
_BEFORE = """set -u
slurm_nb_tell() { printf '{"what": "%s"%s}\\n' "$1" "$2"; }
python=python3 inside=() slurm_nb_signalled=
. "$FUNCTIONS"
"""


def bash(
    code: str,
    *words: str,
    folder: Path | None = None,
    check: bool = True,
    environ: dict[str, str] | None = None,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run `code` after the functions; `variables` are the script's, set after they are sourced.

    folder: holds the job's directories.
    """
    if folder is not None:
        for name in ("state", "session", "kit", "base"):
            (folder / name).mkdir(exist_ok=True)
            variables.setdefault(f"slurm_nb_{name}_dir", str(folder / name))
    values = {
        "slurm_nb_cluster": "hpc",
        "slurm_nb_job_id": "7",
        "slurm_nb_submission": "",
        "slurm_nb_nonce": NONCE,
        "slurm_nb_node": "c1",
        "slurm_nb_notebook_dir": "/home/alice",
        "slurm_nb_own_python": "/srv/venv/bin/python",
        "slurm_nb_brought_by": "",
        **variables,
    }
    # Not through the environment: the script's own variables are not exported either.
    assignments = "".join(f"{name}=${{_{name}}}\n" for name in values)
    return subprocess.run(
        ["bash", "-c", f"{_BEFORE}{assignments}{code}", "bash", *words],
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "LC_ALL": "C.UTF-8",
            "FUNCTIONS": str(FUNCTIONS),
            **{f"_{name}": value for name, value in values.items()},
            **(environ or {}),
        },
        capture_output=True,
        encoding="utf-8",
        check=check,
        cwd="/",
    )
