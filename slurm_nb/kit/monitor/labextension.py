"""Puts slurm-nb's word on the pages of Notebook 7 and Lab: a small extension of theirs.

A prebuilt ("federated") extension is
a directory with a package.json that names a script (JupyterLab's documentation, "Prebuilt
extensions"); the script is labextension.js, written by hand, so that nothing is built.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import Any, Dict

_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "labextension.js")
_ENTRY = "static/remoteEntry.js"
_PACKAGE: Dict[str, Any] = {
    "name": "slurm-nb",
    "version": "1.0.0",
    "description": "Shows what slurm-nb has to say of this session",
    "license": "MIT",
    "jupyterlab": {"extension": True, "_build": {"load": _ENTRY, "extension": "./extension"}},
}


def configure(c: Any, run_dir: str) -> None:
    """Have the pages, configured by `c`, load the extension; the user's own ones stay."""
    folder = os.path.join(run_dir, "page")
    package = os.path.join(folder, _PACKAGE["name"])
    os.makedirs(os.path.join(package, os.path.dirname(_ENTRY)), mode=0o700, exist_ok=True)
    shutil.copyfile(_SCRIPT, os.path.join(package, _ENTRY))
    with open(os.path.join(package, "package.json"), "w", encoding="ascii") as file:
        json.dump(_PACKAGE, file)
    for page in ("LabApp", "JupyterNotebookApp"):
        c[page].extra_labextensions_path.append(folder)
